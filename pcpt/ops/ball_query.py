"""Points within a radius of every query: the local groups of PointNet++."""

import math

import torch
from torch import Tensor

from pcpt.ops._clouds import check_pair, squared_distances
from pcpt.ops._library import COMPILED, has_kernel
from pcpt.ops.nearest_neighbors import MAX_NEIGHBORS, Neighbors


def ball_query(
    queries: Tensor,
    points: Tensor,
    radius: float,
    k: int,
    *,
    query_lengths: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Neighbors:
    """The first k points, by index, that lie closer than the radius to each query (PointNet++,
    arXiv 1706.02413).

    As in the authors' kernel a point exactly at the radius is outside; the test is
    ``squared_distance < radius^2``, the square rounded to the dtype of the points. Where fewer than
    k points lie inside, that kernel repeats the first one; here the rest is -1, and
    ``torch.where(index < 0, index[..., :1], index)`` repeats it. Distances are computed as in
    nearest_neighbors, the same on every device; a nan is within no radius. Not differentiable.

    Args:
        queries: (B, M, C) floating.
        points: (B, N, C) of the same dtype, C >= 1.
        radius: > 0, in the unit of the points; ``inf`` takes any point at a finite distance.
        k: 1..128.
        query_lengths: (B,) int, queries of each cloud that count, the first ones; others get -1.
        lengths: (B,) int, points of each cloud that count, the first ones; by default all N.

    Returns:
        Neighbors(index (B, M, k) int64, ascending, then -1; squared_distance (B, M, k), then inf).

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a radius, k or length out of range,
            2^31 or more numbers in an input or the output.

    Example:
        >>> points = torch.tensor([[[3.0], [1.0], [2.5], [0.5]]])
        >>> ball_query(torch.tensor([[[2.0]]]), points, 1.0, 3).index
        tensor([[[ 2, -1, -1]]])
    """
    radius = float(radius)
    if not radius > 0 or math.isnan(radius):
        raise ValueError(f"radius is {radius}, expected > 0")
    arguments = check_pair(queries, points, k, query_lengths, lengths, MAX_NEIGHBORS)
    operator = torch.ops.pcpt.ball_query if has_kernel("ball_query", points) else _reference
    return Neighbors(*operator(*arguments, radius, k))


def _reference(
    queries: Tensor,
    query_lengths: Tensor,
    points: Tensor,
    lengths: Tensor,
    radius: float,
    k: int,
) -> tuple[Tensor, Tensor]:
    num_clouds, num_queries = queries.shape[:2]
    index = torch.full((num_clouds, num_queries, k), -1, device=queries.device)
    distance = torch.full_like(index, torch.inf, dtype=queries.dtype)
    limit = torch.tensor(radius * radius, dtype=queries.dtype, device=queries.device)
    for cloud in range(num_clouds):
        near = points[cloud, : lengths[cloud]]
        for part in torch.arange(int(query_lengths[cloud])).split(1024):  # bounds the memory
            part = part.to(queries.device)
            found = squared_distances(queries[cloud, part, None], near)
            inside = found < limit
            # Those inside first, each group in its order: a stable sort of what is outside.
            order = (~inside).sort(dim=1, stable=True).indices[:, :k]
            inside, found = inside.gather(1, order), found.gather(1, order)
            index[cloud, part, : order.shape[1]] = torch.where(inside, order, -1)
            distance[cloud, part, : order.shape[1]] = torch.where(inside, found, torch.inf)
    return index, distance


if COMPILED:

    @torch.library.register_fake("pcpt::ball_query")
    def _fake(
        queries: Tensor,
        query_lengths: Tensor,
        points: Tensor,
        lengths: Tensor,
        radius: float,
        k: int,
    ) -> tuple[Tensor, Tensor]:
        shape = (*queries.shape[:2], k)
        return lengths.new_empty(shape), queries.new_empty(shape)
