"""Pictures of shapes from any cameras: meshes shaded with exact visibility, clouds as depth.

The rasteriser solves each pixel's ray against the triangles whose projection may cover it (edge
functions of homogeneous corners, Olano and Greer, Graphics Hardware 1997), so that neither clipping
nor subdivision is needed and perspective depth is exact.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.ops import render_depth
from pcpt.ops._projection_matrices import projection_matrices

PAIRS = 1 << 20  # of a triangle and a pixel that are looked at at once


class Views(NamedTuple):
    """Pictures of one shape.

    Attributes:
        images: (V, 3, H, W) uint8, RGB.
        depth: (V, H, W) float32, metres along the optical axis, 0 = background.
    """

    images: Tensor
    depth: Tensor


def render_views(
    points: Tensor,
    faces: Tensor | None,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    size: tuple[int, int],
    *,
    orthographic: bool = False,
    radius_pixels: int = 2,
) -> Views:
    """Pictures of a mesh, see ``shade_mesh``, or, without faces, of a cloud: its depth in grey.

    Args:
        points: (N, 3) floating, metres: vertices or a cloud.
        faces: (F, 3) int64, or None.
        intrinsics: (3, 3), or (V, 3, 3); with ``orthographic`` in pixels per metre.
        camera_to_world: (V, 4, 4), such as ``camera_ring`` gives.
        size: (H, W).
        orthographic: parallel rays along the optical axis.
        radius_pixels: of the squares drawn for the points of a cloud.
    """
    if faces is not None:
        return shade_mesh(
            points, faces, intrinsics, camera_to_world, size, orthographic=orthographic
        )
    depth = cloud_depth(
        points, intrinsics, camera_to_world, size, orthographic=orthographic, radius=radius_pixels
    )
    return Views(depth_images(depth), depth)


def shade_mesh(
    vertices: Tensor,
    faces: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    size: tuple[int, int],
    *,
    orthographic: bool = False,
    color: tuple[float, float, float] = (0.75, 0.75, 0.75),
    background: float = 1.0,
    ambient: float = 0.25,
) -> Views:
    """A mesh lit from each camera: flat Lambert shading, the same on both sides of a triangle.

    Both sides, because triangles of collected models face either way. Deterministic: of triangles
    equally far the first in the list shows.

    Args:
        vertices: (N, 3) floating, metres; computed in float64.
        faces: (F, 3) int64.
        intrinsics: (3, 3) pixels, or (V, 3, 3); with ``orthographic`` in pixels per metre.
        camera_to_world: (V, 4, 4).
        size: (H, W).
        orthographic: parallel rays along the optical axis.
        color: of the surface in the light, red, green and blue in 0..1.
        background: grey of pixels without surface, 0..1.
        ambient: share of light that comes from everywhere, 0..1.

    Returns:
        Images and depth, on the device of ``vertices``.

    Raises:
        ValueError: shapes or dtypes that do not fit, a vertex that is not finite, a face of no
            vertex, or a matrix that is not a camera's.
    """
    _check_mesh(vertices, faces)
    matrices = _matrices(intrinsics, camera_to_world).to(vertices.device)
    corners = vertices.detach().double()[faces]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.nn.functional.normalize(normals, dim=1, eps=1e-300)
    tint = torch.tensor(color, dtype=torch.float64, device=vertices.device)
    images, depths = [], []
    for view, pose in enumerate(camera_to_world.to(vertices.device, torch.float64)):
        matrix = matrices[view]
        in_camera = _into_camera(vertices.detach().double(), pose)
        depth, face = _rasterise(in_camera, faces, matrix, size, orthographic)
        shown = face >= 0
        seen = normals[face.clamp(min=0)] if len(faces) else torch.zeros(*size, 3).to(tint)
        light = (seen * _towards_camera(depth, matrix, pose, orthographic)).sum(-1).abs()
        brightness = ambient + (1 - ambient) * light
        image = torch.where(shown[..., None], brightness[..., None] * tint, background)
        images.append((image.clamp(0, 1) * 255).round().to(torch.uint8).permute(2, 0, 1))
        depths.append(torch.where(shown, depth, 0.0).float())
    if not images:
        height, width = size
        empty = vertices.new_zeros(0, height, width, dtype=torch.float32)
        return Views(empty.to(torch.uint8)[:, None].repeat(1, 3, 1, 1), empty)
    return Views(torch.stack(images), torch.stack(depths))


def cloud_depth(
    points: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    size: tuple[int, int],
    *,
    orthographic: bool = False,
    radius: int = 2,
) -> Tensor:
    """(V, H, W) float32 depth of a cloud, each point a square of ``2 * radius + 1`` pixels.

    Args:
        points: (N, 3) floating, metres.
        intrinsics: (3, 3), or (V, 3, 3); with ``orthographic`` in pixels per metre.
        camera_to_world: (V, 4, 4).
        size: (H, W).
        orthographic: parallel rays along the optical axis.
        radius: of the squares, pixels.
    """
    matrices = _matrices(intrinsics, camera_to_world)
    if not orthographic:
        return render_depth(points, matrices, camera_to_world, size, radius)
    depth = []
    identity = torch.eye(4, dtype=torch.float64)[None]
    for view, pose in enumerate(camera_to_world.to(points.device, torch.float64)):
        x, y, z = _into_camera(points.double(), pose).unbind(-1)
        # a pinhole camera divides by z: points multiplied by it come out orthographic
        spread = torch.stack((x * z, y * z, z), dim=1).float()
        depth.append(render_depth(spread, matrices[view : view + 1], identity, size, radius))
    return torch.cat(depth) if depth else points.new_zeros(0, *size, dtype=torch.float32)


def depth_images(depth: Tensor) -> Tensor:
    """Depth in grey: white is the nearest of each view, dark grey the farthest, black nothing.

    Args:
        depth: (V, H, W) float32, 0 = nothing.

    Returns:
        (V, 3, H, W) uint8.
    """
    shown = depth > 0
    flat = depth.flatten(1) if depth.numel() else depth.reshape(len(depth), 1)
    near = torch.where(flat > 0, flat, math.inf).amin(1)[:, None, None]
    far = flat.amax(1)[:, None, None]
    share = (far - depth) / (far - near).clamp(min=1e-6)
    grey = torch.where(shown, 64 + 191 * share.clamp(0, 1), 0.0)
    return grey.round().to(torch.uint8)[:, None].repeat(1, 3, 1, 1)


def _check_mesh(vertices: Tensor, faces: Tensor) -> None:
    if vertices.dim() != 2 or vertices.shape[1] != 3 or not vertices.is_floating_point():
        raise ValueError(
            f"vertices are {vertices.dtype} {tuple(vertices.shape)}, expected floating (N, 3)"
        )
    if faces.dim() != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
        raise ValueError(f"faces are {faces.dtype} {tuple(faces.shape)}, expected int64 (F, 3)")
    if not bool(vertices.isfinite().all()):
        raise ValueError("vertices hold values that are not finite")
    if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
        raise ValueError(
            f"faces hold vertices {int(faces.min())} to {int(faces.max())}, expected 0 to "
            f"{len(vertices) - 1}"
        )


def _matrices(intrinsics: Tensor, camera_to_world: Tensor) -> Tensor:
    """(V, 3, 3) float64 intrinsics, once they and the poses are known to be a camera's."""
    if intrinsics.dim() == 2:
        intrinsics = intrinsics.expand(len(camera_to_world), *intrinsics.shape)
    projection_matrices(intrinsics, camera_to_world)
    return intrinsics.double()


