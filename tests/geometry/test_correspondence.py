"""Frames to clouds and pairs: on a made-up rig, and on a real scan."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from pcpt.data.frame import Frame
from pcpt.geometry import Camera, back_project, fuse_frames, match_frames


def tilted_plane(height: int, width: int) -> Tensor:
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return 2 + 0.01 * column + 0.005 * row


def rig(name: str = "a", shift: float = 0.0) -> Frame:
    """Depth 30 x 40; colour 50 x 66, 4 cm to the right, its red and green telling the pixel."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = shift
    color_pose = pose.clone()
    color_pose[0, 3] += 0.04
    row, column = torch.meshgrid(torch.arange(50), torch.arange(66), indexing="ij")
    image = torch.stack((column, row, torch.zeros_like(row))).to(torch.uint8)
    return Frame(
        name,
        image,
        tilted_plane(30, 40),
        Camera([[50, 0, 32], [0, 50, 24], [0, 0, 1]], 50, 66, color_pose),
        Camera([[35, 0, 19], [0, 35, 15], [0, 0, 1]], 30, 40, pose),
    )


def test_back_project_colors_points_through_the_color_camera() -> None:
    frame = rig()
    points, colors = back_project(frame)
    assert points.dtype == colors.dtype == torch.float32
    assert 0 < len(points) <= 30 * 40 and len(points) == len(colors)
    uv, _ = frame.color_camera.project(points)
    assert (uv - 255 * colors[:, :2]).abs().max() <= 0.5 + 1e-4
    # Points the colour camera does not see are left out.
    narrow = replace(
        frame,
        color_camera=frame.color_camera.cropped(10, 20, 7, 9),
        image=frame.image[:, 10:17, 20:29],
    )
    points, _ = back_project(narrow)
    uv, _ = narrow.color_camera.project(points)
    assert 0 < len(points) < 100
    assert bool(((uv >= -0.5) & (uv < torch.tensor([8.5, 6.5]))).all())


def test_max_depth() -> None:
    frame = rig()
    near, _ = back_project(frame, max_depth=2.2)
    assert 0 < len(near) < len(back_project(frame)[0])
    assert near[:, 2].max() <= 2.2
    with pytest.raises(ValueError, match="max_depth is 0"):
        back_project(frame, max_depth=0)


def test_a_frame_matches_itself_at_its_own_pixels() -> None:
    frame = rig()
    points, colors = back_project(frame)
    pairs = match_frames(points, [frame], absolute_tolerance=1e-4)
    assert torch.equal(pairs.point_index, torch.arange(len(points)))
    assert (pairs.pixel - 255 * colors[:, :2]).abs().max() <= 0.5 + 1e-4
    assert pairs.depth_error.abs().max() < 1e-5


def test_fused_cloud_matches_every_frame() -> None:
    frames = [rig("a"), rig("b", 0.02), rig("c", 0.05)]
    points, colors = fuse_frames(frames)
    sizes = [len(back_project(frame)[0]) for frame in frames]
    assert len(points) == len(colors) == sum(sizes)
    pairs = match_frames(points, frames, border=1)
    order = pairs.view_index * len(points) + pairs.point_index
    assert bool((order[1:] > order[:-1]).all())
    assert pairs.view_index.unique().tolist() == [0, 1, 2]
    for view, frame in enumerate(frames):
        mine = pairs.view_index == view
        uv, _ = frame.color_camera.project(points[pairs.point_index[mine]])
        torch.testing.assert_close(uv, pairs.pixel[mine], atol=1e-3, rtol=0)


