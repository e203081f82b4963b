"""The state of a run on disk: written whole or not at all, read without unpickling objects.

``checkpoints/step_00000100.pt`` is the state after 100 steps: method, optimizer, loss scaler, step,
config. Random states and schedules are absent on purpose: both are functions of the step.
"""

import logging
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

FORMAT = 1
_NAME = re.compile(r"step_(\d{8,})\.pt")
_log = logging.getLogger(__name__)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after ``step`` steps of the run in ``folder`` lies."""
    return folder / "checkpoints" / f"step_{step:08d}.pt"


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of the run in ``folder``, oldest first."""
    found = [p for p in (folder / "checkpoints").glob("step_*.pt") if _NAME.fullmatch(p.name)]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The number of steps in a checkpoint's file name."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is not named step_NUMBER.pt")
    return int(match[1])


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint so that, whenever the process dies, ``path`` is whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    # the rename itself is safe only once the folder is on disk, too
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_newest(folder: Path, number: int) -> None:
    """Deletes all but the newest ``number`` checkpoints of a run; 0 keeps all."""
    for path in list_checkpoints(folder)[:-number] if number > 0 else []:
        path.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU; only tensors and plain values are accepted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, damaged, not a checkpoint, of a newer format, or holding objects that
            would have to be unpickled.
    """
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"checkpoint {path} {_what_is_wrong(path)}")
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # torch.load does not look at the checksums
        if broken is not None:
            raise OSError(f"wrong checksum of {broken}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"checkpoint {path} holds Python objects, which could run code when loaded; refused. "
            f"Export its tensors where it was made. ({reason})"
        ) from None
    except (RuntimeError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"checkpoint {path} is damaged ({reason}); take an earlier one") from None
    if not isinstance(state, dict) or "format" not in state:
        raise ValueError(
            f"{path} is no checkpoint of a pcpt run; --resume takes checkpoints/step_*.pt"
        )
    if state["format"] > FORMAT:
        raise ValueError(
            f"checkpoint {path} has format {state['format']}, this pcpt reads up to {FORMAT}; "
            "install a newer pcpt"
        )
    return state


def _what_is_wrong(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(2)
    if head == b"PK" or size == 0:
        return f"is truncated ({size} bytes); take an earlier one or --resume auto"
    if head[:1] == b"\x80":
        return "is a bare pickle, which could run code when loaded; refused"
    return f"is no checkpoint of a pcpt run ({size} bytes starting with {head!r})"


def newest_whole(folder: Path) -> Path | None:
    """The newest readable checkpoint of a run; damaged newer ones are named in a warning."""
    for path in reversed(list_checkpoints(folder)):
        try:
            load_checkpoint(path)
            return path
        except (ValueError, OSError) as error:
            _log.warning("%s; trying the one before", error)
    return None


def restore_module(module: nn.Module, saved: dict[str, Any], path: Path) -> None:
    """Loads ``saved`` into a module of the same architecture.

    Raises:
        ValueError: names or shapes differ; the message lists them.
    """
    own = module.state_dict()
    lines = [f"{name} is missing" for name in own if name not in saved]
    lines += [f"{name} is unknown" for name in saved if name not in own]
    lines += [
        f"{name} is {tuple(saved[name].shape)}, expected {tuple(value.shape)}"
        for name, value in own.items()
        if name in saved and saved[name].shape != value.shape
    ]
    if lines:
        shown = "\n  ".join(lines[:10]) + (f"\n  and {len(lines) - 10} more" if lines[10:] else "")
        raise ValueError(
            f"checkpoint {path} is of another architecture; use the config it was trained with or "
            f"another run folder:\n  {shown}"
        )
    module.load_state_dict(saved)


def restore_optimizer(optimizer: Optimizer, saved: dict[str, Any], path: Path) -> None:
    """Loads an optimizer's moments; its options (decay, momentum) stay as the config has them now.

    Raises:
        ValueError: written by another kind of optimizer or for other parameter groups.
    """
    groups = optimizer.state_dict()["param_groups"]
    same_groups = [g["params"] for g in groups] == [g["params"] for g in saved["param_groups"]]
    same_options = all(set(g) == set(h) for g, h in zip(groups, saved["param_groups"]))
    if not (same_groups and same_options):
        raise ValueError(
            f"checkpoint {path} was written with another optimizer; set optim.name and "
            "optim.decay_bias_and_norm as in the config of that run, and optim.trunk_lr_scale at 1 "
            "if and only if it was"
        )
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
