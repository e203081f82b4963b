"""Which points are seen at which pixels: the pairs that carry 2D features to 3D points."""

import contextlib
import math
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel, without_gradient
from pcpt.ops._projection import check_points, check_size, project_reference
from pcpt.ops._projection_matrices import check_cameras, projection_matrices


class Correspondences(NamedTuple):
    """Visible (point, pixel) pairs, sorted by view, then by point.

    Attributes:
        point_index: (M,) int64, row of ``points``.
        view_index: (M,) int64.
        pixel: (M, 2) float32, continuous (u, v) in the colour image; u is the column.
        depth_error: (M,) float32, depth of the point minus the measured depth, metres.
    """

    point_index: Tensor
    view_index: Tensor
    pixel: Tensor
    depth_error: Tensor


def match_points_to_pixels(
    points: Tensor,
    depth: Tensor,
    depth_intrinsics: Tensor,
    depth_camera_to_world: Tensor,
    color_intrinsics: Tensor | None = None,
    color_camera_to_world: Tensor | None = None,
    color_size: tuple[int, int] | None = None,
    *,
    absolute_tolerance: float = 0.05,
    relative_tolerance: float = 0.0,
    border: int = 0,
) -> Correspondences:
    """The pixels of V colour images at which N points are visible, judged by V depth images.

    A point is visible in a view when, in the *depth* camera, it lies in front (z > 0), the nearest
    pixel ``floor(u + 0.5), floor(v + 0.5)`` holds a measurement d (finite, > 0) and
    ``|z - d| <= absolute_tolerance + relative_tolerance * d``. Its pixel is then its projection
    into the *colour* camera, kept if in front and within the image.

    Visibility is judged in the depth camera alone. Where the two cameras stand apart, a point that
    the depth camera sees may be hidden from the colour camera by something nearer; such points, in
    a band beside depth edges as wide as the parallax, are returned all the same, since the colour
    camera has no depth to tell. Points that are not finite match nothing.

    Args:
        points: (N, 3) floating, metres, world frame; computed in float32.
        depth: (V, H, W) floating, z in metres; 0 = no measurement. On the device of ``points``.
        depth_intrinsics: (V, 3, 3), pixels of ``depth``. Matrices may be on any device.
        depth_camera_to_world: (V, 4, 4).
        color_intrinsics: (V, 3, 3), pixels of the colour image; the depth camera's by default.
        color_camera_to_world: (V, 4, 4); the depth camera's by default.
        color_size: (height, width) of the colour images; of ``depth`` by default.
        absolute_tolerance: metres; ``inf`` accepts every measured pixel.
        relative_tolerance: metres per metre of measured depth.
        border: pixels at the edge of the colour image to leave out; 0 keeps
            ``-0.5 <= u < W - 0.5``.

    Returns:
        Correspondences, on the device of ``points``. Not differentiable.

    Raises:
        ValueError: shapes, dtypes, devices or numbers of views that do not fit, a matrix that is
            not a camera's, a negative tolerance or border, a colour size without intrinsics.

    Example:
        >>> depth, intrinsics = torch.full((1, 4, 4), 2.0), torch.eye(3)[None]
        >>> points = torch.tensor([[2.0, 4.0, 2.0], [2.0, 4.0, 3.0]])  # the second is behind
        >>> match_points_to_pixels(points, depth, intrinsics, torch.eye(4)[None]).pixel
        tensor([[1., 2.]])
    """
    arguments = (
        points,
        depth,
        depth_intrinsics,
        depth_camera_to_world,
        color_intrinsics,
        color_camera_to_world,
        *((-1, -1) if color_size is None else check_size(color_size, "color_size")),
        absolute_tolerance,
        relative_tolerance,
        border,
    )
    compiled = isinstance(points, Tensor) and has_kernel("match_points_to_pixels", points)
    if compiled:
        # The kernel checks and converts by itself, in a tenth of the time that Python takes.
        with contextlib.suppress(RuntimeError):
            return Correspondences(*torch.ops.pcpt.match_points_to_pixels(*arguments))
    arguments = _check(*arguments)  # says what is wrong, and gathers matrices from other devices
    operator = torch.ops.pcpt.match_points_to_pixels if compiled else _reference
    return Correspondences(*operator(*arguments))


