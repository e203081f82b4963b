"""The k nearest points of every query: neighbourhoods of tokens, edges of DGCNN's graphs."""

from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.ops._clouds import check_pair, squared_distances
from pcpt.ops._library import COMPILED, has_kernel

MAX_NEIGHBORS = 128  # what the CUDA kernels keep in the registers of a warp


class Neighbors(NamedTuple):
    """Up to k points for each of B x M queries.

    Attributes:
        index: (B, M, k) int64, rows of ``points``; -1 where there are fewer.
        squared_distance: (B, M, k), in the dtype of the points (float32 for half precision);
            inf where there are fewer.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    squared_distance: Tensor


def nearest_neighbors(
    queries: Tensor,
    points: Tensor,
    k: int,
    *,
    query_lengths: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Neighbors:
    """The k points nearest to each query, nearest first; of points equally near the lower index
    comes first.

    Exact: squared distances are the sums of ``(query - point)^2`` channel by channel, in the dtype
    of the points, so every device gives the same, bit for bit. A point whose squared distance is
    not finite (nan, inf, overflow) is nobody's neighbour. A query that is itself one of the points
    finds itself.

    Not differentiable; gradients come from gathering, as in
    ``(queries[:, :, None] - points[cloud, index]).square().sum(-1)`` with ``cloud`` of shape
    (B, 1, 1) and indices that are not -1.

    Args:
        queries: (B, M, C) floating.
        points: (B, N, C) of the same dtype, any C >= 1: positions, or features as in DGCNN.
        k: 1..128.
        query_lengths: (B,) int, queries of each cloud that count, the first ones; others get -1.
        lengths: (B,) int, points of each cloud that count, the first ones; by default all N.

    Returns:
        Neighbors(index (B, M, k) int64, squared_distance (B, M, k)).

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, k or a length out of range, 2^31 or
            more numbers in an input or the output.

    Example:
        >>> points = torch.tensor([[[0.0], [1.0], [3.0]]])
        >>> nearest_neighbors(torch.tensor([[[2.0]]]), points, 2).index
        tensor([[[1, 2]]])
    """
    arguments = check_pair(queries, points, k, query_lengths, lengths, MAX_NEIGHBORS)
    operator = (
        torch.ops.pcpt.nearest_neighbors if has_kernel("nearest_neighbors", points) else _reference
    )
    return Neighbors(*operator(*arguments, k))


def _reference(
    queries: Tensor, query_lengths: Tensor, points: Tensor, lengths: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    num_clouds, num_queries = queries.shape[:2]
    index = torch.full((num_clouds, num_queries, k), -1, device=queries.device)
    distance = torch.full_like(index, torch.inf, dtype=queries.dtype)
    for cloud in range(num_clouds):
        near = points[cloud, : lengths[cloud]]
        for part in torch.arange(int(query_lengths[cloud])).split(1024):  # bounds the memory
            part = part.to(queries.device)
            found = squared_distances(queries[cloud, part, None], near)
            found, order = torch.where(found.isfinite(), found, torch.inf).sort(dim=1, stable=True)
            found, order = found[:, :k], order[:, :k]
            distance[cloud, part, : found.shape[1]] = found
            index[cloud, part, : found.shape[1]] = torch.where(found < torch.inf, order, -1)
    return index, distance


if COMPILED:

    @torch.library.register_fake("pcpt::nearest_neighbors")
    def _fake(
        queries: Tensor, query_lengths: Tensor, points: Tensor, lengths: Tensor, k: int
    ) -> tuple[Tensor, Tensor]:
        shape = (*queries.shape[:2], k)
        return lengths.new_empty(shape), queries.new_empty(shape)
