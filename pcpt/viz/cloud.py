"""Pictures of point clouds: z-buffered splats, shaded so that depth can be seen, from a good place."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.picture import BACKGROUND, color_bytes

NEAREST = 0.05  # metres; points nearer to the camera are not drawn
_NOTHING = torch.iinfo(torch.int64).max


def overview_camera(
    points: Tensor,
    seen_from: Camera,
    *,
    height: int = 540,
    width: int = 720,
    up: Tensor | None = None,
    azimuth: float = 22.0,
    elevation: float = 16.0,
) -> Camera:
    """A viewpoint behind, above and beside the camera that recorded a cloud, framing all of it.

    Swinging to the side shows that the picture is of a cloud and not a photograph; staying on the
    recording camera's side keeps its surfaces in sight.

    Args:
        points: (N, 3) float, metres, world frame.
        seen_from: the recording camera; only its pose is used.
        height: of the picture, pixels.
        width: of the picture, pixels.
        up: (3,) against gravity, world frame. None: up in the recording camera's image.
        azimuth: degrees to swing around the cloud, positive to the right.
        elevation: degrees to rise above the recording camera.

    Returns:
        A camera of ``height`` x ``width``; its principal point is where the framing puts it.

    Raises:
        ValueError: if there are no points.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.shape[0] == 0:
        raise ValueError(f"points are {tuple(points.shape)}, expected (N, 3) with N > 0")
    points = points.detach().cpu().double()
    pose = seen_from.camera_to_world
    up = -pose[:3, 1] if up is None else up.detach().cpu().double()
    up = up / up.norm()
    target = points.median(dim=0).values
    back = pose[:3, 3] - target
    distance = max(float(back.norm()), 0.1)
    rise = math.asin(max(-1.0, min(1.0, float(back @ up) / distance))) + math.radians(elevation)
    rise = min(rise, math.radians(75.0))  # looking straight down has no upright picture
    level = back - (back @ up) * up
    if float(level.norm()) < 1e-6 * distance:
        level = -pose[:3, 2] - (-pose[:3, 2] @ up) * up
    level = level / level.norm()
    side = torch.linalg.cross(up, level)  # right, for who looks along -level
    swing = math.radians(azimuth)
    around = math.cos(swing) * level + math.sin(swing) * side
    eye = target + 1.25 * distance * (math.cos(rise) * around + math.sin(rise) * up)
    return _framed(points, look_at(eye, target, up), height, width)


def look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """(4, 4) float64 camera_to_world of a camera at ``eye`` that has ``target`` in its centre.

    Args:
        eye: (3,) metres, world frame.
        target: (3,) metres, world frame.
        up: (3,) world direction that points up in the picture.

    Raises:
        ValueError: if the line of sight is parallel to ``up`` or has no length.
    """
    forward = (target - eye).double()
    right = torch.linalg.cross(forward, up.double())
    if float(right.norm()) < 1e-9:
        raise ValueError("look_at: the target must not lie at the eye or straight above or below it")
    forward, right = forward / forward.norm(), right / right.norm()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, torch.linalg.cross(forward, right), forward
    pose[:3, 3] = eye
    return pose


def splat(
    points: Tensor, camera: Camera, point_size: float, *, max_pixels: int = 16
) -> tuple[Tensor, Tensor]:
    """Which point is seen in every pixel, each point being a disc that faces the camera.

    Args:
        points: (N, 3) float, metres, world frame.
        camera: where to look from.
        point_size: diameter of the discs, metres; each covers at least one pixel.
        max_pixels: largest radius of a disc in the picture, pixels.

    Returns:
        point_index: (H, W) int64, the nearest point, on ties the first; -1 where there is none.
        depth: (H, W) float32, metres along the optical axis; 0 where there is none.
    """
    points = points.detach().cpu().double()
    height, width = camera.height, camera.width
    uv, z = camera.project(points)
    focal = float(camera.intrinsics[:2, :2].diagonal().abs().max())
    drawn = (z > NEAREST) & torch.isfinite(uv).all(1)
    radius = (0.5 * point_size * focal / z).clamp(0.0, max_pixels)
    center = torch.where(drawn[:, None], uv, -1e6).clamp(-1e6, 1e6).round().long()
    # One integer orders by depth, then by row: the bits of positive floats sort like the floats.
    key = z.float().view(torch.int32).long() << 32 | torch.arange(len(z))
    order = torch.argsort(radius, descending=True, stable=True)  # each offset concerns a prefix
    order = order[drawn[order]]
    center, key, radius = center[order], key[order], radius[order]
    buffer = torch.full((height * width,), _NOTHING)
    reach = int(radius[0]) if len(radius) else 0
    for dv in range(-reach, reach + 1):
        for du in range(-reach, reach + 1):
            covers = len(radius) if du == dv == 0 else int((radius >= math.hypot(du, dv)).sum())
            u, v = center[:covers, 0] + du, center[:covers, 1] + dv
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
            pixel = (v * width + u)[inside]
            buffer.scatter_reduce_(0, pixel, key[:covers][inside], "amin")
    empty = buffer == _NOTHING
    point_index = torch.where(empty, -1, buffer & 0xFFFFFFFF).view(height, width)
    depth = torch.where(empty, 0, buffer >> 32).to(torch.int32).view(torch.float32)
    return point_index, depth.view(height, width)