def _into_camera(points: Tensor, pose: Tensor) -> Tensor:
    """(..., 3) world points in the camera's axes."""
    return (points - pose[:3, 3]) @ torch.linalg.inv(pose[:3, :3]).mT


def _towards_camera(depth: Tensor, matrix: Tensor, pose: Tensor, orthographic: bool) -> Tensor:
    """(H, W, 3) unit vectors from the surface at each pixel to the light, in the world."""
    if orthographic:
        return -pose[:3, 2].expand(*depth.shape, 3)
    height, width = depth.shape
    u = torch.arange(width, dtype=torch.float64, device=depth.device)
    v = torch.arange(height, dtype=torch.float64, device=depth.device)
    v, u = torch.meshgrid(v, u, indexing="ij")
    pixel = torch.stack((u, v, torch.ones_like(u)), dim=-1)
    rays = pixel @ torch.linalg.inv(matrix).mT @ pose[:3, :3].mT
    return -torch.nn.functional.normalize(rays, dim=-1)


def _rasterise(
    vertices: Tensor, faces: Tensor, matrix: Tensor, size: tuple[int, int], orthographic: bool
) -> tuple[Tensor, Tensor]:
    """What one camera sees at the centres of its pixels.

    Args:
        vertices: (N, 3) float64, in the camera's axes.
        faces: (F, 3) int64.
        matrix: (3, 3) float64 intrinsics.

    Returns:
        depth: (H, W) float64, inf where nothing is seen.
        face: (H, W) int64, the triangle, -1 where nothing is seen.
    """
    height, width = size
    depth = vertices.new_full((height * width,), math.inf)
    face = torch.full((height * width,), -1, device=vertices.device)
    z = vertices[faces][..., 2]
    if orthographic:
        vertices = torch.cat((vertices[:, :2], torch.ones_like(vertices[:, 2:])), dim=1)
    # each vertex once, so that it lies at the same place in all its triangles, bit by bit
    homogeneous = (vertices @ matrix.mT)[faces]
    first, second, third = homogeneous.unbind(1)
    edges = torch.stack(
        (
            _cross(second, third),
            _cross(third, first),
            _cross(first, second),
        ),
        dim=1,
    )
    volume = (first * edges[:, 0]).sum(1)
    edges = edges * volume.sign()[:, None, None]
    for triangle, pixel in _candidates(homogeneous, z, volume, size):
        u, v = (pixel % width).double(), torch.div(pixel, width, rounding_mode="floor").double()
        functions = edges[triangle]
        weights = functions[..., 0] * u[:, None] + functions[..., 1] * v[:, None]
        weights = weights + functions[..., 2]
        at = (weights * z[triangle]).sum(1) / weights.sum(1)
        inside = (weights >= 0).all(1) & (at > 0) & at.isfinite()
        triangle, pixel, at = triangle[inside], pixel[inside], at[inside]
        nearest = depth.scatter_reduce(0, pixel, at, reduce="amin")
        winner = (at == nearest[pixel]) & (at < depth[pixel])
        pixel, triangle = pixel[winner], triangle[winner]
        lowest = torch.full_like(face, len(faces)).scatter_reduce(0, pixel, triangle, reduce="amin")
        face = torch.where(lowest < len(faces), lowest, face)
        depth = nearest
    return depth.reshape(size), face.reshape(size)


