"""Weights to start from: what fits by name and shape is taken over, and what did not is told."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pcpt.engine.checkpoint import load_checkpoint, newest_whole
from pcpt.students.weights import read_safetensors

_log = logging.getLogger(__name__)


@dataclass
class InitReport:
    """What was taken over.

    Attributes:
        source: as given.
        loaded, reshaped, missing, unused: names of tensors.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Writes ``init.json`` into a run folder."""
        (folder / "init.json").write_text(json.dumps(self.__dict__, indent=2) + "\n")


@torch.no_grad()
def initialise(module: nn.Module, source: str, kernel_order: str = "auto") -> InitReport:
    """Copies the tensors of ``source`` that ``module`` has under the same name and shape.

    Raises:
        FileNotFoundError: nothing at ``source``.
        ValueError: nothing fits.
    """
    found = _read(Path(source))
    own = module.state_dict()
    report = InitReport(source)
    for name, tensor in own.items():
        if name not in found:
            report.missing.append(name)
        elif found[name].shape != tensor.shape:
            report.reshaped.append(name)
        else:
            tensor.copy_(found[name])
            report.loaded.append(name)
    report.unused = [name for name in found if name not in own]
    if not report.loaded:
        raise ValueError(f"init {source}: no tensor fits")
    _log.info("init %s: %d of %d tensors loaded", source, len(report.loaded), len(own))
    return report


def _read(path: Path) -> dict[str, Tensor]:
    if (path / "model.safetensors").is_file():
        state = read_safetensors(path / "model.safetensors")
        return {f"student.{name}": tensor for name, tensor in state.items()}
    checkpoint = newest_whole(path) if path.is_dir() else path
    if checkpoint is None:
        raise FileNotFoundError(f"init: {path} is neither a run nor an exported folder")
    return load_checkpoint(checkpoint)["method"]
