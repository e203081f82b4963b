"""Points to voxels: the grid on which the sparse network computes, and the way back."""

import math

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel
from pcpt.ops._projection import check_points
from pcpt.ops.kernel_map import COORDINATE_LIMIT, pack_coordinates, unpack_coordinates

MAX_POINTS = 2**31  # voxels are numbered in an int32


def voxelize(
    points: Tensor, voxel_size: float, batch_index: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Occupied voxels ``floor(point / voxel_size)`` of a batch of clouds, each once.

    Args:
        points: (N, 3) floating, metres; computed in float32.
        voxel_size: edge of a voxel, metres.
        batch_index: (N,) int32 or int64, the cloud of each point, in 0..2^15-1, in any order; all
            0 by default.

    Returns:
        coordinates: (U, 4) int32 [batch, x, y, z], unique, in lexicographic order.
        point_to_voxel: (N,) int64, row of ``coordinates`` of each point. Not differentiable.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, a voxel size that is not positive,
            points that are not finite, coordinates outside -2^15..2^15-1, 2^31 points or more.

    Example:
        >>> points = torch.tensor([[0.3, 0.0, 0.0], [-0.1, 0.0, 0.0], [0.26, 0.1, 0.2]])
        >>> voxelize(points, 0.25)
        (tensor([[ 0, -1,  0,  0],
                [ 0,  1,  0,  0]], dtype=torch.int32), tensor([1, 0, 1]))
    """
    if points.dim() > 0 and len(points) >= MAX_POINTS:  # before anything is copied
        raise ValueError(f"points are {len(points)}, expected fewer than 2^31; voxelize parts")
    points = check_points(points)
    if not torch.finfo(torch.float32).tiny <= voxel_size < math.inf:  # nan fails too
        raise ValueError(f"voxel_size is {voxel_size}, expected metres above 0, such as 0.025")
    batch_index = _check_batch(points, batch_index)
    if has_kernel("voxelize", points):
        try:
            return torch.ops.pcpt.voxelize(points, float(voxel_size), batch_index)
        except RuntimeError:  # the kernels check as they go, but cannot say what is wrong
            _check_values(points, voxel_size, batch_index)
            raise
    _check_values(points, voxel_size, batch_index)
    return _reference(points, float(voxel_size), batch_index)


def _check_values(points: Tensor, voxel_size: float, batch_index: Tensor) -> None:
    if len(points) == 0:
        return
    low, high = (bound.tolist() for bound in points.aminmax(dim=0))  # nan wins either bound
    if not all(math.isfinite(bound) for bound in low + high):
        bad = int((~points.isfinite().all(1)).sum())
        raise ValueError(f"points hold inf or nan in {bad} of {len(points)} rows; drop those rows")
    # Division and floor are monotonic, so the extremes speak for all points.
    extremes = _grid(torch.tensor([low, high]), voxel_size)
    if extremes.min() < -COORDINATE_LIMIT or extremes.max() >= COORDINATE_LIMIT:
        enough = 1.01 * max(abs(bound) for bound in low + high) / COORDINATE_LIMIT
        raise ValueError(
            f"points reach from {low} to {high} m, beyond +-2^15 voxels of {voxel_size} m; centre "
            f"the cloud, drop outliers or use voxels of {enough:.3g} m or more"
        )
    first, last = (int(bound) for bound in torch.stack(batch_index.aminmax()))
    if first < 0 or last >= COORDINATE_LIMIT:
        raise ValueError(
            f"batch_index reaches from {first} to {last}, outside 0..{COORDINATE_LIMIT - 1}; "
            "number the clouds of a batch from 0"
        )


def _check_batch(points: Tensor, batch_index: Tensor | None) -> Tensor:
    if batch_index is None:
        return torch.zeros(len(points), dtype=torch.int64, device=points.device)
    if tuple(batch_index.shape) != (len(points),) or batch_index.dtype not in (
        torch.int32,
        torch.int64,
    ):
        raise ValueError(
            f"batch_index is {batch_index.dtype} {tuple(batch_index.shape)}, expected int64 "
            f"({len(points)},): one for each point"
        )
    if batch_index.device != points.device:
        raise ValueError(f"batch_index is on {batch_index.device}, points on {points.device}")
    return batch_index.long().contiguous()


def _grid(points: Tensor, voxel_size: float) -> Tensor:
    """``floor(points / voxel_size)``, still floating. The divisor is a tensor because CUDA divides
    by a number through its reciprocal, which puts points on voxel faces elsewhere."""
    return (points / torch.full_like(points[:1], voxel_size)).floor()


def _reference(points: Tensor, voxel_size: float, batch_index: Tensor) -> tuple[Tensor, Tensor]:
    cells = _grid(points, voxel_size).long()
    keys = pack_coordinates(torch.cat((batch_index[:, None], cells), dim=1))
    unique, point_to_voxel = keys.unique(return_inverse=True)
    return unpack_coordinates(unique), point_to_voxel


if COMPILED:

    @torch.library.register_fake("pcpt::voxelize")
    def _fake(points: Tensor, voxel_size: float, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        num_voxels = torch.library.get_ctx().new_dynamic_size()
        return points.new_empty(num_voxels, 4, dtype=torch.int32), torch.empty_like(batch_index)