def render_cloud(
    points: Tensor,
    colors: Tensor,
    camera: Camera,
    *,
    point_size: float | None = None,
    background: tuple[int, int, int] = BACKGROUND,
    shading: float = 0.5,
    supersample: int = 2,
) -> Tensor:
    """A picture of a coloured cloud.

    Args:
        points: (N, 3) float, metres, world frame.
        colors: (N, 3) uint8, or float in [0, 1].
        camera: where to look from, and the size of the picture.
        point_size: metres; None takes what closes the surfaces of this cloud.
        background: RGB, 0-255.
        shading: strength of the eye-dome lighting that darkens what lies behind an edge (Boucheny
            2009); 0 keeps the colours as they are.
        supersample: pixels computed for one of the picture, in each direction.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if points and colours disagree.
    """
    colors = color_bytes(colors).cpu()
    if len(colors) != len(points):
        raise ValueError(f"{len(colors)} colors for {len(points)} points, expected as many")
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    size = spacing(points) if point_size is None else point_size
    point_index, depth = splat(points, fine, size, max_pixels=8 * supersample)
    hit = point_index >= 0
    light = _eye_dome(depth, hit, supersample) ** shading
    picture = torch.tensor(background, dtype=torch.float32).repeat(*hit.shape, 1)
    picture[hit] = colors[point_index[hit]].float() * light[hit][:, None]
    averaged = F.avg_pool2d(picture.permute(2, 0, 1)[None], supersample)[0]
    return averaged.round().clamp(0, 255).to(torch.uint8)


def spacing(points: Tensor) -> float:
    """A disc diameter that closes the surfaces of a cloud, metres: from its nearest neighbours."""
    points = points.detach().cpu().float()
    if len(points) < 2:
        return 0.02
    step = max(1, len(points) // 256)
    distance = torch.cdist(points[::step], points, compute_mode="donot_use_mm_for_euclid_dist")
    distance[distance == 0] = torch.inf  # the point itself, and duplicates
    nearest = distance.amin(1)
    nearest = nearest[torch.isfinite(nearest)]
    return 1.6 * float(nearest.quantile(0.8)) if len(nearest) else 0.02


def _eye_dome(depth: Tensor, hit: Tensor, reach: int) -> Tensor:
    """(H, W) light in (0, 1]: less where neighbours in the picture lie nearer to the camera."""
    log_depth = torch.where(hit, depth.clamp(min=NEAREST), torch.inf).log()
    padded = F.pad(log_depth[None, None], (2 * reach,) * 4, value=torch.inf)[0, 0]
    height, width = depth.shape
    occlusion = torch.zeros_like(depth)
    offsets = [(dv, du) for dv in (-1, 0, 1) for du in (-1, 0, 1) if dv or du]
    for ring in (reach, 2 * reach):
        for dv, du in offsets:
            top, left = 2 * reach + dv * ring, 2 * reach + du * ring
            ahead = log_depth - padded[top : top + height, left : left + width]
            # steps below 1% of the distance are noise of the sensor, not edges
            occlusion += torch.where(hit, ahead - 0.01, 0.0).clamp(0.0, 0.25)
    return torch.exp(-12.0 * occlusion / (2 * len(offsets)))


def _framed(points: Tensor, pose: Tensor, height: int, width: int) -> Camera:
    """The camera at ``pose`` whose lens fits the middle 97% of the points into the picture."""
    in_camera = (points - pose[:3, 3]) @ pose[:3, :3]
    in_camera = in_camera[in_camera[:, 2] > NEAREST]
    slopes = in_camera[:, :2] / in_camera[:, 2:]
    low, high = slopes.sort(dim=0).values[[int(q * (len(slopes) - 1)) for q in (0.015, 0.985)]]
    extent = (high - low).clamp(min=1e-3)
    size = torch.tensor([width, height], dtype=torch.float64)
    focal = float((0.94 * size / extent).min())
    center = (size - 1) / 2 - focal * (low + high) / 2
    intrinsics = torch.diag(torch.tensor([focal, focal, 1.0], dtype=torch.float64))
    intrinsics[:2, 2] = center
    return Camera(intrinsics, height, width, pose)
