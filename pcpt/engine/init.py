"""Weights to start from: what fits by name and shape is taken over, and what did not is told."""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pcpt.data.write_json import write_json
from pcpt.engine.init_source import STUDENT, Source, read_source

INIT_FILE = "init.json"
LOADED = "loaded"
RESHAPED = "shape differs"
MISSING = "missing in source"
UNUSED = "unused in source"
_STATUSES = (LOADED, RESHAPED, MISSING, UNUSED)
# What changes the meaning of a student's weights without changing their shape.
_TELLING = ("name", "voxel_size")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """What became of one tensor.

    Attributes:
        name: in the module, or in the source where only that has it.
        status: "loaded", "shape differs" (or the kind of number), "missing in source" or "unused in
            source".
        why: "" where it was loaded.
    """

    name: str
    status: str
    why: str = ""


@dataclass
class InitReport:
    """What was taken over from where.

    Attributes:
        source: its name, without the machine's folders.
        kind: see ``Source``.
        rows: one for each tensor of the module and of the source.
        sha256: of the tensors that were taken over, their names, types and shapes.
        kernel_order: that was taken for a MinkowskiEngine checkpoint, else "".
        origin: method, teacher, kind of data and steps of the source.
        notes: what should be known.
    """

    source: str
    kind: str
    rows: list[Row]
    sha256: str = ""
    kernel_order: str = ""
    origin: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Number of tensors by status."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in _STATUSES}

    @property
    def loaded(self) -> list[str]:
        """Names of the tensors that were taken over."""
        return self._names(LOADED)

    @property
    def reshaped(self) -> list[str]:
        """Names of those whose shape differs."""
        return self._names(RESHAPED)

    @property
    def missing(self) -> list[str]:
        """Names of those that only the module has."""
        return self._names(MISSING)

    @property
    def unused(self) -> list[str]:
        """Names of those that only the source has."""
        return self._names(UNUSED)

    def _names(self, status: str) -> list[str]:
        return [row.name for row in self.rows if row.status == status]

    def table(self) -> str:
        """A few lines for people: counts by module, the reasons, notes."""
        counts = self.counts
        own = sum(counts[status] for status in _STATUSES[:3])
        origin = "".join(f", {key} {value}" for key, value in self.origin.items() if key != "steps")
        groups: dict[str, Counter[str]] = {}
        for row in self.rows:
            groups.setdefault(_module_of(row.name), Counter())[row.status] += 1
        width = max([len("module"), *map(len, groups)])
        lines = [
            f"init from {self.source} ({self.kind}{origin}): "
            f"{counts[LOADED]} of {own} tensors loaded",
            f"  {'module':{width}}  loaded  shape differs  missing  unused",
        ]
        for module, found in groups.items():
            cells = [found[status] or "" for status in _STATUSES]
            lines.append(
                f"  {module:{width}}  {cells[0]:>6}  {cells[1]:>13}  {cells[2]:>7}  {cells[3]:>6}"
            )
        lines += [f"  {row.name}: {row.why}" for row in self.rows if row.status == RESHAPED]
        fresh = sorted({_module_of(name) for name in self.missing})
        if fresh:
            lines.append(f"  not in the source, so freshly initialised: in {', '.join(fresh)}")
        return "\n".join([*(line.rstrip() for line in lines), *(f"  {n}" for n in self.notes)])

    def write(self, folder: Path) -> None:
        """Writes ``init.json`` into a run folder."""
        content = {key: value for key, value in asdict(self).items() if key != "rows"}
        content["counts"] = self.counts
        content["tensors"] = {status: self._names(status) for status in _STATUSES}
        content["reasons"] = {row.name: row.why for row in self.rows if row.status == RESHAPED}
        write_json(folder / INIT_FILE, content)


def take_over_report(checkpoint: Path, folder: Path) -> None:
    """Where the first weights of a run came from, that another run folder goes on from."""
    report = checkpoint.parent.parent / INIT_FILE
    if report.is_file() and report.resolve().parent != folder.resolve():
        shutil.copyfile(report, folder / INIT_FILE)


