"""Axis-aligned views of many shapes at once, as pictures for a 2D network, with the pixel of every
point in every view and whether the view shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pcpt.ops import render_depth

# Looking along a direction: the axes (with signs) that point right, down and forward in the image.
_SIDES = {"x": 0, "y": 1, "z": 2}
DIRECTIONS = ("x", "y", "z", "-x", "-y", "-z")
DEPTHS = ("z_buffer", "summed")
_NEAREST = 1.0  # depth given to the nearest point of a view; 0 is nothing
_MOST_ROWS = 2**20  # of images drawn as one: float32 moves the points of four times as many
_DARKEST = 0.2  # of the farthest point, where nothing is 0 and the nearest point 1


@dataclass
class AxisViews:
    """V views of B shapes.

    Attributes:
        images: (B, V, H, W) uint8 grey values.
        pixel: (B, V, N, 2) float32, (u, v) of every point; all lie in the image.
        visible: (B, V, N) bool, by z-buffer, whatever the images show.
    """

    images: Tensor
    pixel: Tensor
    visible: Tensor

    def rgb(self) -> Tensor:
        """(B * V, 3, H, W) uint8, as teachers take them."""
        return self.images.flatten(0, 1)[:, None].repeat(1, 3, 1, 1)


def view_axes(direction: str, *, upright: bool) -> Tensor:
    """(3, 3) float32, a rotation whose rows are right, down and forward in the image.

    Args:
        direction: that one looks along, such as "x" or "-z".
        upright: z up in the images of the four sides; else, looking along axis k, axis k + 1 points
            right and k + 2 down (cyclically): the images of I2P-MAE's released code, transposed.

    Raises:
        ValueError: an unknown direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is {direction!r}, expected one of {', '.join(DIRECTIONS)}")
    axis, sign = _SIDES[direction[-1]], -1.0 if direction.startswith("-") else 1.0
    axes = _eye(3)
    forward = sign * axes[axis]
    if upright:
        down = -axes[1 if axis == 2 else 2]
        return torch.stack((torch.linalg.cross(down, forward), down, forward))
    return torch.stack((sign * axes[(axis + 1) % 3], axes[(axis + 2) % 3], forward))


def _eye(size: int) -> Tensor:
    """Whatever the default dtype and device."""
    return torch.eye(size, dtype=torch.float32, device="cpu")


@torch.no_grad()
def axis_views(
    points: Tensor,
    size: int,
    *,
    directions: Sequence[str] = ("x", "y", "-z"),
    upright: bool = True,
    depth: str = "z_buffer",
    radius_pixels: int = 2,
    margin: float = 0.0,
    tolerance: float = 0.05,
) -> AxisViews:
    """Orthographic views of shapes, each filling its image.

    Every point is drawn as a square. ``z_buffer`` shows the nearest point: white the nearest of the
    shape, darker with distance, black nothing. ``summed`` is what I2P-MAE's released code does: the
    points' coordinates along the view are added up at each pixel and go through a sigmoid, so that
    nothing is grey and the brightness of a surface grows with the number of points on it.

    Args:
        points: (B, N, 3) floating, finite, N >= 1.
        size: H and W of the images.
        directions: that the views look along.
        upright: see ``view_axes``.
        depth: z_buffer or summed.
        radius_pixels: of the squares; 2 is the paper's 5 x 5.
        margin: share of the image that stays empty at each side; networks see things of their own
            at an image's edge.
        tolerance: how far behind what is drawn at its pixel a point may lie and still count as
            visible, in the units of the points.

    Raises:
        ValueError: another shape or dtype, no views, an image too small for the squares.
    """
    if points.dim() != 3 or points.shape[2] != 3 or not points.is_floating_point():
        raise ValueError(
            f"points are {points.dtype} {tuple(points.shape)}, expected floating (B, N, 3)"
        )
    if points.shape[1] == 0 or not bool(points.isfinite().all()):
        raise ValueError("views need shapes with points, all of them finite; drop the others first")
    if len(directions) == 0 or depth not in DEPTHS:
        raise ValueError(
            f"directions are {list(directions)} and depth is {depth!r}, expected at least one "
            f"direction and one of {', '.join(DEPTHS)}"
        )
    if size < 2 * radius_pixels + 2:
        raise ValueError(
            f"images of {size} pixels do not hold squares of {2 * radius_pixels + 1}; raise size"
        )
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin is {margin}, expected a share below 0.5")
    axes = torch.stack([view_axes(each, upright=upright) for each in directions])
    seen = torch.einsum("bnk,vak->bvna", points.float(), axes.to(points.device))  # right, down, z
    pixel = _pixels(seen[..., :2], size, radius_pixels, margin)
    z = seen[..., 2]
    nearest = _draw_nearest(pixel, z, size, radius_pixels)
    column, row = _rounded(pixel).unbind(3)
    drawn = nearest.flatten(2).gather(2, row * size + column)
    distance = z - z.amin(2, keepdim=True) + _NEAREST
    visible = distance <= drawn + tolerance
    if depth == "summed":
        grey = torch.sigmoid(_draw_sum(pixel, z, size, radius_pixels))
    else:
        largest = (points.amax(1) - points.amin(1)).amax(1).float().clamp(min=1e-12)
        shade = 1 - (1 - _DARKEST) * (nearest - _NEAREST) / largest[:, None, None, None]
        grey = torch.where(nearest > 0, shade.clamp(_DARKEST, 1), 0)
    return AxisViews((255 * grey).round().to(torch.uint8), pixel, visible)


