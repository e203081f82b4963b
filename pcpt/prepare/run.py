"""A preparation from beginning to end: finds scans, runs a job for each, writes the index."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcpt.config import changed_keys
from pcpt.data.files import refuse_strangers
from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.write_json import write_json
from pcpt.prepare.backends import run_jobs, run_on_dask
from pcpt.prepare.convert import Job, Outcome
from pcpt.prepare.find import Found, Named, find_scans
from pcpt.prepare.record import RECORD, read_record, sha256_of
from pcpt.prepare.settings import Settings

SETTINGS, INDEX, REPORT, LOCK = "settings.json", "index.json", "report.json", ".lock"


@dataclass(frozen=True)
class Preparation:
    """Attributes:
    settings: what to make of every scan.
    path: where recordings lie; see ``find_scans``.
    out: folder to write.
    jobs: processes on this machine; -1 is one a core.
    scheduler: address of a Dask scheduler; empty runs here.
    """

    settings: Settings
    path: Path | str
    out: Path
    jobs: int = 1
    scheduler: str = ""


@dataclass
class Finished:
    """Attributes:
    outcomes: of every scan that could be opened, by name.
    refused: paths that could not be opened, and names that several scans have, and why.
    others: folders of ``out`` with a scan of an earlier run that was not met in this one.
    seconds: that it all took.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def errors(self) -> dict[str, str]:
        """What failed, by path or name of the scan."""
        failed = {each.name: each.error for each in self.outcomes if each.status == "failed"}
        return {**self.refused, **failed}


def prepare_scans(
    preparation: Preparation, tell: Callable[[Outcome], None] = lambda _: None
) -> Finished:
    """Prepares all scans at a path into folder scans, and indexes them.

    A run that was killed is continued by the same call: scans that are whole are kept.

    Args:
        preparation: what, whence, where to and how.
        tell: called with each outcome as it comes.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: no scans there outside ``out``, ``out`` holds something else or was made with
            other settings, or another run is at work in it.
        OSError: ``out`` cannot be written.
    """
    begin = time.monotonic()
    out, settings = preparation.out, preparation.settings
    found = find_scans(settings.source, preparation.path, settings.options).outside(out)
    if not found:
        raise ValueError(
            f"all scans of {preparation.path} lie in {out}, which prepared ones are written to; "
            "choose another folder for these"
        )
    named = found.named()
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        _claim(out, settings)
        _remove_parts(out)
        jobs = [
            Job(alike[0][1], name, out.resolve(), settings)
            for name, alike in named.items()
            if len(alike) == 1
        ]
        finished = Finished(refused=_refused(found, named))
        if preparation.scheduler:
            outcomes = run_on_dask(jobs, preparation.scheduler)
        else:
            outcomes = run_jobs(jobs, preparation.jobs)
        for outcome in outcomes:
            finished.outcomes.append(outcome)
            tell(outcome)
        finished.outcomes.sort(key=lambda outcome: outcome.name)
        _remove_parts(out)  # of workers that died
        known = {*named, *found.refused_names()}
        finished.others = [path.name for path in prepared_scans(out) if path.name not in known]
        write_index(out, finished.others)
    finished.seconds = time.monotonic() - begin
    return finished


def _refused(found: Found, named: Named) -> dict[str, str]:
    """Paths that could not be opened and names that do not tell scans apart, and why."""
    refused = {str(path): why for path, why in found.refused.items()}
    for name, alike in named.items():
        if len(alike) > 1:
            places = " and ".join(str(scan.folder or path) for path, scan in alike)
            refused[name] = (
                f"{places} would all be prepared under this name; rename them, or prepare them "
                "into folders of their own"
            )
    return refused


def prepared_scans(out: Path) -> list[Path]:
    """Folders of ``out`` that hold a record, sorted by name."""
    return sorted(path.parent for path in out.glob(f"*/{RECORD}") if path.parent.name[0] != ".")


def write_index(out: Path, others: Collection[str] = ()) -> Path:
    """Writes index.json from the records of ``out``, whole or not at all.

    Args:
        out: that ``prepare_scans`` wrote.
        others: names of those scans that were not met in the last run.
    """
    scans: dict[str, Any] = {}
    for folder in prepared_scans(out):
        record = read_record(folder)
        scans[folder.name] = {
            "frames": record["frames"],
            "bytes": record.get("bytes", 0),
            "verdict": record["doctor"].get("verdict", ""),
            "record_sha256": sha256_of(folder / RECORD),
        }
    write_json(out / INDEX, {"version": 1, "scans": scans, "others": sorted(others)})
    return out / INDEX


def _claim(out: Path, settings: Settings) -> None:
    """Marks the folder as of these settings, or refuses one that is of others."""
    path = out / SETTINGS
    if path.is_file():
        before = JsonObject(read_json(path), path, "").fields
        changes = changed_keys(before, settings.tree())
        if changes:
            raise ValueError(
                f"{out} was prepared with other settings ({'; '.join(changes)}); repeat those to "
                "continue, or choose another folder, or delete it"
            )
        return
    refuse_strangers(out, SETTINGS, "pcpt prepare", own=(LOCK,))
    write_json(path, settings.tree())


def _remove_parts(out: Path) -> None:
    for part in out.glob(".*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Holds a lock that ends with this process, however it ends. Windows has none of the kind."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another pcpt prepare is at work in {out}; wait for it") from error
        yield