@torch.no_grad()
def initialise(
    module: nn.Module,
    source: str | Path,
    kernel_order: str = "auto",
) -> InitReport:
    """Copies into ``module`` what ``source`` has under the same name and in the same shape.

    Everything else keeps its value to the bit. Heads of earlier tasks load where they fit.

    Args:
        module: a method or task whose network is its ``student``, or a student by itself.
        source: see ``read_source``.
        kernel_order: of a MinkowskiEngine checkpoint, see ``convert_minkowski_weights``.

    Returns:
        What became of each tensor.

    Raises:
        FileNotFoundError: nothing at ``source``.
        ValueError: it cannot be read (see ``read_source``), holds nan or inf, or nothing fits; the
            module is as it was.
    """
    found = read_source(source, kernel_order)
    own = module.state_dict()
    state = found.state
    if not any(name.startswith(STUDENT) for name in own):
        state = {name.removeprefix(STUDENT): tensor for name, tensor in state.items()}
    rows = [_compare(name, tensor, state.get(name)) for name, tensor in own.items()]
    rows = _whole_layers(rows)
    rows += [
        Row(name, UNUSED, "the module has no such tensor")
        for name in [*state, *found.unused]
        if name not in own
    ]
    taken = [row.name for row in rows if row.status == LOADED]
    # counters of batches fit anything with batch norms
    if not any(own[name].ndim for name in taken):
        raise ValueError(_nothing_fits(found, module, rows))
    for name in taken:
        if not bool(torch.isfinite(state[name]).all()):
            raise ValueError(
                f"{found.name}: {name} holds nan or inf, as in a diverged run; take an earlier "
                "checkpoint"
            )
    for name in taken:
        own[name].copy_(state[name])
    return InitReport(
        source=found.name,
        kind=found.kind,
        rows=rows,
        sha256=_digest({name: state[name] for name in taken}),
        kernel_order=found.kernel_order,
        origin=found.origin,
        notes=[*found.notes, *_differences(found, module), *_heads(taken, own)],
    )


def _compare(name: str, own: Tensor, other: Tensor | None) -> Row:
    if other is None:
        return Row(name, MISSING, "not in the source: freshly initialised")
    if own.shape != other.shape:
        return Row(
            name,
            RESHAPED,
            f"{tuple(own.shape)} here, {tuple(other.shape)} in the source: re-initialised",
        )
    if own.is_floating_point() != other.is_floating_point():
        return Row(name, RESHAPED, f"{own.dtype} here, {other.dtype} in the source: re-initialised")
    return Row(name, LOADED)


def _whole_layers(rows: Sequence[Row]) -> list[Row]:
    """The rows, but outside the student no layer is taken in part: the bias of a head of other
    shape would bring along how often the classes of other labels occur."""
    reshaped = {row.name.rpartition(".")[0]: row.name for row in rows if row.status == RESHAPED}
    kept = []
    for row in rows:
        layer = row.name.rpartition(".")[0]
        other = reshaped.get(layer)
        if row.status == LOADED and layer and other and not row.name.startswith(STUDENT):
            row = Row(row.name, RESHAPED, f"of one layer with {other}: re-initialised")
        kept.append(row)
    return kept


def _nothing_fits(found: Source, module: nn.Module, rows: list[Row]) -> str:
    reshaped = [f"{row.name} {row.why}" for row in rows if row.status == RESHAPED]
    theirs = ", ".join(list(found.state)[:4])
    reason = "; ".join(reshaped[:3]) or f"the source has {theirs}, ..."
    return (
        f"init {found.name} ({found.kind}): no weight fits {type(module).__name__} by name and "
        f"shape ({reason}); use the student that the weights are of"
    )


def _differences(found: Source, module: nn.Module) -> list[str]:
    """Where the source's student fits by shape and yet means something else."""
    config = getattr(getattr(module, "student", module), "config", None)
    notes = []
    for key in _TELLING:
        theirs, own = found.student.get(key), getattr(config, key, None)
        if theirs is not None and own is not None and theirs != own:
            notes.append(f"WARNING: student.{key} is {own} here, {theirs} in the source")
    return notes


def _heads(taken: list[str], own: Mapping[str, Tensor]) -> list[str]:
    """Heads fit by the number of classes alone, whatever the classes are."""
    heads = sorted({_module_of(n) for n in taken if not n.startswith(STUDENT) and own[n].ndim})
    if not heads or not any(name.startswith(STUDENT) for name in own):
        return []
    return [f"beyond the student: {', '.join(heads)}, which must mean the same here"]


def _module_of(name: str) -> str:
    """What the table groups a tensor by, such as student.encoder.0, student.stem or head."""
    parts = name.split(".")[:-1]
    depth = 2 if parts[:1] == ["student"] else 1
    if len(parts) > depth and parts[depth].isdigit():
        depth += 1
    return ".".join(parts[:depth]) or name


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
