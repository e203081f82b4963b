"""The losses of offsets from points to the centres of their objects (PointGroup, CVPR 2020)."""

import torch
from torch import Tensor

from pcpt.ops import segment_reduce

_TINY = 1e-8


def centre_offsets(points: Tensor, objects: Tensor, num_objects: int) -> Tensor:
    """What each point has to be moved by to reach the mean of its object's points.

    Args:
        points: (N, 3) floating, metres.
        objects: (N,) int64, 0 to ``num_objects`` - 1, or -1 for points of none.

    Returns:
        (N, 3), metres; zero where there is no object.

    Raises:
        ValueError: shapes that differ, or an object out of range.
    """
    centres = segment_reduce(points, objects, num_objects, "mean")
    # one more row, which -1 finds
    target = torch.cat([centres, centres.new_zeros(1, centres.shape[1])])[objects]
    return torch.where((objects >= 0)[:, None], target - points, 0.0)


def offset_distance(offsets: Tensor, targets: Tensor) -> Tensor:
    r"""Mean L1 distance between offsets and targets (PointGroup, arXiv 2004.01658, eq. 1).

    .. math:: L = \frac{1}{M} \sum_i \| o_i - t_i \|_1

    Args:
        offsets: (M, 3) predicted, metres; points that belong to an object alone.
        targets: (M, 3), metres.

    Returns:
        Scalar, metres; zero, with gradient, when M = 0.

    Raises:
        ValueError: shapes that differ.
    """
    _check(offsets, targets)
    return (offsets - targets).abs().sum() / max(1, len(offsets))


def offset_direction(offsets: Tensor, targets: Tensor) -> Tensor:
    r"""Mean of the negative cosine between offsets and targets (PointGroup, eq. 2).

    Offsets of points far from the centre are hard to regress but easy to point; a target of length
    zero has no direction and adds zero.

    .. math:: L = -\frac{1}{M} \sum_i \frac{o_i}{\| o_i \|} \cdot \frac{t_i}{\| t_i \|}

    Args:
        offsets: (M, 3) predicted, metres.
        targets: (M, 3), metres.

    Returns:
        Scalar in [-1, 1]; zero, with gradient, when M = 0.

    Raises:
        ValueError: shapes that differ.
    """
    _check(offsets, targets)
    return -(_unit(offsets) * _unit(targets)).sum() / max(1, len(offsets))


def _unit(vectors: Tensor) -> Tensor:
    # The square root of a sum that is never zero: the norm's gradient at zero is not a number.
    length = (vectors.square().sum(dim=1, keepdim=True) + _TINY**2).sqrt()
    return vectors / length


def _check(offsets: Tensor, targets: Tensor) -> None:
    if offsets.shape != targets.shape or offsets.dim() != 2:
        raise ValueError(
            f"offsets and targets must both be (M, 3), got {tuple(offsets.shape)} and "
            f"{tuple(targets.shape)}"
        )
