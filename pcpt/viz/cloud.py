"""Pictures of point clouds: z-buffered splats, shaded to show depth, seen from a good place."""

import math
from collections.abc import Sequence

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
    width: int | None = None,
    up: Tensor | None = None,
    azimuth: float | None = None,
    elevation: float = 16.0,
) -> Camera:
    """A viewpoint behind, above and beside the camera that recorded a cloud, framing all of it.

    Swinging to the side shows that the picture is of a cloud and not a photograph; staying on the
    recording camera's side keeps its surfaces in sight.

    Args:
        points: (N, 3) float, metres, world frame.
        seen_from: the recording camera; only its pose is used.
        height: of the picture, pixels.
        width: of the picture, pixels. None: in the proportion of the recording camera.
        up: (3,) against gravity, world frame. None: up in the recording camera's image.
        azimuth: degrees to swing around the cloud, positive to the right. None: 22 to the side
            from which the cloud fills more of the picture.
        elevation: degrees to rise above the recording camera.

    Returns:
        A camera of ``height`` x ``width``; its principal point is where the framing puts it.

    Raises:
        ValueError: if there are no points.
    """
    if points.ndim != 2 or points.shape[1] != 3 or points.shape[0] == 0:
        raise ValueError(f"points are {tuple(points.shape)}, expected (N, 3) with N > 0")
    points = points.detach().cpu().double()
    width = width or round(height * seen_from.width / seen_from.height)
    pose = seen_from.camera_to_world
    up = -pose[:3, 1] if up is None else up.detach().cpu().double()
    up = up / up.norm()
    views = []
    for degrees in (22.0, -22.0) if azimuth is None else (azimuth,):
        placed = _orbit(points.median(dim=0).values, pose, up, degrees, elevation)
        views.append(_framed(points, placed, height, width))
    return max(views, key=lambda view: _filled_pixels(points, view)) if len(views) > 1 else views[0]


def _orbit(target: Tensor, pose: Tensor, up: Tensor, azimuth: float, elevation: float) -> Tensor:
    """(4, 4) pose that looks at the target from beside and above the place of ``pose``."""
    back = pose[:3, 3] - target
    distance = max(float(back.norm()), 0.1)
    rise = math.asin(max(-1.0, min(1.0, float(back @ up) / distance))) + math.radians(elevation)
    rise = min(rise, math.radians(75.0))  # looking straight down has no upright picture
    level = back - (back @ up) * up
    if float(level.norm()) < 1e-6 * distance:  # recorded from straight above or below
        level = max((a - (a @ up) * up for a in (pose[:3, 1], -pose[:3, 2])), key=torch.norm)
    level = level / level.norm()
    right = torch.linalg.cross(up, level)  # for who looks along -level
    swing = math.radians(azimuth)
    around = math.cos(swing) * level + math.sin(swing) * right
    eye = target + 1.25 * distance * (math.cos(rise) * around + math.sin(rise) * up)
    return look_at(eye, target, up)


def _filled_pixels(points: Tensor, camera: Camera) -> int:
    """In a small picture, where points are dense enough to close their surfaces."""
    uv, z = camera.resized(90, 120).project(points)
    pixel = uv[z > NEAREST].clamp(-1.0, 120.0).round().long()
    return len(torch.unique(pixel[:, 1] * 1000 + pixel[:, 0]))


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
        raise ValueError(
            "look_at: the target must not lie at the eye or straight above or below it"
        )
    forward, right = forward / forward.norm(), right / right.norm()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, torch.linalg.cross(forward, right), forward
    pose[:3, 3] = eye
    return pose


def splat(
    points: Tensor, camera: Camera, point_size: float | Tensor, *, max_radius: int = 16
) -> tuple[Tensor, Tensor]:
    """Which point is seen in every pixel, each point being a disc that faces the camera.

    Of the points that share a centre pixel only the nearest gets its disc.

    Args:
        points: (N, 3) float, metres, world frame.
        camera: where to look from.
        point_size: diameter of the discs, metres, one or (N,); each covers at least one pixel.
        max_radius: of a disc in the picture, pixels.

    Returns:
        point_index: (H, W) int64, the nearest point, on ties the first; -1 where there is none.
        depth: (H, W) float32, metres along the optical axis; 0 where there is none.
    """
    points = points.detach().cpu().double()
    uv, z = camera.project(points)
    drawn = torch.nonzero((z > NEAREST) & torch.isfinite(uv).all(1)).squeeze(1)
    uv, z = uv[drawn], z[drawn]
    size = torch.as_tensor(point_size, dtype=torch.float64).cpu().expand(len(points))[drawn]
    focal = float(camera.intrinsics[:2, :2].diagonal().abs().max())
    radius = (0.5 * size * focal / z).clamp(0.0, max_radius).float()
    # One integer orders by depth, then by row: the bits of positive floats sort like the floats.
    key = z.float().view(torch.int32).long() << 32 | drawn
    margin = int(radius.max()) if len(radius) else 0  # discs reach in from beyond the border
    height, width = camera.height + 2 * margin, camera.width + 2 * margin
    center = uv.clamp(-1e6, 1e6).round().long() + margin
    inside = ((center >= 0) & (center < torch.tensor([width, height]))).all(1)
    pixel = (center[:, 1] * width + center[:, 0])[inside]
    centers = torch.full((height * width,), _NOTHING)
    centers.scatter_reduce_(0, pixel, key[inside], "amin")
    # empty pixels read the last entry, the reach of no point
    by_point = torch.full((len(points) + 1,), -1.0).index_copy(0, drawn, radius)
    reach = by_point[(centers & 0xFFFFFFFF).clamp(max=len(points))]
    nearest = _dilated(centers.view(height, width), reach.view(height, width), margin)
    empty = nearest == _NOTHING
    point_index = torch.where(empty, -1, nearest & 0xFFFFFFFF)
    depth = torch.where(empty, 0, nearest >> 32).to(torch.int32).view(torch.float32)
    return point_index, depth


