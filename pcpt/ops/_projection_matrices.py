"""Cameras as the 3x4 matrices that the operators which project points take."""

import contextlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel, without_gradient

Array = NDArray[np.float64]
LEAST_DETERMINANT = 1e-9


def projection_matrices(intrinsics: Tensor, camera_to_world: Tensor) -> Tensor:
    """Intrinsics times world-to-camera of every view.

    Args:
        intrinsics: (V, 3, 3) floating, pixels; last row 0 0 1.
        camera_to_world: (V, 4, 4) floating, metres; last row 0 0 0 1.

    Returns:
        (V, 3, 4) float32 on the CPU, inverted and multiplied in float64.

    Raises:
        ValueError: see ``check_cameras``.
    """
    if isinstance(intrinsics, Tensor) and isinstance(camera_to_world, Tensor):
        cameras = intrinsics.cpu(), camera_to_world.cpu()
        if has_kernel("projection_matrices", cameras[0]):
            with contextlib.suppress(RuntimeError):
                return torch.ops.pcpt.projection_matrices(*cameras)
    return _reference(*check_cameras(intrinsics, camera_to_world))


def check_cameras(
    intrinsics: Tensor, camera_to_world: Tensor, num_views: int | None = None, role: str = ""
) -> tuple[Tensor, Tensor]:
    """The cameras as contiguous float64 on the CPU.

    Args:
        intrinsics: (V, 3, 3) floating, pixels; last row 0 0 1.
        camera_to_world: (V, 4, 4) floating, metres; last row 0 0 0 1.
        num_views: V, where another argument sets it.
        role: prefix of the argument names in messages, such as ``depth_``.

    Raises:
        ValueError: another shape or dtype, a value that is not finite, a last row or a matrix that
            cannot be a camera's; the message names the view.
    """
    names = f"{role}intrinsics", f"{role}camera_to_world"
    first = _as_double(intrinsics, names[0], num_views, 3)
    second = _as_double(camera_to_world, names[1], len(first), 4)
    for matrices, name in zip((first, second), names):
        _check_values(matrices.numpy(), name)
    return first, second


def _as_double(matrix: Tensor, name: str, num_views: int | None, size: int) -> Tensor:
    if not isinstance(matrix, Tensor):
        raise ValueError(f"{name} is a {type(matrix).__name__}, expected a tensor")
    shape = tuple(matrix.shape)
    fits = len(shape) == 3 and shape[1:] == (size, size) and num_views in (None, shape[0])
    if not fits or not matrix.is_floating_point():
        views = "V" if num_views is None else num_views
        raise ValueError(
            f"{name} is {matrix.dtype} {shape}, expected floating ({views}, {size}, {size}): "
            "one matrix a view"
        )
    return matrix.detach().to("cpu", torch.float64).contiguous()


def _reference(intrinsics: Tensor, camera_to_world: Tensor) -> Tensor:
    """In NumPy, whose operations on matrices this small cost a fraction of torch's. The operations
    and their order are those of the kernel, so the results are the same bits."""
    first, second = intrinsics.numpy(), camera_to_world.numpy()
    a, b, c, origin = (second[:, :3, column] for column in range(4))
    rows = np.stack((_cross(b, c), _cross(c, a), _cross(a, b)), axis=1)  # of the inverse, times
    inverse = rows / _determinants(second)[:, None, None]
    shift = -_sum_of_three(inverse * origin[:, None])
    to_camera = np.concatenate((inverse, shift[:, :, None]), axis=2)
    products = first[:, :, None] * to_camera.swapaxes(1, 2)[:, None]
    with np.errstate(over="ignore"):  # what float32 cannot hold projects to nowhere
        return torch.from_numpy(_sum_of_three(products).astype(np.float32))


def _check_values(values: Array, name: str) -> None:
    size = values.shape[1]
    finite = np.asarray(np.isfinite(values).all((1, 2)))
    last_row = np.eye(size, dtype=np.int64)[-1]
    determinant = _determinants(np.where(finite[:, None, None], values, 0))
    problems = (
        (~finite, "holds inf or nan; skip frames that lost tracking"),
        ((values[:, -1] != last_row).any(1), f"must end in the row {last_row.tolist()}"),
        (
            np.abs(determinant) < LEAST_DETERMINANT,
            "is not invertible; focal lengths and rotations are not 0",
        ),
    )
    for broken, reason in problems:
        if broken.any():
            view = int(broken.argmax())
            raise ValueError(f"{name}[{view}] {reason}: {values[view].tolist()}")


def _determinants(matrices: Array) -> Array:
    """(V,) of the upper left 3x3, which is all of it where the last row is a camera's."""
    a, b, c = (matrices[:, :3, column] for column in range(3))
    return _sum_of_three(a * _cross(b, c))


def _cross(a: Array, b: Array) -> Array:
    others = (1, 2), (2, 0), (0, 1)
    return np.stack([a[:, i] * b[:, j] - a[:, j] * b[:, i] for i, j in others], axis=1)


def _sum_of_three(values: Array) -> Array:
    """Over the last axis, from left to right."""
    total: Array = values[..., 0] + values[..., 1] + values[..., 2]
    return total


if COMPILED:
    without_gradient("projection_matrices")

    @torch.library.register_fake("pcpt::projection_matrices")
    def _fake(intrinsics: Tensor, camera_to_world: Tensor) -> Tensor:
        return intrinsics.new_empty(len(intrinsics), 3, 4, dtype=torch.float32)
