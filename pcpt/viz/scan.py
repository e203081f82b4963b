"""Pictures of a scan: its frames beside their depth, and the way the camera took."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from pcpt.data.frame import Frame
from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import look_at, overview_camera, render_cloud
from pcpt.viz.marks import dot, lines
from pcpt.viz.picture import (
    BACKGROUND,
    from_array,
    grid,
    resize,
    side_by_side,
    stacked,
    text_bar,
    to_array,
)

TILE = 150  # pixels of height of a frame in the contact sheet
AXES = 24  # viewing directions drawn along a path
BRIGHTEST = 0.98  # quantile of depth that has the last colour


def contact_sheet(frames: Sequence[Frame], *, columns: int = 4) -> Tensor:
    """Frames in a grid, each beside its depth and under its name; (3, H, W) uint8.

    Depth has the same colours in all frames, near ones bright; black is not measured.

    Raises:
        ValueError: no frames.
    """
    if not frames:
        raise ValueError("contact_sheet got no frames, expected at least one")
    far = _far([frame.depth for frame in frames])
    tiles = []
    for frame in frames:
        sizes = [round(TILE * c.width / c.height) for c in (frame.color_camera, frame.depth_camera)]
        pair = [
            resize(frame.image, TILE, sizes[0]),
            resize(depth_picture(frame.depth, far), TILE, sizes[1]),
        ]
        tiles.append(side_by_side(pair, gap=2))
    names = [frame.name for frame in frames]
    sheet = grid(tiles, names, columns=min(columns, len(tiles)), gap=10)
    legend = text_bar(f"depth: bright is near, dark is {far:.1f} m", sheet.shape[2], 24)
    return stacked([sheet, legend], gap=4)


def depth_picture(depth: Tensor, far: float) -> Tensor:
    """(H, W) metres as (3, H, W) uint8: bright is near, ``far`` is dark, black is not measured."""
    share = (1 - depth / max(far, 1e-6)).clamp(0, 1)
    grey = (share * 225 + 30).round().to(torch.uint8).numpy()
    colors = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)[:, :, ::-1].copy()
    colors[depth.numpy() <= 0] = 0
    return from_array(colors)


def _far(depths: Sequence[Tensor]) -> float:
    values = torch.cat([depth[::8, ::8].flatten() for depth in depths])
    values = values[values > 0].sort().values
    return float(values[int(BRIGHTEST * (len(values) - 1))]) if len(values) else 1.0


def camera_path(
    points: Tensor,
    colors: Tensor,
    poses: Tensor,
    up: Tensor,
    *,
    height: int = 560,
) -> Tensor:
    """The path of the camera over the cloud, from above and from the side; (3, H, W) uint8.

    The line goes from blue (first frame) to red (last), with short rays along the viewing
    direction. From above, what lies higher than the camera's path is taken away: ceilings.

    Args:
        points: (N, 3) float, metres, world frame.
        colors: (N, 3) uint8.
        poses: (F, 4, 4) camera_to_world of the frames, in recording order.
        up: (3,) against gravity, world frame.
        height: of the picture, pixels.

    Raises:
        ValueError: no points or no poses.
    """
    if len(points) == 0 or len(poses) == 0:
        raise ValueError(f"camera_path got {len(points)} points and {len(poses)} poses")
    up = up.double() / up.double().norm()
    eyes = poses[:, :3, 3].double()
    shown = _open_room(points, poses, up)
    below, tints = points[shown], colors[shown]
    _, along = level_axes(torch.cat((below[:: max(1, len(below) // 50_000)], eyes)), up)
    views = []
    for title, cloud, tint, direction, top in (
        ("from above", below, tints, up, along),
        ("from the side", points, colors, -along, up),
    ):
        camera = far_camera(torch.cat((cloud.double(), eyes)), direction, top, height)
        array = to_array(render_cloud(cloud, _dimmed(tint), camera))
        _draw_path(array, camera, poses.double())
        views.append((title, from_array(array)))
    return side_by_side([view for _, view in views], [title for title, _ in views], height=height)


def level_axes(points: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal directions along and across which the points spread the most and the least."""
    level = points.double() - (points.double() @ up)[:, None] * up
    level = level - level.mean(0)
    _, vectors = torch.linalg.eigh(level.T @ level)
    across = vectors[:, 2] - (vectors[:, 2] @ up) * up
    across = across / across.norm()
    return across, torch.linalg.cross(up, across)