def _dilated(keys: Tensor, reach: Tensor, margin: int) -> Tensor:
    """The least of the keys whose disc of radius ``reach`` covers a pixel, without the margin."""
    height, width = keys.shape[0] - 2 * margin, keys.shape[1] - 2 * margin
    nearest = torch.full((height, width), _NOTHING)
    covers, nothing = torch.empty_like(nearest), torch.tensor(_NOTHING)
    for dv in range(-margin, margin + 1):
        for du in range(-margin, margin + 1):
            if math.hypot(du, dv) > margin:
                continue
            top, left = margin + dv, margin + du
            window = slice(top, top + height), slice(left, left + width)
            torch.where(reach[window] >= math.hypot(du, dv), keys[window], nothing, out=covers)
            torch.minimum(nearest, covers, out=nearest)
    return nearest


def render_cloud(
    points: Tensor,
    colors: Tensor,
    camera: Camera,
    *,
    point_size: float | Tensor | None = None,
    background: tuple[int, int, int] = BACKGROUND,
    shading: float = 0.5,
    supersample: int = 2,
) -> Tensor:
    """A picture of a coloured cloud.

    Args:
        points: (N, 3) float, metres, world frame.
        colors: (N, 3) uint8, or float in [0, 1].
        camera: where to look from, and the size of the picture.
        point_size: metres, one or (N,); None takes what closes the surfaces of this cloud.
        background: RGB, 0-255.
        shading: strength of the eye-dome lighting that darkens what lies behind an edge (Boucheny
            2009); 0 keeps the colours as they are.
        supersample: pixels computed for one of the picture, in each direction.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if points and colours disagree.
    """
    (picture,) = render_colorings(
        points,
        [colors],
        camera,
        point_size=point_size,
        background=background,
        shading=shading,
        supersample=supersample,
    )
    return picture


def render_colorings(
    points: Tensor,
    colorings: Sequence[Tensor],
    camera: Camera,
    *,
    point_size: float | Tensor | None = None,
    background: tuple[int, int, int] = BACKGROUND,
    shading: float = 0.5,
    supersample: int = 2,
) -> list[Tensor]:
    """Pictures of a cloud in several sets of colours, from one look at it; see ``render_cloud``."""
    colorings = [color_bytes(colors).cpu() for colors in colorings]
    for colors in colorings:
        if len(colors) != len(points):
            raise ValueError(f"{len(colors)} colors for {len(points)} points, expected as many")
    fine = camera.resized(camera.height * supersample, camera.width * supersample)
    size = disc_sizes(points) if point_size is None else point_size
    point_index, depth = splat(points, fine, size, max_radius=6 * supersample)
    hit = point_index >= 0
    light = _eye_dome(depth, hit, supersample) ** shading
    ground = torch.tensor(background, dtype=torch.float32)
    pictures = []
    for colors in colorings:
        picture = ground.repeat(*hit.shape, 1)
        picture[hit] = colors[point_index[hit]].float() * light[hit][:, None]
        averaged = F.avg_pool2d(picture.permute(2, 0, 1)[None], supersample)[0]
        pictures.append(averaged.round().clamp(0, 255).to(torch.uint8))
    return pictures


def disc_sizes(points: Tensor) -> Tensor:
    """(N,) float64 disc diameters that close the surfaces of a cloud, metres: large where points
    are sparse, judged by how many share a cell with each."""
    points = points.detach().cpu().double()
    if len(points) == 0:
        return points.new_zeros(0)
    low, high = _quantiles(points, 0.02, 0.98)
    # small enough for detail, large enough to hold several points of a surface
    share = max(1 / 60, math.sqrt(8 / len(points)))
    cell = max(share * float((high - low).norm()), 1e-6)
    count = torch.zeros(len(points), dtype=torch.int64)
    # a cell that a surface only grazes holds too few points; in a second grid they lie amid theirs
    for shift in (0.0, 0.5):
        cells = torch.floor((points - points.amin(0)) / cell + shift).long()
        key = (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]
        _, index, in_cell = torch.unique(key, return_inverse=True, return_counts=True)
        count = torch.maximum(count, in_cell[index])
    step = cell / count.double().sqrt()
    return 2.5 * step.clamp(max=float(_quantiles(step, 0.95)[0]))  # stray points stay small


def _quantiles(values: Tensor, *shares: float) -> Tensor:
    """Per column; torch.quantile stops at 16 million elements."""
    return values.sort(dim=0).values[[int(share * (len(values) - 1)) for share in shares]]


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
    """The camera at ``pose`` whose lens fits all but stray points into the picture."""
    in_camera = (points - pose[:3, 3]) @ pose[:3, :3]
    in_camera = in_camera[in_camera[:, 2] > NEAREST]
    slopes = in_camera[:, :2] / in_camera[:, 2:]
    low, high = _quantiles(slopes, 0.004, 0.996)
    extent = (high - low).clamp(min=1e-3)
    size = torch.tensor([width, height], dtype=torch.float64)
    focal = float((0.94 * size / extent).min())
    center = (size - 1) / 2 - focal * (low + high) / 2
    intrinsics = torch.diag(torch.tensor([focal, focal, 1.0], dtype=torch.float64))
    intrinsics[:2, 2] = center
    return Camera(intrinsics, height, width, pose)