def _cross(first: Tensor, second: Tensor) -> Tensor:
    """The cross product, whose sign alone changes when the two are exchanged: no pixel on an edge
    falls between its two triangles. ``torch.linalg.cross`` fuses a product with the difference."""
    (a, b, c), (x, y, z) = first.unbind(-1), second.unbind(-1)
    return torch.stack((b * z - c * y, c * x - a * z, a * y - b * x), dim=-1)


def _candidates(
    homogeneous: Tensor, z: Tensor, volume: Tensor, size: tuple[int, int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (triangle, pixel) whose pixel lies in the box around the triangle's projection; a
    triangle that reaches behind the camera may project anywhere."""
    height, width = size
    limit = torch.tensor([width - 1.0, height - 1.0], dtype=torch.float64, device=z.device)
    projected = homogeneous[..., :2] / homogeneous[..., 2:].clamp(min=1e-12)
    # a hundredth of a pixel more: rounding must not cut the edge off
    low = (projected.amin(1) - 0.01).ceil().clamp(min=0)
    high = torch.minimum((projected.amax(1) + 0.01).floor(), limit)
    behind = homogeneous[..., 2].amin(1) <= 1e-9
    low[behind], high[behind] = 0.0, limit
    extent = (high - low + 1).clamp(min=0).nan_to_num(0.0)
    count = (extent[:, 0] * extent[:, 1]).long()
    count[(volume == 0) | (z.amax(1) <= 0)] = 0
    used = count.nonzero()[:, 0]
    ends = count[used].cumsum(0)
    start, total = 0, 0
    while start < len(used):
        # at least one triangle a chunk
        stop = max(start + 1, int(torch.searchsorted(ends, total + PAIRS, right=True)))
        part = used[start:stop]
        triangle = part.repeat_interleave(count[part])
        begins = ends[start:stop] - count[part] - total
        place = torch.arange(len(triangle), device=z.device)
        place = place - begins.repeat_interleave(count[part])
        across = extent[triangle, 0].long()
        row = torch.div(place, across, rounding_mode="floor")
        u = low[triangle, 0].long() + place - row * across
        yield triangle, (low[triangle, 1].long() + row) * width + u
        total = int(ends[stop - 1])
        start = stop
