"""What the operators on batches of clouds share: argument checks, and one way to sum distances."""

import torch
from torch import Tensor

MAX_NUMBERS = 2**31 - 1  # kernels count within a tensor in 32 bits


def check_cloud(points: Tensor, name: str) -> Tensor:
    """A batch as contiguous float32 or float64 without a gradient history; half precision becomes
    float32. Raises unless floating (B, N, C >= 1) and of less than 2^31 numbers."""
    if points.dim() != 3 or points.shape[2] < 1 or not points.is_floating_point():
        raise ValueError(
            f"{name} are {points.dtype} {tuple(points.shape)}, expected floating (B, N, C), C >= 1"
        )
    check_count(points.numel(), f"{name} {tuple(points.shape)}")
    points = points.detach()
    return (points if points.dtype == torch.float64 else points.float()).contiguous()


def check_count(count: int, what: str) -> None:
    """Raises unless a tensor of ``count`` numbers is one that the kernels can index."""
    if count > MAX_NUMBERS:
        raise ValueError(f"{what} hold {count} numbers, at most 2^31 - 1; call it in parts")


def check_lengths(lengths: Tensor | None, points: Tensor, name: str) -> Tensor:
    """(B,) int64 number of points of each cloud, on their device; by default all of them.

    Raises:
        ValueError: not whole numbers (B,), or outside 0..N. Looking costs a wait for the device.
    """
    num_clouds, num_points = points.shape[:2]
    if lengths is None:
        return torch.full((num_clouds,), num_points, dtype=torch.int64, device=points.device)
    if tuple(lengths.shape) != (num_clouds,) or lengths.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"{name} are {lengths.dtype} {tuple(lengths.shape)}, expected int64 ({num_clouds},): "
            "one for each cloud"
        )
    if lengths.device != points.device:
        raise ValueError(
            f"{name} are on {lengths.device}, points on {points.device}; move them to one device"
        )
    if num_clouds:
        low, high = (int(bound) for bound in torch.stack(lengths.aminmax()))
        if low < 0 or high > num_points:
            raise ValueError(
                f"{name} reach from {low} to {high}, but clouds hold 0..{num_points} points"
            )
    return lengths.long().contiguous()


def check_pair(
    queries: Tensor,
    points: Tensor,
    k: int,
    query_lengths: Tensor | None,
    lengths: Tensor | None,
    max_k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries (B, M, C), their lengths, points (B, N, C) and theirs, as the kernels take them.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit each other, k outside 1..max_k.
    """
    if not isinstance(k, int) or not 1 <= k <= max_k:
        raise ValueError(f"k is {k}, expected a whole number in 1..{max_k}")
    if queries.dtype != points.dtype or queries.device != points.device:
        raise ValueError(
            f"queries are {queries.dtype} on {queries.device}, points {points.dtype} on "
            f"{points.device}; give both one dtype and device"
        )
    check_count(queries.shape[:2].numel() * k, "the neighbors")  # before anything is copied
    queries, points = check_cloud(queries, "queries"), check_cloud(points, "points")
    if queries.shape[0] != points.shape[0] or queries.shape[2] != points.shape[2]:
        raise ValueError(
            f"queries are {tuple(queries.shape)} and points {tuple(points.shape)}; expected "
            "(B, M, C) and (B, N, C) of one B and C"
        )
    query_lengths = check_lengths(query_lengths, queries, "query_lengths")
    return queries, query_lengths, points, check_lengths(lengths, points, "lengths")


def squared_distances(queries: Tensor, points: Tensor) -> Tensor:
    """(..., C) twice, broadcast against each other -> (...): squares added channel by channel, the
    order of the kernels, so that results agree bit for bit."""
    total = (queries[..., 0] - points[..., 0]).square()
    for channel in range(1, queries.shape[-1]):
        total = total + (queries[..., channel] - points[..., channel]).square()
    return total
