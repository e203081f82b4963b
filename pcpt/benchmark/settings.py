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
        batch: clouds, or frames of ppkt-step, at once.
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
    def conv_dtype(self) -> torch.dtype:
        """Of sparse convolutions: unless asked otherwise, bf16 on a GPU and fp32 on a CPU."""
        return DTYPES[self.dtype or ("bf16" if self.on_gpu else "fp32")]

    def room(self) -> tuple[float, int, int]:
        """Voxel size, voxels a cloud and clouds of the generated rooms that layers and networks
        get: 4 of 110k voxels at 2 cm on a GPU, more than its caches hold; 1 of 32k at 5 cm else."""
        size, count, batch = (0.02, 110_000, 4) if self.on_gpu else (0.05, 32_000, 1)
        return size, self.size(count, 300), self.batch or batch

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
