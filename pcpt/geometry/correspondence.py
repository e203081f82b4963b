"""From Frames to coloured points, and from points to the pixels that see them. A Frame's depth and
colour cameras stay distinct: depth gives points and visibility, colour gives pixels and RGB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.ops import Correspondences, match_points_to_pixels, voxelize

if TYPE_CHECKING:  # data stands above geometry, and imports it
    from pcpt.data.frame import Frame


def match_frames(
    points: Tensor,
    frames: Sequence[Frame],
    *,
    absolute_tolerance: float = 0.05,
    relative_tolerance: float = 0.0,
    border: int = 0,
) -> Correspondences:
    """The pixels of some frames' colour images at which points are visible.

    Args:
        points: (N, 3) floating, metres, world frame of the frames.
        frames: V frames whose depth images share one size, and whose colour images share one.
        absolute_tolerance: metres, see ``match_points_to_pixels``.
        relative_tolerance: metres per metre of measured depth.
        border: pixels at the edge of the colour image to leave out.

    Returns:
        Correspondences; ``view_index`` counts along ``frames``, ``pixel`` is in ``Frame.image``.

    Raises:
        ValueError: no frames, or frames of different sizes.
    """
    if len(frames) == 0:
        raise ValueError("match_frames got no frames; pass at least one")
    for role in ("depth_camera", "color_camera"):
        sizes = {frame.name: _size(getattr(frame, role)) for frame in frames}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"frames differ in {role} size {sizes}; resize or match them apart")
    return match_points_to_pixels(
        points,
        torch.stack([frame.depth for frame in frames]).to(points.device),
        torch.stack([frame.depth_camera.intrinsics for frame in frames]),
        torch.stack([frame.depth_camera.camera_to_world for frame in frames]),
        torch.stack([frame.color_camera.intrinsics for frame in frames]),
        torch.stack([frame.color_camera.camera_to_world for frame in frames]),
        _size(frames[0].color_camera),
        absolute_tolerance=absolute_tolerance,
        relative_tolerance=relative_tolerance,
        border=border,
    )


def back_project(frame: Frame, *, max_depth: float | None = None) -> tuple[Tensor, Tensor]:
    """The points of a frame's depth image, with the colours of its colour image.

    A point takes the nearest pixel of the colour camera. Points that fall outside the colour image
    have no colour and are left out: cut off where the two cameras' fields of view differ, none
    where they coincide.

    Args:
        frame: posed RGB-D frame.
        max_depth: metres; measurements beyond are skipped. Off by default, as in the paper.

    Returns:
        points: (N, 3) float32, metres, world frame.
        colors: (N, 3) float32, RGB in [0, 1].
    """
    depth = frame.depth
    if max_depth is not None:
        if not max_depth > 0:
            raise ValueError(f"max_depth is {max_depth}, expected metres above 0, or None")
        depth = torch.where(depth <= max_depth, depth, 0.0)
    points, _ = frame.depth_camera.unproject(depth)
    uv, z = frame.color_camera.project(points)
    height, width = _size(frame.color_camera)
    column, row = (uv + 0.5).floor().unbind(1)
    seen = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    colors = frame.image[:, row[seen].long(), column[seen].long()].T
    return points[seen], colors.float() / 255


def fuse_frames(
    frames: Sequence[Frame], *, voxel_size: float | None = None, max_depth: float | None = None
) -> tuple[Tensor, Tensor]:
    """One coloured cloud of several frames.

    Where frames overlap, surfaces come out several times as dense; with ``voxel_size`` every
    occupied voxel gives one point instead, the mean of its points and of their colours.

    Args:
        frames: posed RGB-D frames of one world frame, of any sizes.
        voxel_size: metres, or None to keep every point.
        max_depth: metres; measurements beyond are skipped.

    Returns:
        points: (N, 3) float32, metres, world frame; frame by frame, or in the order of the voxels.
        colors: (N, 3) float32, RGB in [0, 1].

    Raises:
        ValueError: no frames, ``voxel_size`` or ``max_depth`` not positive.
    """
    if len(frames) == 0:
        raise ValueError("fuse_frames got no frames; pass at least one")
    clouds = [back_project(frame, max_depth=max_depth) for frame in frames]
    points, colors = (torch.cat(parts) for parts in zip(*clouds))
    if voxel_size is None:
        return points, colors
    voxels, point_to_voxel = voxelize(points, voxel_size)
    count = torch.bincount(point_to_voxel, minlength=len(voxels))[:, None]
    values = torch.cat((points, colors), dim=1)
    sums = values.new_zeros(len(voxels), 6).index_add_(0, point_to_voxel, values)
    means = sums / count
    return means[:, :3].contiguous(), means[:, 3:].contiguous()


def _size(camera: Camera) -> tuple[int, int]:
    return camera.height, camera.width
