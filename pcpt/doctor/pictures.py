"""What the doctor saw: the fused cloud, colour against depth, and how neighbours agree."""

import torch
from torch import Tensor

from pcpt.doctor.agreement import agreement, frame_pairs
from pcpt.doctor.color import ColorCamera
from pcpt.doctor.observations import Observations
from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import overview_camera, render_cloud
from pcpt.viz.curves import loss_curve
from pcpt.viz.picture import resize, side_by_side

FUSED_FRAMES = 24
EDGE = 0.06  # a step in depth, as a share of it


def fused(observations: Observations) -> tuple[Tensor, Tensor]:
    """Points (N, 3) in the world and their grey as colours (N, 3) uint8, of some frames."""
    step = max(1, len(observations.names) // FUSED_FRAMES)
    clouds, colors = [], []
    for row in range(0, len(observations.names), step):
        points, _ = _unproject(observations, row)
        if len(points) == 0:
            continue
        grey, inside = _grey_at(observations, row, points)
        pose = observations.camera_to_world[row].float()
        clouds.append((points @ pose[:3, :3].T + pose[:3, 3])[inside])
        colors.append(grey[inside])
    color = (torch.cat(colors) * 255).round().clamp(0, 255).to(torch.uint8)
    return torch.cat(clouds), color[:, None].expand(-1, 3).contiguous()


def cloud_picture(observations: Observations, up: Tensor | None) -> Tensor:
    """(3, H, W) uint8: the fused cloud from behind the middle frame's camera."""
    points, colors = fused(observations)
    size = observations.depth_size
    middle = observations.camera_to_world[len(observations.names) // 2]
    seen_from = Camera(observations.color_camera.intrinsics, *size, middle)
    camera = overview_camera(points, seen_from, height=420, width=640, up=up)
    return render_cloud(points, colors, camera)


def overlay_picture(observations: Observations) -> Tensor:
    """(3, H, W) uint8: three images with the edges of their depth drawn where the scan says."""
    count = len(observations.names)
    rows = sorted({0, count // 2, count - 1})
    return side_by_side([resize(_overlay(observations, row), 300, 400) for row in rows])


def agreement_curve(observations: Observations) -> Tensor | None:
    """(3, H, W) uint8: agreement of every frame with the next one; None without neighbours."""
    first, second = frame_pairs(observations, (1,), per_gap=len(observations.names))
    if len(first) < 2:
        return None
    scores = agreement(observations, first, second).tolist()
    records = [
        {"frame": int(observations.place[row]), "agreement": score}
        for row, score in zip(first.tolist(), scores)
    ]
    return loss_curve(records, ("agreement",), step="frame", height=360)


def _unproject(observations: Observations, row: int) -> tuple[Tensor, Tensor]:
    """(N, 3) points in the depth camera, and (N, 2) their rows and columns."""
    depth, k = observations.depth[row], observations.intrinsics[row].float()
    pixel = (depth > 0).nonzero()
    z = depth[pixel[:, 0], pixel[:, 1]]
    x = (pixel[:, 1] - k[0, 2]) / k[0, 0] * z
    y = (pixel[:, 0] - k[1, 2]) / k[1, 1] * z
    return torch.stack((x, y, z), dim=1), pixel


def _pixels(observations: Observations, row: int, points: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2) int64 column and row in the grey image of a frame, and (N,) whether inside."""
    height, width = observations.grey.shape[1:]
    (uv,) = ColorCamera.unchanged().project(observations, torch.tensor([row]), points[None])
    uv = uv.clamp(-1, max(height, width)).round().long()
    size = torch.tensor([width, height])
    return uv, ((uv >= 0) & (uv < size)).all(1)


def _grey_at(observations: Observations, row: int, points: Tensor) -> tuple[Tensor, Tensor]:
    uv, inside = _pixels(observations, row, points)
    uv = torch.where(inside[:, None], uv, 0)
    return observations.grey[row][uv[:, 1], uv[:, 0]], inside


def _overlay(observations: Observations, row: int) -> Tensor:
    depth = observations.depth[row]
    both = (depth[:, 1:] > 0) & (depth[:, :-1] > 0)
    step = (depth[:, 1:] - depth[:, :-1]).abs() > EDGE * torch.minimum(depth[:, 1:], depth[:, :-1])
    edge = torch.zeros_like(depth, dtype=torch.bool)
    edge[:, 1:] = both & step
    points, pixel = _unproject(observations, row)
    points = points[edge[pixel[:, 0], pixel[:, 1]]]
    picture = (observations.grey[row] * 255).round().clamp(0, 255).to(torch.uint8)
    picture = picture.expand(3, -1, -1).contiguous()
    uv, inside = _pixels(observations, row, points)
    uv = uv[inside]
    picture[:, uv[:, 1], uv[:, 0]] = torch.tensor([255, 60, 60], dtype=torch.uint8)[:, None]
    return picture