def _pixels(plane: Tensor, size: int, radius: int, margin: float) -> Tensor:
    """(..., N, 2) pixels of positions in the image plane: the larger extent, with its squares,
    fills the image but for the margin, the smaller one is centred."""
    low, high = plane.amin(-2, keepdim=True), plane.amax(-2, keepdim=True)
    extent = (high - low).amax(-1, keepdim=True).clamp(min=1e-12)
    filled = max((size - 1) * (1 - 2 * margin) - 2 * radius, 1)
    pixel = (plane - (low + high) / 2) * (filled / extent) + (size - 1) / 2
    return pixel.clamp(radius, size - 1 - radius)  # but for rounding it is


def _rounded(pixel: Tensor) -> Tensor:
    return (pixel + 0.5).floor().long()


def _draw_nearest(pixel: Tensor, z: Tensor, size: int, radius: int) -> Tensor:
    """(B, V, H, W) distance of the nearest point's square, ``_NEAREST`` and up; 0 is nothing."""
    distance = (z - z.amin(2, keepdim=True) + _NEAREST).flatten(0, 1)
    cells = _rounded(pixel).flatten(0, 1)
    tiles = max(1, _MOST_ROWS // size)
    parts = zip(cells.split(tiles), distance.split(tiles))
    images = [_draw_as_one(*part, size, radius) for part in parts]
    return torch.cat(images).view(*z.shape[:2], size, size)


def _draw_as_one(cells: Tensor, distance: Tensor, size: int, radius: int) -> Tensor:
    """(T * H, W) distance of the nearest point's square: T images, one below the other, for squares
    do not reach beyond their image. Cells are (T, N, 2) int64, distances (T, N)."""
    tiles = len(cells)
    column, row = cells.unbind(2)
    row = row + size * torch.arange(tiles, device=row.device)[:, None]
    flat = distance.flatten()
    # a pinhole camera divides by z: whole pixels multiplied by it come back
    spread = torch.stack((column.flatten() * flat, row.flatten() * flat, flat), dim=1)
    eye = _eye(4)[None]
    return render_depth(spread, eye[:, :3, :3], eye, (tiles * size, size), radius)[0]


def _draw_sum(pixel: Tensor, z: Tensor, size: int, radius: int) -> Tensor:
    """(B, V, H, W) sum of the coordinates along the view of all squares that cover a pixel."""
    column, row = _rounded(pixel).flatten(0, 1).unbind(2)
    tile = torch.arange(len(row), device=row.device)[:, None]
    total = z.new_zeros(len(row) * size * size)
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            place = (tile * size + row + down) * size + column + right
            total.index_add_(0, place.flatten(), z.flatten())
    return total.view(*z.shape[:2], size, size)