def test_fused_voxels_hold_means() -> None:
    frames = [rig("a"), rig("b", 0.02)]
    points, colors = fuse_frames(frames)
    thin_points, thin_colors = fuse_frames(frames, voxel_size=0.2)
    cells = (points / 0.2).floor()
    rows, inverse = cells.unique(dim=0, return_inverse=True)
    assert len(thin_points) == len(rows) < len(points) / 5
    assert torch.equal((thin_points / 0.2).floor(), rows)
    for voxel in (0, len(rows) // 2, len(rows) - 1):
        torch.testing.assert_close(thin_points[voxel], points[inverse == voxel].mean(0))
        torch.testing.assert_close(thin_colors[voxel], colors[inverse == voxel].mean(0))


def test_bad_frames() -> None:
    frame = rig("a")
    small = replace(rig("b"), depth=torch.ones(10, 10), depth_camera=Camera(torch.eye(3), 10, 10))
    for function in (lambda: match_frames(torch.zeros(1, 3), []), lambda: fuse_frames([])):
        with pytest.raises(ValueError, match="no frames"):
            function()
    with pytest.raises(ValueError, match=r"depth_camera size .*'b': \(10, 10\)"):
        match_frames(torch.zeros(1, 3), [frame, small])
    assert len(fuse_frames([frame, small])[0]) > 0


@pytest.fixture(scope="module")
def real_frames(shared_data: Path) -> list[Frame]:
    """Frames 0, 1, 12 and 30 of the HoloLens scan, read without the package's own reader."""
    folder = shared_data / "rgbd" / "hololens"
    intrinsics = np.loadtxt(folder / "K.txt")
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 4, 4)
    names = (folder / "frames.txt").read_text().split()
    frames = []
    for index in (0, 1, 12, 30):
        stem = Path(names[index]).stem
        image = cv2.imread(str(folder / "images" / f"{stem}.png"))[:, :, ::-1].copy()
        depth = cv2.imread(str(folder / "depth" / f"{stem}.png"), cv2.IMREAD_UNCHANGED)
        camera = Camera(torch.from_numpy(intrinsics), *depth.shape, torch.from_numpy(poses[index]))
        frames.append(
            Frame(
                stem,
                torch.from_numpy(image).permute(2, 0, 1),
                torch.from_numpy(depth.astype(np.float32) / 1000),
                camera,
                camera,
            )
        )
    return frames


def test_real_frame_matches_itself_and_its_neighbor(real_frames: list[Frame]) -> None:
    first, neighbor, *_ = real_frames
    points, colors = back_project(first)
    assert len(points) == int((first.depth > 0).sum())
    pairs = match_frames(points, [first, neighbor], absolute_tolerance=0.05)
    own, other = (pairs.view_index == view for view in (0, 1))
    assert torch.equal(pairs.point_index[own], torch.arange(len(points)))
    assert (pairs.pixel[own] - pairs.pixel[own].round()).abs().max() < 1e-2
    fraction = int(other.sum()) / len(points)
    assert 0.3 < fraction < 0.99, fraction

    # Corresponding pixels look alike, far more than pixels of points paired at random.
    def look(index: Tensor) -> Tensor:
        u, v = pairs.pixel[other].round().long().unbind(1)
        seen = neighbor.image[:, v.clamp(0, 359), u.clamp(0, 539)].T / 255
        return (colors[index] - seen).abs().mean()

    index = pairs.point_index[other]
    assert look(index) < 0.5 * look(index[torch.randperm(len(index))])


def test_real_occlusion_check_removes_points(real_frames: list[Frame]) -> None:
    """Half of what one frame shows of the other's field of view stands behind something there."""
    *_, other, frame = real_frames
    points, _ = back_project(frame)
    strict = match_frames(points, [other], absolute_tolerance=0.05)
    blind = match_frames(points, [other], absolute_tolerance=torch.inf)
    assert 0.1 * len(points) < len(strict.point_index) < 0.7 * len(blind.point_index)
    assert strict.depth_error.abs().max() <= 0.05
    # The fused cloud holds every frame's own points, and each frame finds at least those.
    fused, _ = fuse_frames(real_frames)
    pairs = match_frames(fused, real_frames)
    own = torch.tensor([len(back_project(frame)[0]) for frame in real_frames])
    assert bool((torch.bincount(pairs.view_index) > own).all())
