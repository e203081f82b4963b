"""Chamfer distance of small point sets: the 3D loss of masked autoencoders."""

from torch import Tensor


def chamfer(found: Tensor, expected: Tensor) -> Tensor:
    """Chamfer-L2 of pairs of point sets: the mean squared distance of each point to the nearest of
    the other set, in both directions, added (Fan et al., CVPR 2017, arXiv 1612.00603).

    Args:
        found: (L, K, 3) floating, K >= 1.
        expected: (L, M, 3), M >= 1.

    Returns:
        (L,), differentiable in both.

    Raises:
        ValueError: shapes that do not fit, or a set without points.
    """
    fits = found.dim() == expected.dim() == 3 and len(found) == len(expected)
    if not fits or found.shape[2] != 3 or expected.shape[2] != 3:
        raise ValueError(
            f"found is {tuple(found.shape)} and expected {tuple(expected.shape)}; chamfer takes "
            "(L, K, 3) and (L, M, 3)"
        )
    if found.shape[1] == 0 or expected.shape[1] == 0:
        raise ValueError(
            f"found is {tuple(found.shape)} and expected {tuple(expected.shape)}: a set without "
            "points has no nearest one"
        )
    squared = (found[:, :, None] - expected[:, None]).square().sum(3)
    return squared.amin(2).mean(1) + squared.amin(1).mean(1)
