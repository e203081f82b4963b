"""What the operators that project points share: argument checks, and cameras as 3x4 matrices."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def check_points(points: Tensor) -> Tensor:
    """Points as contiguous float32 without a gradient history; raises unless floating (N, 3)."""
    if points.dim() != 2 or points.shape[1] != 3 or not points.is_floating_point():
        raise ValueError(
            f"points are {points.dtype} {tuple(points.shape)}, expected floating (N, 3) in metres"
        )
    return points.detach().float().contiguous()


def check_size(size: Sequence[int], name: str) -> tuple[int, int]:
    """(H, W) as two ints; raises unless they are not negative and H * W fits an int32."""
    if len(size) != 2 or any(int(edge) != edge or edge < 0 for edge in size):
        raise ValueError(f"{name} is {tuple(size)}, expected (height, width) in pixels")
    height, width = int(size[0]), int(size[1])
    if height * width >= 2**31:
        raise ValueError(f"{name} {(height, width)} has 2^31 pixels or more; resize the images")
    return height, width


def projection_matrices(
    intrinsics: Tensor, camera_to_world: Tensor, num_views: int | None = None, role: str = ""
) -> Tensor:
    """Intrinsics times world-to-camera of every view, as the kernels take them.

    Args:
        intrinsics: (V, 3, 3) floating, pixels; last row 0 0 1.
        camera_to_world: (V, 4, 4) floating, metres; last row 0 0 0 1.
        num_views: V, where another argument sets it.
        role: prefix of the argument names in messages, such as ``depth_``.

    Returns:
        (V, 3, 4) float32 on the CPU, inverted and multiplied in float64.

    Raises:
        ValueError: another shape or dtype, a value that is not finite, a last row or a matrix that
            cannot be a camera's; the message names the view.
    """
    first = _check(intrinsics, f"{role}intrinsics", num_views, 3)
    second = _check(camera_to_world, f"{role}camera_to_world", len(first), 4)
    projection = first @ np.linalg.inv(second)[:, :3]
    return torch.from_numpy(projection.astype(np.float32))


def _check(matrix: Tensor, name: str, num_views: int | None, size: int) -> np.ndarray:
    shape = tuple(matrix.shape)
    fits = len(shape) == 3 and shape[1:] == (size, size) and num_views in (None, shape[0])
    if not fits or not matrix.is_floating_point():
        views = "V" if num_views is None else num_views
        raise ValueError(
            f"{name} is {matrix.dtype} {shape}, expected floating ({views}, {size}, {size}): "
            "one matrix a view"
        )
    # In NumPy: on matrices this small its operations cost a fraction of torch's.
    values = matrix.detach().to("cpu", torch.float64).numpy()
    finite = np.isfinite(values).all((1, 2))
    last_row = np.eye(size, dtype=np.int64)[-1]
    determinant = np.linalg.det(np.where(finite[:, None, None], values, 0))
    problems = (
        (~finite, "holds inf or nan; skip frames that lost tracking"),
        ((values[:, -1] != last_row).any(1), f"must end in the row {last_row.tolist()}"),
        (np.abs(determinant) < 1e-9, "is not invertible; focal lengths and rotations are not 0"),
    )
    for broken, reason in problems:
        if broken.any():
            view = int(broken.argmax())
            raise ValueError(f"{name}[{view}] {reason}: {values[view].tolist()}")
    return values


def project_reference(points: Tensor, projection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u, v and z, each (N,), of points (N, 3) under one (3, 4) matrix, all float32.

    The operations and their order are those of ``project`` in ``csrc/geometry.h``, which makes
    kernels and references agree bit for bit; a matrix product would not.
    """
    x, y, z = points.unbind(1)
    a, b, c = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in projection)
    return a / c, b / c, c
