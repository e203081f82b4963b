"""What scans weights have seen, handed on from run to run: ``data.json`` in runs and exports.

A run's record names its own scans and everything that its first weights and its teacher had seen
before, so that a leak shows however many steps it is away.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from pcpt.config import RunConfig
from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.scan_identity import identities_hash, scan_identity
from pcpt.data.write_json import write_json
from pcpt.teachers.base import RANDOM

FILE = "data.json"
FORMAT_VERSION = 1
TRAINING = "training"


@dataclass(frozen=True)
class Seen:
    """Scans that weights were trained on, at one stage of their making.

    Attributes:
        through: the way from there to here, such as "training", "init: training" or
            "init: teacher: training".
        source: name of the data source.
        scans: identities, see ``pcpt.data.scan_identity``.
        labelled: those of them whose labels were learnt from; None where nobody recorded it.
    """

    through: str
    source: str
    scans: tuple[str, ...]
    labelled: tuple[str, ...] | None = None

    def handed_on(self, through: str) -> "Seen":
        """The same, one stage later."""
        return replace(self, through=f"{through}: {self.through}")

    def joined(self, other: "Seen") -> "Seen":
        """The scans of two records of one stage."""
        scans = tuple(dict.fromkeys(self.scans + other.scans))
        if self.labelled is None or other.labelled is None:
            return replace(self, scans=scans, labelled=self.labelled or other.labelled)
        return replace(
            self, scans=scans, labelled=tuple(dict.fromkeys(self.labelled + other.labelled))
        )


@dataclass(frozen=True)
class DataRecord:
    """What weights have seen.

    Attributes:
        seen: stages; this run's own comes first.
        unknown: weights whose data nobody recorded.
    """

    seen: tuple[Seen, ...] = ()
    unknown: tuple[str, ...] = ()

    def own(self) -> "DataRecord":
        """The run's own training data."""
        return DataRecord(tuple(s for s in self.seen if s.through == TRAINING))

    def before(self) -> "DataRecord":
        """All that came before the run's own training."""
        return DataRecord(tuple(s for s in self.seen if s.through != TRAINING), self.unknown)

    @property
    def scans(self) -> list[str]:
        """All identities, sorted."""
        return sorted({scan for seen in self.seen for scan in seen.scans})

    def hash(self) -> str:
        """sha256 over all identities; empty where there are none."""
        return identities_hash(self.scans) if self.seen else ""

    def labelled_beyond(self) -> list[str]:
        """Scans whose labels a stage before the run's own had seen, and the run had not: few labels
        are only few if this is empty. Sorted."""
        own = {scan for stage in self.own().seen for scan in stage.labelled or ()}
        earlier = {scan for stage in self.before().seen for scan in stage.labelled or ()}
        return sorted(earlier - own)

    def handed_on(self, through: str) -> "DataRecord":
        """The same, one stage later."""
        return DataRecord(tuple(seen.handed_on(through) for seen in self.seen), self.unknown)

    def __add__(self, other: "DataRecord") -> "DataRecord":
        return DataRecord(self.seen + other.seen, self.unknown + other.unknown)

    def joined(self, earlier: "DataRecord") -> "DataRecord":
        """The record of a run that goes on: what either had seen, so that nothing is forgotten."""
        stages: dict[tuple[str, str], Seen] = {}
        for stage in self.seen + earlier.seen:
            key = (stage.through, stage.source)
            stages[key] = stages[key].joined(stage) if key in stages else stage
        unknown = tuple(dict.fromkeys(self.unknown + earlier.unknown))
        return DataRecord(tuple(stages.values()), unknown)

    def write(self, folder: Path) -> None:
        """Writes ``data.json``, whole or not at all."""
        tree = {
            "format_version": FORMAT_VERSION,
            "seen": [{**asdict(seen), "hash": identities_hash(seen.scans)} for seen in self.seen],
            "unknown": list(self.unknown),
        }
        write_json(folder / FILE, tree)


