"""In which order a MinkowskiEngine kernel lists its taps, told from trained weights.

Shapes do not tell, but training does: features of neighbouring voxels are alike, so the gradients
of neighbouring taps are, and so the taps become. In the right order, how alike two taps are follows
from where they lie; in the wrong one it does not.

The norms of the taps do *not* tell. One would expect the centre to be the strongest; in students
trained with AdamW it often is the weakest (``docs/pretrained.md`` has the count).
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
KERNEL_ORDERS = ("auto", "cube", "hybrid")
# Both terms of a score then vary about equally by chance, and the difference of two scores by this,
# as measured on random kernels.
_EXPLAINED_WEIGHT = 3.0
_CHANCE = 0.11
MIN_SIGMA = 6.0
MIN_AGREEING = 0.75


@dataclass(frozen=True)
class OrderGuess:
    """What the kernels say about the order of their taps.

    Attributes:
        order: None where they do not say enough.
        cube, hybrid: mean score of that order, over kernels; see ``guess_kernel_order``.
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
            f"likeness of taps fits cube order {self.cube:.2f}, hybrid order {self.hybrid:.2f}; "
            f"{self.agreeing} of {self.num_kernels} kernels agree; {self.sigma:.0f} sigma"
        )


def guess_kernel_order(kernels: Iterable[Tensor]) -> OrderGuess:
    """Tells cube from hybrid order by the likeness of taps.

    The score of an order has two terms: how the cosine of two taps correlates with their nearness,
    and three times the share of its variance that the places of the two taps explain, up to the
    symmetries of the cube. The first alone is drawn to cube order by kernels whose centre and faces
    are alike, since hybrid order has these at the beginning; the second alone is less sensitive.

    Args:
        kernels: (27, C_in, C_out) each, of residual blocks; others and constant ones are left out.

    Returns:
        The guess; its order is None unless the difference is ``MIN_SIGMA`` times what chance gives
        and ``MIN_AGREEING`` of the kernels agree. Random weights, a few steps of training, or an
        order that is neither do not reach that.
    """
    places = [_Places(list(itertools.product((-1, 0, 1), repeat=3))), _Places(hybrid_taps(1))]
    scores = []
    for kernel in kernels:
        if kernel.ndim == 3 and len(kernel) == 27:
            likeness = _likeness(kernel)
            pair = [place.score(likeness) for place in places]
            scores += [pair] if all(map(math.isfinite, pair)) else []
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


class _Places:
    """Where the 351 pairs of 27 taps lie, in one order; x and z may be swapped.

    Attributes:
        distance: (351,) of the two taps.
        kind: (351,) int64, the same for pairs that a symmetry of the cube takes into each other, or
            nearly: by the two taps' distances from the centre and from each other.
    """

    def __init__(self, taps: list[tuple[int, ...]]) -> None:
        position = torch.tensor(taps, dtype=torch.float64)
        first, second = torch.triu_indices(len(taps), len(taps), 1)
        self.distance = (position[first] - position[second]).norm(dim=1)
        radius = position.square().sum(1)
        ends = torch.stack([radius[first], radius[second]]).sort(dim=0).values
        kinds = torch.stack([*ends, self.distance.square().round()], dim=1)
        self.kind = kinds.unique(dim=0, return_inverse=True)[1]

    def score(self, likeness: Tensor) -> float:
        """How well (351,) ``likeness`` goes with these places; nan if it is constant."""
        centred = likeness - likeness.mean()
        distance = self.distance - self.distance.mean()
        nearness = -(centred @ distance) / (centred.norm() * distance.norm())
        count = self.kind.bincount()
        mean = centred.new_zeros(len(count)).index_add_(0, self.kind, centred) / count
        explained = (mean.square() * count).sum() / centred.square().sum()
        return float(nearness + _EXPLAINED_WEIGHT * explained)


def _likeness(kernel: Tensor) -> Tensor:
    """(351,) cosine of all pairs of taps, each a matrix of C_in x C_out numbers."""
    taps = torch.nn.functional.normalize(kernel.detach().double().flatten(1), dim=1)
    first, second = torch.triu_indices(len(taps), len(taps), 1)
    return (taps @ taps.T)[first, second]
