"""Finds the same places in two clouds, so that features of two views can be compared."""

import torch
from torch import Tensor

from pcpt.ops import voxelize


def shared_points(world_a: Tensor, world_b: Tensor, cell: float = 0.025) -> tuple[Tensor, Tensor]:
    """Pairs of points of two clouds that lie in one cell of a common grid, one pair a cell.

    Args:
        world_a: (N, 3) float32, metres, in the frame that both clouds share.
        world_b: (M, 3) float32.
        cell: edge of the grid's cells, metres.

    Returns:
        index_a, index_b: (P,) int64 each, ordered by cell; of several points in a cell the first.
    """
    cells, inverse = voxelize(torch.cat([world_a, world_b]), cell)
    n, num_cells = world_a.shape[0], cells.shape[0]

    def first_in(inverse_part: Tensor) -> Tensor:
        none = inverse_part.numel()
        order = torch.arange(none, device=inverse_part.device)
        first = torch.full((num_cells,), none, device=inverse_part.device)
        return first.scatter_reduce_(0, inverse_part, order, "amin")

    first_a, first_b = first_in(inverse[:n]), first_in(inverse[n:])
    both = ((first_a < n) & (first_b < world_b.shape[0])).nonzero().squeeze(1)
    return first_a[both], first_b[both]
