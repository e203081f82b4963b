"""Depth images of a point cloud that came without any: z-buffered square splats."""

import torch
from torch import Tensor

from pcpt.ops._library import COMPILED, has_kernel
from pcpt.ops._projection import check_points, check_size, project_reference
from pcpt.ops._projection_matrices import projection_matrices

MAX_RADIUS = 2**15  # keeps pixel arithmetic well within an int32


def render_depth(
    points: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    size: tuple[int, int],
    radius_pixels: int = 0,
) -> Tensor:
    """Depth of the nearest point at every pixel of V views, 0 where there is none.

    A point in front of the camera covers the square of ``2 * radius_pixels + 1`` pixels a side
    around its nearest pixel ``floor(u + 0.5), floor(v + 0.5)``, all at the point's own depth, where
    the square lies within the image; its centre may lie outside. The result does not depend on
    the order of the points. Points that are not finite cover nothing. Not differentiable.

    Args:
        points: (N, 3) floating, metres, world frame; computed in float32.
        intrinsics: (V, 3, 3), pixels of ``size``. Matrices may be on any device.
        camera_to_world: (V, 4, 4).
        size: (H, W) of the images.
        radius_pixels: of the splat; 0 is one pixel, 2 the 5 x 5 of I2P-MAE.

    Returns:
        (V, H, W) float32, metres, on the device of ``points``.

    Raises:
        ValueError: shapes, dtypes or numbers of views that do not fit, a matrix that is not a
            camera's, a negative or fractional radius.

    Example:
        >>> points = torch.tensor([[1.0, 0.0, 1.0], [2.0, 0.0, 2.0]])  # both at u = 1
        >>> render_depth(points, torch.eye(3)[None], torch.eye(4)[None], (1, 3))
        tensor([[[0., 1., 0.]]])
    """
    points = check_points(points)
    height, width = check_size(size, "size")
    if not isinstance(radius_pixels, int) or not 0 <= radius_pixels <= MAX_RADIUS:
        raise ValueError(
            f"radius_pixels is {radius_pixels}, expected a whole number in 0..{MAX_RADIUS}"
        )
    projection = projection_matrices(intrinsics, camera_to_world)
    operator = torch.ops.pcpt.render_depth if has_kernel("render_depth", points) else _reference
    return operator(points, projection.to(points.device), height, width, radius_pixels)


def _reference(
    points: Tensor, projection: Tensor, height: int, width: int, radius_pixels: int
) -> Tensor:
    depth = points.new_full((len(projection), height * width), torch.inf)
    offsets = range(-radius_pixels, radius_pixels + 1)
    for view, image in enumerate(depth):
        u, v, z = project_reference(points, projection[view])
        column, row = (u + 0.5).floor(), (v + 0.5).floor()
        near = (column >= -radius_pixels) & (column < width + radius_pixels)
        near &= (row >= -radius_pixels) & (row < height + radius_pixels) & (z > 0)
        column, row, z = column[near].long(), row[near].long(), z[near]
        for x, y in ((column + right, row + down) for down in offsets for right in offsets):
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            pixel_index = (y * width + x)[inside]
            image.scatter_reduce_(0, pixel_index, z[inside], reduce="amin")
    return torch.where(depth.isinf(), 0.0, depth).reshape(len(projection), height, width)


if COMPILED:

    @torch.library.register_fake("pcpt::render_depth")
    def _fake(
        points: Tensor, projection: Tensor, height: int, width: int, radius_pixels: int
    ) -> Tensor:
        return points.new_empty(projection.shape[0], height, width)
