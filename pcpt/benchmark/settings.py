"""What was asked for on the command line, and what it means for a part."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """Options of a benchmark; 0 and "" leave the choice to the part.

    Attributes:
        device: where pcpt and the alternatives that can run there.
        dtype: fp32 or bf16, of the convolutions.
        threads: CPU threads of torch.
        repeats: rounds.
        quick: tiny inputs and few rounds: checks the benchmark rather than the speed.
        scan: folder of a posed RGB-D scan.
        student: variant of the sparse U-Net.
        batch: clouds at once.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: str = ""
    threads: int = 1
    repeats: int = 0
    quick: bool = False
    scan: Path | None = None
    student: str = ""
    batch: int = 0

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def torch_dtype(self) -> torch.dtype:
        """Of single convolutions; fp32 unless asked otherwise."""
        return DTYPES[self.dtype or "fp32"]

    def rounds(self, usual: int) -> int:
        """Rounds to take where ``usual`` would be right for the part."""
        return self.repeats or (2 if self.quick else usual)

    def size(self, full: int, quick: int) -> int:
        """``full``, or ``quick`` in a quick run."""
        return quick if self.quick else full


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Runs a block with ``count`` CPU threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