def far_camera(points: Tensor, direction: Tensor, top: Tensor, height: int) -> Camera:
    """A camera so far away along ``direction`` that perspective hardly shows, framing all points
    but strays."""
    ordered = points.sort(dim=0).values
    low, high = (ordered[int(share * (len(points) - 1))] for share in (0.003, 0.997))
    center, extent = (low + high) / 2, max(float((high - low).norm()), 0.1)
    eye = center + direction * 12 * extent
    pose = look_at(eye, center, top)
    seen_from = Camera(torch.eye(3, dtype=torch.float64), height, round(1.25 * height), pose)
    in_camera = (points - eye) @ pose[:3, :3]
    slopes = (in_camera[:, :2] / in_camera[:, 2:]).sort(dim=0).values
    first, last = (slopes[int(share * (len(points) - 1))] for share in (0.002, 0.998))
    size = torch.tensor([seen_from.width, height], dtype=torch.float64)
    focal = float((0.9 * size / (last - first).clamp(min=1e-4)).min())
    intrinsics = torch.diag(torch.tensor([focal, focal, 1.0], dtype=torch.float64))
    intrinsics[:2, 2] = (size - 1) / 2 - focal * (first + last) / 2
    return Camera(intrinsics, height, seen_from.width, pose)


def _dimmed(colors: Tensor) -> Tensor:
    """Towards the background, so that what is drawn on top stands out."""
    ground = torch.tensor(BACKGROUND, dtype=torch.float32)
    return (0.6 * colors.float() + 0.4 * ground).round().to(torch.uint8)


def _draw_path(array: np.ndarray, camera: Camera, poses: Tensor) -> None:
    eyes = poses[:, :3, 3]
    share = torch.linspace(0, 1, len(eyes))
    tints = _along(share)
    uv, _ = camera.project(eyes)
    if len(eyes) > 1:
        lines(array, uv[:-1], uv[1:], tints[:-1], 0.95)
    chosen = torch.linspace(0, len(eyes) - 1, min(AXES, len(eyes))).round().long()
    reach = float((eyes.amax(0) - eyes.amin(0)).norm()) * 0.07 + 0.15
    ends, _ = camera.project(eyes[chosen] + reach * poses[chosen, :3, 2])
    lines(array, uv[chosen], ends, tints[chosen], 0.9)
    for row in (0, len(eyes) - 1):
        red, green, blue = tints[row].tolist()
        dot(array, uv[row], 5.0, (red, green, blue))


def _along(share: Tensor) -> Tensor:
    """(N, 3) uint8 from blue over yellow to red, for shares of the way."""
    stops = torch.tensor([[70.0, 140, 255], [255, 220, 70], [255, 70, 60]])
    place = share.clamp(0, 1)[:, None] * 2
    first = torch.where(place < 1, stops[0], stops[1])
    second = torch.where(place < 1, stops[1], stops[2])
    part = place - (place >= 1).float()
    return (first + (second - first) * part).round().to(torch.uint8)


def cloud_overview(points: Tensor, colors: Tensor, poses: Tensor, up: Tensor) -> Tensor:
    """The fused cloud as a doll's house: from outside, above and behind the cameras, without
    what lies above them; (3, H, W) uint8. Arguments as for ``camera_path``."""
    up = up.double() / up.double().norm()
    shown = _open_room(points, poses, up)
    looks = poses[:, :3, 2].double().mean(0)
    camera = overlook(points[shown], up, toward=looks, height=640, width=960)
    return render_cloud(points[shown], colors[shown], camera)


def overlook(points: Tensor, up: Tensor, *, toward: Tensor, height: int, width: int) -> Camera:
    """A camera outside a cloud, above it, that frames all of it but strays.

    Args:
        points: (N, 3) float, metres, world frame.
        up: (3,) unit vector against gravity.
        toward: (3,) direction in which it looks, but for its slant.
        height, width: of the picture, pixels.
    """
    points = points.double()
    ordered = points.sort(dim=0).values
    low, high = (ordered[int(share * (len(points) - 1))] for share in (0.003, 0.997))
    center, reach = (low + high) / 2, max(float((high - low).norm()), 0.1)
    level = toward.double() - (toward.double() @ up) * up
    if float(level.norm()) < 1e-3:
        level, _ = level_axes(points[:: max(1, len(points) // 50_000)], up)
    level = level / level.norm()
    right = torch.linalg.cross(level, up)
    eye = center + reach * (0.95 * up - 0.95 * level + 0.3 * right)
    seen_from = Camera(torch.eye(3, dtype=torch.float64), height, width, look_at(eye, center, up))
    return overview_camera(
        points, seen_from, height=height, width=width, up=up, azimuth=0, elevation=0
    )


def _open_room(points: Tensor, poses: Tensor, up: Tensor) -> Tensor:
    """(N,) bool: all but what lies above the cameras, which hides a room from above."""
    level = float((poses[:, :3, 3].double() @ up).max()) + 0.15
    shown = points.double() @ up < level
    return shown if int(shown.sum()) > 0.2 * len(points) else torch.ones_like(shown)
