"""Points spread evenly over a cloud: the centres of tokens and the seeds of detection."""

import torch
from torch import Tensor

from pcpt.ops._clouds import check_cloud, check_count, check_lengths, squared_distances
from pcpt.ops._library import COMPILED, has_kernel


def farthest_points(
    points: Tensor,
    num_samples: int,
    *,
    lengths: Tensor | None = None,
    start_index: int | Tensor = 0,
) -> Tensor:
    """Greedy farthest point sampling (PointNet++, arXiv 1706.02413): each next sample is the point
    farthest from all samples before it.

    Deterministic: of points equally far the lowest index is taken, and squared distances are added
    channel by channel, so every device gives the same. No index comes twice: copies of a sampled
    point, at distance 0, follow after all points that differ, and when a cloud is exhausted the
    rest is -1. Points with a coordinate that is not finite are never sampled; if the start is one,
    or there are none before it, the first finite point starts. Not differentiable.

    Args:
        points: (B, N, C) floating, C >= 1; half precision is computed in float32.
        num_samples: S >= 0.
        lengths: (B,) int, points of each cloud that count, the first ones; by default all N.
        start_index: the first sample, in 0..length-1 (0 for an empty cloud); a number, or (B,) int.

    Returns:
        (B, S) int64 rows of each cloud, in the order sampled, -1 where there is none left.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a length or start outside the cloud,
            a negative number of samples, 2^31 or more numbers.

    Example:
        >>> points = torch.tensor([[[0.0], [1.0], [5.0], [4.0]]])
        >>> farthest_points(points, 5)
        tensor([[ 0,  2,  1,  3, -1]])
    """
    points = check_cloud(points, "points")
    if not isinstance(num_samples, int) or num_samples < 0:
        raise ValueError(f"num_samples is {num_samples}, expected a whole number >= 0")
    check_count(points.shape[0] * num_samples, "the samples")
    counted = check_lengths(lengths, points, "lengths")
    start = _check_start(start_index, points, None if lengths is None else counted)
    operator = (
        torch.ops.pcpt.farthest_points if has_kernel("farthest_points", points) else _reference
    )
    return operator(points, counted, start, num_samples)


def _check_start(start_index: int | Tensor, points: Tensor, lengths: Tensor | None) -> Tensor:
    """(B,) int64 on the device of the points; lengths where they are not all N."""
    num_clouds, num_points = points.shape[:2]
    if isinstance(start_index, int):
        if not 0 <= start_index <= max(num_points - 1, 0):
            raise ValueError(f"start_index is {start_index}, but clouds hold {num_points} points")
        start = torch.full((num_clouds,), start_index, dtype=torch.int64, device=points.device)
        if lengths is None or start_index == 0:
            return start
    else:
        integer = start_index.dtype in (torch.int32, torch.int64)
        if not integer or tuple(start_index.shape) != (num_clouds,):
            raise ValueError(
                f"start_index is {start_index.dtype} {tuple(start_index.shape)}, expected a number "
                f"or int64 ({num_clouds},): one for each cloud"
            )
        if start_index.device != points.device:
            raise ValueError(
                f"start_index is on {start_index.device}, points on {points.device}; move them to "
                "one device"
            )
        start = start_index.long().contiguous()
    last = start.new_tensor(num_points) if lengths is None else lengths
    outside = (start < 0) | (start > (last - 1).clamp(min=0))
    if bool(outside.any()):
        cloud = int(outside.nonzero()[0])
        raise ValueError(
            f"start_index of cloud {cloud} is {int(start[cloud])}, but it holds "
            f"{int(last.expand(num_clouds)[cloud])} points"
        )
    return start


def _reference(points: Tensor, lengths: Tensor, start: Tensor, num_samples: int) -> Tensor:
    num_clouds, num_points = points.shape[:2]
    samples = torch.full((num_clouds, num_samples), -1, dtype=torch.int64, device=points.device)
    if points.numel() == 0:
        return samples
    row = torch.arange(num_points, device=points.device)
    present = (row < lengths[:, None]) & points.isfinite().all(dim=2)
    # Squared distance to the nearest sample, -1 where a point is absent or already taken.
    distance = torch.where(present, torch.inf, -1.0).to(points.dtype)
    cloud = torch.arange(num_clouds, device=points.device)
    # argmax returns the first of equals, and no distance is nan.
    taken = torch.where(present[cloud, start], start, distance.argmax(dim=1))
    for sample in range(num_samples):
        left = distance[cloud, taken] >= 0
        samples[:, sample] = torch.where(left, taken, -1)
        distance[cloud, taken] = -1.0
        to_sample = squared_distances(points, points[cloud, taken][:, None])
        distance = torch.where(to_sample < distance, to_sample, distance)
        taken = distance.argmax(dim=1)
    return samples


if COMPILED:

    @torch.library.register_fake("pcpt::farthest_points")
    def _fake(points: Tensor, lengths: Tensor, start: Tensor, num_samples: int) -> Tensor:
        return lengths.new_empty(points.shape[0], num_samples)