def _check_views(depth: Tensor) -> None:
    if not isinstance(depth, Tensor):
        raise ValueError(
            f"depth is a {type(depth).__name__}, expected one tensor (V, H, W): stack images "
            "of one size, and match views of other sizes in calls of their own"
        )
    if depth.dim() != 3 or not depth.is_floating_point():
        raise ValueError(
            f"depth is {depth.dtype} {tuple(depth.shape)}, expected floating (V, H, W) in metres"
        )


def _check(
    points: Tensor,
    depth: Tensor,
    depth_intrinsics: Tensor,
    depth_camera_to_world: Tensor,
    color_intrinsics: Tensor | None,
    color_camera_to_world: Tensor | None,
    color_height: int,
    color_width: int,
    absolute_tolerance: float,
    relative_tolerance: float,
    border: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, int, float, float, int]:
    """The arguments, contiguous and without defaults: points and depth in float32, matrices in
    float64 on the CPU."""
    _check_views(depth)
    points = check_points(points)
    if depth.device != points.device:
        raise ValueError(f"depth is on {depth.device}, points on {points.device}; move one")
    for name, value in (
        ("absolute_tolerance", absolute_tolerance),
        ("relative_tolerance", relative_tolerance),
    ):
        if math.isnan(value) or value < 0:
            raise ValueError(f"{name} is {value}, expected 0 or more")
    if not isinstance(border, int) or border < 0:
        raise ValueError(f"border is {border}, expected a whole number of pixels, 0 or more")
    num_views, depth_size = depth.shape[0], check_size(depth.shape[1:], "depth size")
    color_size = depth_size if color_height < 0 else (color_height, color_width)
    if color_intrinsics is None and color_size != depth_size:
        raise ValueError(
            f"color_size {color_size} differs from the depth size {depth_size}: pass the "
            "color_intrinsics that belong to it"
        )
    depth_camera = check_cameras(depth_intrinsics, depth_camera_to_world, num_views, "depth_")
    color_camera = check_cameras(
        depth_intrinsics if color_intrinsics is None else color_intrinsics,
        depth_camera_to_world if color_camera_to_world is None else color_camera_to_world,
        num_views,
        "color_",
    )
    return (
        points,
        depth.detach().float().contiguous(),
        *depth_camera,
        *color_camera,
        *color_size,
        float(absolute_tolerance),
        float(relative_tolerance),
        border,
    )


def _reference(
    points: Tensor,
    depth: Tensor,
    depth_intrinsics: Tensor,
    depth_camera_to_world: Tensor,
    color_intrinsics: Tensor,
    color_camera_to_world: Tensor,
    color_height: int,
    color_width: int,
    absolute_tolerance: float,
    relative_tolerance: float,
    border: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    depth_projection = projection_matrices(depth_intrinsics, depth_camera_to_world)
    color_projection = projection_matrices(color_intrinsics, color_camera_to_world)
    height, width = depth.shape[1:]
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for view in range(len(depth)):
        u, v, z = project_reference(points, depth_projection[view])
        column, row = u + 0.5, v + 0.5
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = torch.nonzero(inside).squeeze(1)
        measured = depth[view, row[index].long(), column[index].long()]
        error = z[index] - measured
        close = error.abs() <= absolute_tolerance + relative_tolerance * measured
        visible = (measured > 0) & measured.isfinite() & close
        index, error = index[visible], error[visible]

        u, v, z = project_reference(points[index], color_projection[view])
        low, high_u, high_v = border - 0.5, color_width - border - 0.5, color_height - border - 0.5
        kept = (z > 0) & (u >= low) & (u < high_u) & (v >= low) & (v < high_v)
        pixel = torch.stack((u, v), dim=1)[kept]
        found.append((index[kept], torch.full_like(index[kept], view), pixel, error[kept]))
    if not found:
        index = points.new_zeros(0, dtype=torch.int64)
        return index, index.clone(), points.new_zeros(0, 2), points.new_zeros(0)
    point_index, view_index, pixels, errors = (torch.cat(parts) for parts in zip(*found))
    return point_index, view_index, pixels, errors


if COMPILED:
    without_gradient("match_points_to_pixels")

    @torch.library.register_fake("pcpt::match_points_to_pixels")
    def _fake(points: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        num_pairs = torch.library.get_ctx().new_dynamic_size()
        index = points.new_empty(num_pairs, dtype=torch.int64)
        return (
            index,
            torch.empty_like(index),
            points.new_empty(num_pairs, 2),
            points.new_empty(num_pairs),
        )
