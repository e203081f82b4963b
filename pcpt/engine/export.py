"""Takes the student out of a run's checkpoint and writes it as a folder that anyone can load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pcpt import registry
from pcpt.engine.checkpoint import load_checkpoint, newest_whole
from pcpt.engine.data_record import hand_on
from pcpt.engine.init_source import describe_run
from pcpt.students.adapters import merged_state
from pcpt.students.pretrained import CONFIG_FILE, Pretrained, build_config, student_name
from pcpt.students.weights import compare_state

_PREFIX = "student."
DEFAULT_STUDENT = "sparse_unet"  # of a hub id, whose config is not at hand


def export_student(source: str | Path, folder: str | Path) -> Path:
    """Writes the student of a run as ``model.safetensors``, ``config.json`` and a card, with the
    run's record of the scans it has seen (``data.json``).

    Args:
        source: a checkpoint, or a run folder, of which the newest whole checkpoint is taken.
        folder: where to write; see :meth:`Pretrained.save_pretrained`.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: no such run or checkpoint.
        ValueError: a damaged or foreign checkpoint, weights that do not fit its config, or a
            student without ``save_pretrained``.
    """
    path = _checkpoint(Path(source))
    state = load_checkpoint(path)
    student = _build_student(state, path)
    exported = student.save_pretrained(folder, details=describe_run(state))
    hand_on(path, exported)
    return exported


def load_student(source: str | Path) -> Pretrained:
    """The student of a run, of an exported folder or of the hub, in eval mode on the CPU.

    Args:
        source: run folder, checkpoint file, exported folder, or hub id.

    Raises:
        FileNotFoundError, ValueError: as ``export_student`` and ``Pretrained.from_pretrained``.
    """
    path = Path(source).expanduser()
    if path.is_file() or (path / "checkpoints").is_dir():
        path = _checkpoint(path)
        return _build_student(load_checkpoint(path), path).eval()
    name = student_name(path / CONFIG_FILE) if (path / CONFIG_FILE).is_file() else DEFAULT_STUDENT
    return registry.get("students", name).from_pretrained(source)


def _checkpoint(source: Path) -> Path:
    if not source.is_dir():
        return source
    path = newest_whole(source)
    if path is None:
        raise FileNotFoundError(
            f"{source} holds no checkpoint (looked for checkpoints/step_*.pt); pass a run folder "
            "or a checkpoint"
        )
    return path


def _build_student(state: Mapping[str, Any], path: Path) -> Pretrained:
    config, weights = _section(state, "config", path), _section(state, "method", path)
    for name in config.get("imports") or []:
        registry.import_file(name)  # may register the student
    section = _section(config, "student", path)
    student_class = registry.get("students", str(section.get("name")))
    if not issubclass(student_class, Pretrained):
        raise ValueError(
            f"student {section['name']!r} cannot be exported: let {student_class.__name__} "
            "subclass pcpt.students.Pretrained"
        )
    student = student_class(build_config(section, student_class.Config, f"{path}: config.student"))
    own: dict[str, Tensor] = {
        key.removeprefix(_PREFIX): value
        for key, value in weights.items()
        if key.startswith(_PREFIX)
    }
    own = merged_state(own)
    compare_state(student.state_dict(), own, path)
    student.load_state_dict(own)
    return student


def _section(state: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    section = state.get(key)
    if not isinstance(section, Mapping):
        raise ValueError(f"{path} has no {key!r} section; is it the checkpoint of a pcpt run?")
    return section
