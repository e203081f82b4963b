"""Where weights to start from may lie, and how each is read: a run, a checkpoint, an exported
folder or hub id, a safetensors file, or a checkpoint of a MinkowskiEngine zoo."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from pcpt.engine.checkpoint import load_checkpoint, newest_whole
from pcpt.students.adapters import merged_state
from pcpt.students.minkowski_file import (
    COLOR_NOTE,
    convert_minkowski_weights,
    find_minkowski_weights,
)
from pcpt.students.pretrained import CONFIG_FILE, WEIGHTS_FILE, locate_export, read_description
from pcpt.students.torch_file import find_state_dict, read_torch_file
from pcpt.students.weights import read_safetensors

STUDENT = "student."


@dataclass
class Source:
    """Weights to start from.

    Attributes:
        name: of the folder or file, without the machine's folders.
        kind: "run", "exported student", "weights" or "MinkowskiEngine checkpoint".
        state: tensors as a method names them: those of its student begin with "student.".
        student: the student's config, as far as the source tells it.
        origin: method or task, teacher, kind of data and steps of the run, where it is one.
        kernel_order: of a MinkowskiEngine checkpoint.
        notes: what should be known about the conversion.
        unused: names of tensors that belong to no student.
    """

    name: str
    kind: str
    state: dict[str, Tensor]
    student: Mapping[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    kernel_order: str = ""
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def read_source(source: str | Path, kernel_order: str = "auto") -> Source:
    """Finds out what ``source`` is and reads its weights, to the CPU.

    Args:
        source: run folder (its newest whole checkpoint), checkpoint of a run, exported folder, hub
            id, safetensors file, or ``.pth`` whose names are those of a Res16UNet or a SparseUNet.
        kernel_order: see ``convert_minkowski_weights``.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: damaged, holding objects other than weights, or of no known kind.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return _read_file(path, kernel_order)
    if path.is_dir() and not (path / CONFIG_FILE).is_file():
        checkpoint = newest_whole(path)
        if checkpoint is None:
            raise FileNotFoundError(
                f"{path} is neither a run with a checkpoint (checkpoints/step_*.pt) nor an "
                f"exported student ({CONFIG_FILE}, {WEIGHTS_FILE})"
            )
        return _read_run(checkpoint)
    try:
        folder = locate_export(source)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no weights at {source}: expected a run, a checkpoint, an exported folder, a hub id "
            f"or a file of weights ({error})"
        ) from None
    return _read_exported(folder, str(source) if not path.is_dir() else _plain_name(folder))


def read_weights_file(path: Path) -> dict[str, Tensor] | None:
    """Tensors by name of a safetensors file or of what ``torch.save`` wrote; None where that is the
    checkpoint of a run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: see ``read_safetensors``, ``read_torch_file`` and ``find_state_dict``.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    tree = read_torch_file(path)
    if isinstance(tree, Mapping) and {"format", "method"} <= set(tree):
        return None
    return find_state_dict(tree, path)


def describe_run(state: Mapping[str, Any]) -> dict[str, str]:
    """Origin of a checkpoint's weights: names only, since paths tell of the machine and not of the
    model."""
    config = state["config"]
    sections = {key: config.get(key) for key in ("method", "task", "teacher", "data")}
    if isinstance(sections["data"], Mapping):
        sections["data"] = sections["data"].get("source")
    rows = {
        key: str(section["name"])
        for key, section in sections.items()
        if isinstance(section, Mapping) and "name" in section
    }
    return rows | ({"steps": str(state["step"])} if "step" in state else {})


def _read_run(path: Path) -> Source:
    state = load_checkpoint(path)
    config, weights = state.get("config"), state.get("method")
    if not isinstance(config, Mapping) or not isinstance(weights, Mapping):
        raise ValueError(f"{path} has no config and weights; is it the checkpoint of a pcpt run?")
    student = config.get("student")
    tensors = {str(key): value for key, value in weights.items() if isinstance(value, Tensor)}
    return Source(
        name=f"{_plain_name(path.parent.parent)}, step {state.get('step')}",
        kind="run",
        state=merged_state(tensors),  # additions of LoRA count, whatever the rank here
        student=student if isinstance(student, Mapping) else {},
        origin=describe_run(state),
    )


def _read_exported(folder: Path, name: str) -> Source:
    description = read_description(folder / CONFIG_FILE)
    state = read_safetensors(folder / WEIGHTS_FILE)
    return Source(
        name=name,
        kind="exported student",
        state={STUDENT + key: value for key, value in state.items()},
        student={"name": description.get("student"), **description["config"]},
    )


def _read_file(path: Path, kernel_order: str) -> Source:
    state = read_weights_file(path)
    if state is None:
        return _read_run(path)
    minkowski = find_minkowski_weights(state)
    if minkowski is None:
        if not any(name.startswith(STUDENT) for name in state):
            state = {STUDENT + name.removeprefix("module."): v for name, v in state.items()}
        return Source(path.name, "weights", state)
    try:
        converted = convert_minkowski_weights(minkowski, kernel_order)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Source(
        name=path.name,
        kind="MinkowskiEngine checkpoint",
        state={STUDENT + name: tensor for name, tensor in converted.state.items()},
        kernel_order=converted.order,
        notes=[*converted.notes, COLOR_NOTE],
        unused=minkowski.others,
    )


def _plain_name(folder: Path) -> str:
    return folder.resolve().name