def read_record(folder: Path) -> DataRecord | None:
    """The record in a folder; None where there is none.

    Raises:
        ValueError: a file that cannot be used; names it and the key.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    tree = JsonObject(read_json(path), path, "")
    version = tree.whole("format_version")
    if version > FORMAT_VERSION:
        raise tree.error("format_version", version, f"at most {FORMAT_VERSION}; upgrade pcpt")
    stages = tree.get("seen")
    if not isinstance(stages, list):
        raise tree.error("seen", stages, "a list of objects")
    found = [JsonObject(stage, path, f"seen[{i}]") for i, stage in enumerate(stages)]
    return DataRecord(
        tuple(
            Seen(
                stage.text("through"),
                str(stage.get("source")),
                _texts(stage, "scans"),
                _texts(stage, "labelled") if stage.fields.get("labelled") is not None else None,
            )
            for stage in found
        ),
        _texts(tree, "unknown"),
    )


def _texts(tree: JsonObject, key: str) -> tuple[str, ...]:
    values = tree.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise tree.error(key, values, "a list of texts")
    return tuple(values)


def scan_identities(dataset: Any, names: Collection[str] | None = None) -> list[str]:
    """The scans that a dataset reads, in its order; none of one that does not tell.

    Args:
        dataset: whose method ``scan_folders`` gives the folder, or None, of each scan by name.
        names: of the scans that are wanted; None takes all.
    """
    folders: Mapping[str, Path | None] = getattr(dataset, "scan_folders", dict)()
    # by name, not by what stands before the @ of an identity: names may hold one themselves
    return [
        scan_identity(name, folder)
        for name, folder in folders.items()
        if names is None or name in names
    ]


def record_of(
    config: RunConfig, dataset: Any, labelled: Sequence[str] = (), start: Path | None = None
) -> DataRecord:
    """What the weights of a run will have seen: its own training data, that of the weights it
    starts from, and that of every network its config names, such as a teacher trained on scans.

    Args:
        config: of the run.
        dataset: its training samples.
        labelled: identities of the scans whose labels it learns from.
        start: the checkpoint that it goes on from, whose run's record is kept: first weights are
            not looked at again.

    Raises:
        ValueError: a damaged ``data.json`` on the way.
    """
    source = str(getattr(getattr(config.data, "source", None), "name", ""))
    own = Seen(TRAINING, source, tuple(scan_identities(dataset)), tuple(labelled))
    record = DataRecord((own,))
    earlier = read_record(start.parent.parent) if start is not None else None
    if config.init and earlier is None:
        record += _record_at(config.init, "init", needed=True)
    for section in ("teacher", "student", "method", "task"):
        for path in _weights_in(getattr(config, section)):
            record += _record_at(path, section, needed=False)
    return record if earlier is None else record.joined(earlier)


def _record_at(path: str, through: str, needed: bool) -> DataRecord:
    """The record of weights at a path: of a folder, or beside a file of weights or above it."""
    place = Path(path).expanduser()
    found = _find_record(place)
    if found is not None:
        return found.handed_on(through)
    return DataRecord(unknown=(f"{through} {place.name}",) if needed else ())


def _find_record(place: Path) -> DataRecord | None:
    """The record in a folder, or beside a file of weights or above it."""
    folders = (place,) if place.is_dir() else (place.parent, place.parent.parent)
    records = (read_record(folder) for folder in folders if place.exists())
    return next((record for record in records if record is not None), None)


def _weights_in(value: Any) -> Iterator[str]:
    """Every path of weights in a section: what its keys ``weights`` hold, at any depth. No other
    text is one: a folder may well be called like a component or an option."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key != "weights" or not isinstance(item, str):
                yield from _weights_in(item)
            elif item not in ("", RANDOM):
                yield item
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _weights_in(item)


def beyond_note(number: int) -> str:
    """What to say of ``labelled_beyond``, for its number; empty where there is nothing to say."""
    if not number:
        return ""
    return (
        "labels: the first weights or the teacher had learnt from those of "
        f"{number} scan{'s' if number > 1 else ''} beyond the ones whose labels this run may see"
    )


def hand_on(source: Path, folder: Path) -> None:
    """Copies the record of a run or file of weights, if it has one, into the folder its weights are
    exported to."""
    record = _find_record(source)
    if record is not None:
        record.write(folder)
    else:
        (folder / FILE).unlink(missing_ok=True)  # it would be that of other weights
