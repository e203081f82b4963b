"""Views of a bare cloud: rings of cameras around a shape, axis-aligned orthographic views, and
which points a depth image of the cloud itself shows. Visibility without images:
``hidden_point_removal`` from ``camera_to_world[:, :3, 3]``."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pcpt.ops import match_points_to_pixels, render_depth


def look_at(
    position: Tensor,
    target: Sequence[float] = (0.0, 0.0, 0.0),
    up: Sequence[float] = (0.0, 0.0, 1.0),
) -> Tensor:
    """Poses of cameras that look from their positions at one target, upright in the image.

    Args:
        position: (V, 3) floating, metres.
        target: metres; no camera may stand there.
        up: direction that points up in the images. A camera that looks along it takes the next
            axis (x after z) in its place; where it is no axis, the one that the camera looks along
            least.

    Returns:
        (V, 4, 4) float64 ``camera_to_world``, OpenCV axes (x right, y down, z forward).

    Raises:
        ValueError: another shape or dtype, a camera at its target, no direction ``up``.
    """
    if position.dim() != 2 or position.shape[1] != 3 or not position.is_floating_point():
        raise ValueError(
            f"position is {position.dtype} {tuple(position.shape)}, expected floating (V, 3)"
        )
    position = position.detach().to("cpu", torch.float64)
    forward = torch.tensor(target, dtype=torch.float64, device="cpu") - position
    distance = forward.norm(dim=1, keepdim=True)
    if bool((~(distance > 0) | distance.isinf()).any()):
        raise ValueError(f"a camera at {position.tolist()} stands at its target {tuple(target)}")
    forward = forward / distance
    upward = torch.tensor(up, dtype=torch.float64, device="cpu")
    if not 0 < float(upward.norm()) < math.inf:
        raise ValueError(f"up is {tuple(up)}, expected a direction such as (0, 0, 1)")
    upward = (upward / upward.norm()).expand_as(forward)
    along = torch.linalg.cross(forward, upward).norm(dim=1, keepdim=True) < 1e-6
    upward = torch.where(along, _beside(forward, upward), upward)
    right = torch.linalg.cross(forward, upward)
    right = right / right.norm(dim=1, keepdim=True)
    pose = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(position), 1, 1)
    pose[:, :3, :3] = torch.stack((right, torch.linalg.cross(forward, right), forward), dim=2)
    pose[:, :3, 3] = position
    return pose


def _beside(forward: Tensor, upward: Tensor) -> Tensor:
    """(V, 3) directions up for cameras that look along their own."""
    if int((upward[:1] != 0).sum()) == 1:
        return upward.roll(1, 1)
    axes = torch.eye(3, dtype=forward.dtype, device=forward.device)
    return axes[forward.abs().argmin(1)]


def camera_ring(
    num_views: int = 12,
    *,
    elevations: Sequence[float] = (30.0, -30.0),
    distance: float = 2.5,
    up: Sequence[float] = (0.0, 0.0, 1.0),
) -> Tensor:
    """Poses of cameras around the origin, at equal steps of azimuth on each elevation.

    PointMCD renders ModelNet40 from 12 views and ShapeNetPart from 2 elevations x 8 azimuths; its
    angles are not known, these are the even ones.

    Args:
        num_views: V, a multiple of the number of elevations.
        elevations: degrees above the plane square to ``up``.
        distance: of the cameras from the origin, metres; shapes have radius 1.
        up: one of the axes, which the azimuth turns about; it starts at the next axis.

    Returns:
        (V, 4, 4) float64 ``camera_to_world``; elevation by elevation, azimuth by azimuth.
    """
    if len(elevations) == 0 or num_views < 1 or num_views % len(elevations) != 0:
        raise ValueError(
            f"num_views is {num_views}, expected a multiple of the {len(elevations)} elevations"
        )
    if not distance > 0:
        raise ValueError(f"distance is {distance}, expected metres above 0")
    if sorted(up) != [0, 0, 1]:
        raise ValueError(f"up is {tuple(up)}, expected one of the axes, such as (0, 0, 1)")
    steps = num_views // len(elevations)
    azimuth = torch.arange(steps, dtype=torch.float64, device="cpu") * (2 * math.pi / steps)
    azimuth = azimuth.repeat(len(elevations))
    elevation = torch.tensor(elevations, dtype=torch.float64, device="cpu").deg2rad()
    elevation = elevation.repeat_interleave(steps)
    around = (azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin())
    # As if up were z, then turned on to the axis that it is.
    position = distance * torch.stack(around, dim=1).roll(list(up).index(1) - 2, 1)
    return look_at(position, up=up)


def fitting_intrinsics(size: tuple[int, int], distance: float, radius: float = 1.0) -> Tensor:
    """(3, 3) float64 intrinsics with which an image of (H, W) just holds a ball around the point
    that the camera looks at, ``distance`` away; the ball must not reach the camera."""
    if not 0 < radius < distance:
        raise ValueError(f"radius is {radius}, expected above 0 and below distance {distance}")
    height, width = size
    focal = min(height, width) / 2 * math.sqrt((distance / radius) ** 2 - 1)
    return torch.tensor(
        [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]],
        dtype=torch.float64,
        device="cpu",
    )


def depth_visibility(
    points: Tensor,
    intrinsics: Tensor,
    camera_to_world: Tensor,
    size: tuple[int, int],
    *,
    radius_pixels: int = 1,
    absolute_tolerance: float = 0.05,
) -> Tensor:
    """(V, N) bool: which points V views show, judged by depth images of the points themselves.

    The cheaper of two visibilities of a cloud: a point is visible where nothing nearer by more
    than the tolerance is drawn over it, as squares of ``2 * radius_pixels + 1`` pixels. Squares
    must close the gaps between points; hidden_point_removal needs no such choice.

    Args:
        points: (N, 3) floating, metres.
        intrinsics: (V, 3, 3), pixels of ``size``; also (3, 3) for all views.
        camera_to_world: (V, 4, 4).
        size: (H, W).
        radius_pixels: of the squares.
        absolute_tolerance: metres along the optical axis; more than a square spans in depth on
            the most oblique surface that should count.
    """
    intrinsics = intrinsics.expand(len(camera_to_world), 3, 3)
    depth = render_depth(points, intrinsics, camera_to_world, size, radius_pixels)
    pairs = match_points_to_pixels(
        points, depth, intrinsics, camera_to_world, absolute_tolerance=absolute_tolerance
    )
    visible = torch.zeros(len(camera_to_world), len(points), dtype=torch.bool, device=points.device)
    visible[pairs.view_index, pairs.point_index] = True
    return visible


def orthographic_views(
    points: Tensor, size: tuple[int, int], *, extent: float = 1.0, radius_pixels: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """The three axis-aligned views of I2P-MAE, with a depth buffer instead of its sums.

    View k looks along axis k; axis k + 1 points right and axis k + 2 down (cyclically). The square
    of ``-extent..extent`` fills the shorter side of the image.

    Args:
        points: (N, 3) floating, within a ball of radius ``extent``.
        size: (H, W) of the images.
        extent: metres from the middle of the image to its nearer edge.
        radius_pixels: of the squares drawn for the points; 2 is the paper's 5 x 5.

    Returns:
        depth: (3, H, W) float32, metres from a plane ``2 * extent`` before the origin, 0 = nothing.
        pixel: (3, N, 2) float32, (u, v) of every point in every view.
        z: (3, N) float32, the points' own depths: a point is hidden where its z exceeds ``depth``
            at its pixel.
    """
    if not 0 < extent < math.inf:
        raise ValueError(f"extent is {extent}, expected metres above 0")
    height, width = size
    scale = min(height, width) / 2 / extent
    intrinsics = torch.tensor(
        [[scale, 0, (width - 1) / 2], [0, scale, (height - 1) / 2], [0, 0, 1.0]],
        dtype=torch.float32,
        device="cpu",
    )[None]
    pose = torch.eye(4, dtype=torch.float32, device="cpu")[None]
    depth, pixel, depths = [], [], []
    for axis in range(3):
        right, down, forward = points.detach().float().roll(-axis - 1, 1).unbind(1)
        z = forward + 2 * extent
        # A pinhole camera divides by z: points multiplied by it come out orthographic.
        spread = torch.stack((right * z, down * z, z), dim=1)
        depth.append(render_depth(spread, intrinsics, pose, size, radius_pixels))
        uv = torch.stack((right * scale + (width - 1) / 2, down * scale + (height - 1) / 2), dim=1)
        pixel.append(uv)
        depths.append(z)
    return torch.cat(depth), torch.stack(pixel), torch.stack(depths)
