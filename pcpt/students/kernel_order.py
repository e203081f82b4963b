"""In which order a MinkowskiEngine kernel lists its taps, told from trained weights.

Shapes do not tell, but training does: features of neighbouring voxels are alike, so the gradients of
neighbouring taps are, and so the taps become. In the right order the likeness of two taps falls with
their distance; in the wrong one it has nothing to do with it (the distances in the two orders
correlate by -0.03).

The norms of the taps do *not* tell. One would expect the centre to be the strongest; in students
trained with AdamW it is more often the weakest (``docs/pretrained.md`` has the count).
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pcpt.sparse.minkowski import hybrid_taps

KernelOrder = Literal["cube", "hybrid"]
# By chance, the correlation over the 351 pairs of 27 taps varies by 1 / sqrt(350), and the
# difference of two by sqrt(2) times that.
_CHANCE = math.sqrt(2 / 350)
MIN_SIGMA = 6.0
MIN_AGREEING = 0.75


@dataclass(frozen=True)
class OrderGuess:
    """What the kernels say about the order of their taps.

    Attributes:
        order: None where they do not say enough.
        cube, hybrid: mean correlation, over kernels, of the likeness of two taps with their nearness
            in that order.
        agreeing: kernels that speak for the likelier order.
        num_kernels: how many there are, 3 x 3 x 3.
        sigma: the difference of ``cube`` and ``hybrid`` in units of its variation by chance, as in
            kernels of random weights.
    """

    order: KernelOrder | None
    cube: float
    hybrid: float
    agreeing: int
    num_kernels: int
    sigma: float

    def __str__(self) -> str:
        return (
            f"likeness of neighbouring taps {self.cube:.2f} in cube order, {self.hybrid:.2f} in "
            f"hybrid order; {self.agreeing} of {self.num_kernels} kernels agree, {self.sigma:.0f} "
            "sigma"
        )


def guess_kernel_order(kernels: Iterable[Tensor]) -> OrderGuess:
    """Tells cube from hybrid order by the likeness of neighbouring taps.

    Args:
        kernels: (27, C_in, C_out) each, of residual blocks; others and constant ones are left out.

    Returns:
        The guess; its order is None unless the difference is ``MIN_SIGMA`` times what chance gives
        and ``MIN_AGREEING`` of the kernels agree. Random weights, a few steps of training, or an
        order that is neither do not reach that.
    """
    distances = [_distances(_cube_taps()), _distances(hybrid_taps(1))]
    scores = []
    for kernel in kernels:
        if kernel.ndim != 3 or len(kernel) != 27:
            continue
        likeness = _likeness(kernel)
        pair = [-_correlation(likeness, distance) for distance in distances]
        if all(map(math.isfinite, pair)):
            scores.append(pair)
    if not scores:
        return OrderGuess(None, 0.0, 0.0, 0, 0, 0.0)
    table = torch.tensor(scores, dtype=torch.float64)
    cube, hybrid = table.mean(0).tolist()
    sign = 1 if cube >= hybrid else -1
    agreeing = int((sign * (table[:, 0] - table[:, 1]) > 0).sum())
    sigma = abs(cube - hybrid) * math.sqrt(len(scores)) / _CHANCE
    sure = sigma >= MIN_SIGMA and agreeing >= MIN_AGREEING * len(scores)
    order: KernelOrder = "cube" if sign > 0 else "hybrid"
    return OrderGuess(order if sure else None, cube, hybrid, agreeing, len(scores), sigma)


def _cube_taps() -> list[tuple[int, ...]]:
    # which axis comes first does not matter to distances
    return list(itertools.product((-1, 0, 1), repeat=3))


def _distances(taps: list[tuple[int, ...]]) -> Tensor:
    """(351,) between all pairs of taps."""
    return torch.pdist(torch.tensor(taps, dtype=torch.float64))


def _likeness(kernel: Tensor) -> Tensor:
    """(351,) cosine of all pairs of taps, each a matrix of C_in x C_out numbers."""
    taps = torch.nn.functional.normalize(kernel.detach().double().flatten(1), dim=1)
    first, second = torch.triu_indices(len(taps), len(taps), 1)  # in the order of pdist
    return (taps @ taps.T)[first, second]


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / (one.norm() * other.norm()))
