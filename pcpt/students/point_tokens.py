"""Tokens of a cloud at several scales: centres by farthest point sampling, each scale sampled from
the one before, and the nearest neighbours of every centre. No weights are involved."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.ops import farthest_points, nearest_neighbors
from pcpt.students.point_network import rows_of


class TokenScale(NamedTuple):
    """The tokens of one scale of B shapes.

    Attributes:
        centers: (B, M, 3) where they lie.
        chosen: (B, M) int64, which positions of the scale before they are (of the points, for the
            first scale).
        members: (B, M, K) int64, positions of the scale before that are nearest to each centre,
            nearest first.
    """

    centers: Tensor
    chosen: Tensor
    members: Tensor


@torch.no_grad()
def token_scales(
    points: Tensor, num_tokens: Sequence[int], group_sizes: Sequence[int]
) -> list[TokenScale]:
    """Tokens from fine to coarse (Point-M2AE, arXiv 2205.14401).

    Centres are distinct points; where coordinates repeat, so may centres, after all that differ.

    Args:
        points: (B, N, 3) floating.
        num_tokens: M of each scale; not more than of the scale before, or N.
        group_sizes: K of each scale; not more than of the scale before has, or N.

    Raises:
        ValueError: a shape with fewer points, or fewer finite ones, than tokens or neighbours.
    """
    before = points.detach()
    scales = []
    for scale, (count, size) in enumerate(zip(num_tokens, group_sizes, strict=True)):
        available = before.shape[1]
        if max(count, size) > available:
            raise ValueError(
                f"shapes have {available} {'tokens' if scale else 'points'}, but scale {scale + 1} "
                f"makes {count} tokens of {size} neighbours of them; raise data.num_points or "
                "lower student.num_tokens and student.group_sizes"
            )
        chosen = farthest_points(before, count)
        if bool((chosen[:, -1:] < 0).any()):
            shape = int((chosen[:, -1] < 0).nonzero()[0])
            raise ValueError(
                f"shape {shape} of the batch has {int((chosen[shape] >= 0).sum())} finite points, "
                f"expected at least {count}, the tokens of scale {scale + 1}; drop it or mend it"
            )
        centers = gather_points(before, chosen)
        scales.append(TokenScale(centers, chosen, _neighbors(centers, before, size)))
        before = centers
    return scales


def _neighbors(centers: Tensor, positions: Tensor, size: int) -> Tensor:
    found = nearest_neighbors(centers, positions, size).index
    if bool((found[:, :, -1:] < 0).any()):
        raise ValueError(
            f"a token has fewer than {size} neighbours at a finite distance; drop points that are "
            "not finite, or lower student.group_sizes"
        )
    return found


def gather_points(positions: Tensor, index: Tensor) -> Tensor:
    """(B, ..., 3) positions at (B, ...) places of (B, M, 3) ones."""
    return positions.reshape(-1, 3)[rows_of(index, positions.shape[1])]


def points_of_tokens(scales: Sequence[TokenScale]) -> list[Tensor]:
    """For each scale (B, M) int64: which of the shape's points its tokens lie at."""
    points = [scales[0].chosen]
    for scale in scales[1:]:
        points.append(points[-1].gather(1, scale.chosen))
    return points


def visible_in_all_scales(
    visible: Tensor, scales: Sequence[TokenScale], *, always_first: bool = False
) -> list[Tensor]:
    """Which tokens stay visible: a finer token where a visible coarser group contains it.

    Args:
        visible: (B, M) bool, of the coarsest scale.
        scales: from fine to coarse.
        always_first: as in I2P-MAE's released code, where every masked group counts as containing
            the first token of the first shape, which therefore is always visible.

    Returns:
        (B, M) bool for each scale, from fine to coarse.
    """
    found = [visible]
    for scale, finer in zip(reversed(scales[1:]), reversed(scales[:-1]), strict=True):
        size = finer.centers.shape[1]
        shown = torch.zeros(len(visible) * size, dtype=torch.bool, device=visible.device)
        shown[rows_of(scale.members, size)[found[0]]] = True
        if always_first and bool((~found[0]).any()):
            shown[0] = True
        found.insert(0, shown.view(len(visible), size))
    return found
