"""The order in which an epoch visits frames."""

import torch
from torch import Tensor

WINDOW = 8  # blocks that are read side by side


def epoch_order(count: int, block: int, generator: torch.Generator) -> Tensor:
    """A permutation of 0 to ``count`` - 1, (count,) int64; a function of the generator's state.

    Args:
        count: of frames.
        block: 0 draws all permutations alike. Otherwise blocks of so many consecutive frames are
            permuted, and frames then within every ``WINDOW`` of those blocks: a stretch of the
            order then comes from few places on disk, and yet from several scans.
        generator: on the CPU.
    """
    if block == 0:
        return torch.randperm(count, generator=generator)
    blocks = torch.arange(count).split(block)
    shuffled = torch.randperm(len(blocks), generator=generator).tolist()
    windows = []
    for start in range(0, len(blocks), WINDOW):
        frames = torch.cat([blocks[i] for i in shuffled[start : start + WINDOW]])
        windows.append(frames[torch.randperm(len(frames), generator=generator)])
    return torch.cat(windows) if windows else torch.arange(0)
