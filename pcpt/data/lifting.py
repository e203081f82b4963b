"""A 2D network's own features carried to 3D: the mean over the frames that see a point. What a
student distilled from that network can at best repeat, hence the ceiling of lifting."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.scene import Scene
from pcpt.data.skips import SkipLog
from pcpt.data.transforms import fit_view
from pcpt.geometry.correspondence import match_frames
from pcpt.ops import nearest_neighbors
from pcpt.teachers.base import Teacher, sample_cells


class Lifted(NamedTuple):
    """Features of N rows: points, or the voxels that points belong to.

    Attributes:
        features: (N, C) float32, mean over all (point, frame) pairs of a row.
        num_views: (N,) int64, frames that see the row; 0 where the features were filled in.
    """

    features: Tensor
    num_views: Tensor


def world_points(scene: Scene) -> Tensor:
    """(N, 3) float32, the points of a scene in the frame of its recording's poses."""
    to_world = torch.linalg.inv(scene.world_to_scene)
    return (scene.points.double() @ to_world[:3, :3].T + to_world[:3, 3]).float()


@torch.no_grad()
def lift_features(
    teacher: Teacher,
    scan: Scan,
    points: Tensor,
    row: Tensor | None = None,
    *,
    image_size: tuple[int, int],
    every: int = 1,
    views_at_once: int = 4,
    absolute_tolerance: float = 0.05,
    relative_tolerance: float = 0.0,
    fill: str = "nearest",
    skips: SkipLog | None = None,
) -> Lifted:
    """The mean of a teacher's features over the frames of a scan that see each point.

    A point is seen where the frame's depth agrees, see ``match_points_to_pixels``; its feature is
    interpolated between the teacher's cells. Frames stream through: memory is that of the result
    and of ``views_at_once`` frames.

    Args:
        teacher: on any device, which the work is done on.
        scan: frames with poses in the frame of ``points``.
        points: (N, 3) float32, metres, world frame of the scan.
        row: (N,) int64, the row of the result that each point adds to, such as the
            ``point_to_voxel`` of ``voxelize``, of which every number up to the largest occurs;
            None: a row for every point.
        image_size: (H, W) of the teacher's input; images are resized to it.
        every: take every Nth frame.
        views_at_once: frames that pass through the teacher together.
        absolute_tolerance: metres between a point's depth and the measured one.
        relative_tolerance: added tolerance per metre of depth.
        fill: what rows get that no frame sees: "nearest", the features of the nearest row that is
            seen, or "zero". Without any seen row all are zero.
        skips: takes the broken frames.

    Returns:
        Features and counts on the CPU.

    Raises:
        ValueError: an option out of range, or a scan without one usable frame.
    """
    if fill not in ("nearest", "zero"):
        raise ValueError(f"fill is {fill!r}, expected nearest or zero")
    if min(every, views_at_once) < 1:
        raise ValueError(f"every is {every}, views_at_once {views_at_once}; expected 1 or more")
    device = next(teacher.parameters()).device
    row = torch.arange(len(points)) if row is None else row
    num_rows = int(row.max()) + 1 if len(row) else 0
    sums = torch.zeros(num_rows, teacher.channels, device=device)
    pairs = torch.zeros(num_rows, device=device)
    num_views = torch.zeros(num_rows, dtype=torch.int64, device=device)
    on_device, row_on_device = points.to(device), row.to(device)
    for frames in _chunks(scan, scan.names[::every], views_at_once, image_size, skips):
        images = torch.stack([frame.image for frame in frames]).to(device)
        seen = match_frames(
            on_device,
            frames,
            absolute_tolerance=absolute_tolerance,
            relative_tolerance=relative_tolerance,
        )
        cells = sample_cells(teacher, teacher(images), seen.view_index, seen.pixel)
        rows = row_on_device[seen.point_index]
        sums.index_add_(0, rows, cells)
        pairs.index_add_(0, rows, torch.ones_like(rows, dtype=pairs.dtype))
        once = torch.unique(seen.view_index * max(1, num_rows) + rows)
        num_views += torch.bincount(once % max(1, num_rows), minlength=num_rows)
    features = (sums / pairs.clamp(min=1)[:, None]).cpu()
    if fill == "nearest":
        _fill_nearest(features, num_views.cpu(), points.cpu(), row.cpu())
    return Lifted(features, num_views.cpu())


def _chunks(
    scan: Scan,
    names: Sequence[str],
    size: int,
    image_size: tuple[int, int],
    skips: SkipLog | None,
) -> Iterator[list[Frame]]:
    """Usable frames, up to ``size`` at a time, their images resized with their cameras."""
    chunk: list[Frame] = []
    usable, reason = 0, "it lists none"
    for name in names:
        try:
            frame = scan.load(name)
        except BrokenFrame as error:
            reason = str(error)
            if skips is not None:
                skips.add(scan.name, error)
            continue
        usable += 1
        image, camera = fit_view(frame.image, frame.color_camera, image_size)
        # frames of a chunk share the size of their depth images
        if len(chunk) == size or (chunk and chunk[0].depth.shape != frame.depth.shape):
            yield chunk
            chunk = []
        chunk.append(replace(frame, image=image, color_camera=camera))
    if not usable:
        raise ValueError(
            f"scan {scan.name}: none of {len(names)} frames can be used; the last: {reason}"
        )
    if chunk:
        yield chunk


def _fill_nearest(features: Tensor, num_views: Tensor, points: Tensor, row: Tensor) -> None:
    """Gives rows without a view the features of the nearest row with one, in place."""
    unseen = num_views == 0
    if unseen.all() or not unseen.any():
        return
    # where a row lies: at the mean of its points
    count = torch.bincount(row, minlength=len(features)).clamp(min=1)[:, None]
    middle = torch.zeros(len(features), 3).index_add_(0, row, points) / count
    seen = torch.nonzero(~unseen).squeeze(1)
    nearest = nearest_neighbors(middle[unseen][None], middle[seen][None], 1)
    features[unseen] = features[seen[nearest.index[0, :, 0]]]
