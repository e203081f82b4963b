"""What makes a run repeat itself bit for bit on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def draw_from(*key: int) -> None:
    """Seeds torch's global generators with a hash of ``key``, such as seed, step and rank."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(state >> np.uint64(1)))


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms while training on a CPU; on CUDA speed goes first.

    Without it the gradient of ``x[index]`` is summed in whatever order threads arrive.
    """
    if device.type != "cpu":
        yield
        return
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
