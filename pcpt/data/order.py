"""The order in which an epoch visits frames, scenes or shapes."""

import numpy as np
import torch
from torch import Tensor

WINDOW = 8  # blocks that are read side by side


def generator_for(seed: int, number: int) -> torch.Generator:
    """The random generator of one sample: a function of the run's seed and the sample's number."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


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


class EpochOrder:
    """From global sample numbers to places in a list: number n is place ``order[n % count]`` of
    epoch ``n // count``. Each place comes once an epoch.

    Args:
        count: of places.
        seed: of the orders.
        block: see ``epoch_order``.
        shuffled: False keeps the list's order in every epoch.
    """

    def __init__(self, count: int, seed: int, *, block: int = 0, shuffled: bool = True) -> None:
        self._count = count
        self._seed = seed
        self._block = block
        self._shuffled = shuffled
        self._epoch = -1
        self._order = torch.arange(count)

    def place(self, number: int) -> int:
        """The place of a global sample number."""
        epoch, position = divmod(number, self._count)
        if not self._shuffled:
            return position
        if epoch != self._epoch:
            # far from the numbers of samples, which draw as well
            generator = generator_for(self._seed, 2**62 + epoch)
            self._order = epoch_order(self._count, self._block, generator)
            self._epoch = epoch
        return int(self._order[position])
