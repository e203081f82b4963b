"""Real recordings: poses, axes, vertical and colour camera, judged by geometry and colour."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pcpt import registry
from pcpt.data.frame import Frame, Scan
from pcpt.geometry import Camera


def open_scan(source: str, root: Path, **options: Any) -> Scan:
    component = registry.get("datasets", source)
    (scan,) = component(component.Config(roots=[str(root)], **options)).open()
    return scan


def invert_pose(camera: Camera) -> Camera:
    return Camera(camera.intrinsics, camera.height, camera.width, camera.world_to_camera)


def look_up(image: Tensor, points: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Index of the points inside the image, their depth, and the pixels (C, N) they fall on."""
    uv, z = camera.project(points)
    column, row = (uv + 0.5).floor().unbind(1)
    inside = (
        (z > 0.1) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    )
    index = inside.nonzero().squeeze(1)
    pixels = image.reshape(-1, camera.height, camera.width)
    return index, z[index], pixels[:, row[index].long(), column[index].long()]


def disagreements(frames: list[Frame], inverted: bool = False) -> Tensor:
    """Median |measured - expected| depth, metres, of each pair of frames that overlaps."""
    cameras = [invert_pose(f.depth_camera) if inverted else f.depth_camera for f in frames]
    medians = []
    for one, other in itertools.permutations(range(len(frames)), 2):
        points, _ = cameras[one].unproject(frames[one].depth)
        _, z, measured = look_up(frames[other].depth, points[::31], cameras[other])
        valid = measured[0] > 0
        if int(valid.sum()) > 0.3 * len(points[::31]):
            medians.append((measured[0] - z)[valid].abs().median())
    assert len(medians) >= 4
    return torch.stack(medians)


def heights(frames: list[Frame], up: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the points, and of the cameras, along ``up``."""
    points = torch.cat([f.depth_camera.unproject(f.depth)[0][::97] for f in frames]).double()
    cameras = torch.stack([f.depth_camera.camera_to_world[:3, 3] for f in frames])
    return points @ up, cameras @ up


def check_vertical(frames: list[Frame], scan: Scan, eye_level: tuple[float, float]) -> None:
    """The camera is held upright, at human height above the lowest surface."""
    assert scan.up is not None
    down = torch.stack([f.depth_camera.camera_to_world[:3, 1] for f in frames]).mean(0)
    assert float(down @ scan.up) < -0.7
    points, cameras = heights(frames, scan.up)
    floor = points.quantile(0.01)
    assert eye_level[0] < float(cameras.median() - floor) < eye_level[1]


def test_hololens(shared_data: Path) -> None:
    scan = open_scan("hololens", shared_data / "rgbd" / "hololens")
    assert len(scan.names) == 55 and scan.names[0] == "00003" and scan.names[-1] == "00219"
    # Two visits of the same places, a minute of walking apart.
    frames = [scan.load(f"{n:05d}") for n in (35, 39, 43, 195, 199, 203)]
    right = disagreements(frames).median()
    assert right < 0.10
    assert disagreements(frames, inverted=True).median() > 5 * right
    check_vertical([scan.load(name) for name in scan.names[::6]], scan, (1.3, 2.0))


def test_redkitchen(shared_data: Path) -> None:
    root = shared_data / "rgbd" / "redkitchen"
    scan = open_scan("seven_scenes", root, color_camera="color_camera_estimated.json")
    assert len(scan.names) == 200
    frames = [scan.load(f"frame-{n:06d}") for n in (0, 120, 240, 480, 600, 720)]
    right = disagreements(frames).median()
    assert right < 0.04
    assert disagreements(frames, inverted=True).median() > 5 * right
    check_vertical(frames, scan, (0.9, 2.0))
    for name in scan.names[::20]:
        depth = scan.load(name).depth
        assert float(depth.max()) < 30  # no 65.535 m


def colour_disagreement(scan: Scan, pairs: list[tuple[int, int]]) -> float:
    """1 - correlation of grey values at the points that two frames both see."""
    values: list[Tensor] = []
    for pair in pairs:
        one, other = (scan.load(f"frame-{n:06d}") for n in pair)
        points, _ = one.depth_camera.unproject(one.depth)
        points = points[::7]
        index, z, measured = look_up(other.depth, points, other.depth_camera)
        points = points[index[(measured[0] - z).abs() < 0.03]]
        greys = []
        for frame in (one, other):
            index, _, colors = look_up(frame.image, points, frame.color_camera)
            grey = torch.full((len(points),), float("nan"))
            grey[index] = colors.float().mean(0)
            greys.append(grey)
        both = torch.stack(greys)
        values.append(both[:, both.isfinite().all(0)])
    return 1 - float(torch.corrcoef(torch.cat(values, 1))[0, 1])


def test_colour_camera_of_redkitchen_lowers_the_photometric_error(
    shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = shared_data / "rgbd" / "redkitchen"
    pairs = [(0, 120), (40, 160), (480, 600), (520, 640)]
    depth_only = colour_disagreement(open_scan("seven_scenes", root), pairs)
    assert "color_camera is not set" in caplog.text
    two_cameras = colour_disagreement(
        open_scan("seven_scenes", root, color_camera="color_camera_estimated.json"), pairs
    )
    assert two_cameras < 0.6 * depth_only


def test_office(office: Path, shared_data: Path) -> None:
    """The shipped scan is the recording it claims to be, with untouched depth, and small."""
    scan = open_scan("folder", office)
    original = open_scan("hololens", shared_data / "rgbd" / "hololens")
    assert len(scan.names) == 24 and len(scan.held_out) == 6
    assert torch.equal(scan.up, original.up)
    for name in scan.names[::4]:
        frame, source = scan.load(name), original.load(name)
        assert torch.equal(frame.depth, source.depth)
        files = (office / "depth" / f"{name}.png", Path("rgbd/hololens/depth") / f"{name}.png")
        assert files[0].read_bytes() == (shared_data / files[1]).read_bytes()
        for kind in ("color_camera", "depth_camera"):
            mine, theirs = getattr(frame, kind), getattr(source, kind)
            assert torch.equal(mine.camera_to_world, theirs.camera_to_world)
            assert torch.equal(mine.intrinsics, theirs.intrinsics)
        assert (frame.image.float() - source.image.float()).abs().mean() < 3
    assert (office / "LICENSE").read_bytes() == (
        shared_data / "rgbd" / "hololens" / "LICENSE"
    ).read_bytes()


def test_office_by_itself(office: Path) -> None:
    scan = open_scan("folder", office)
    training = [name for name in scan.names if name not in scan.held_out]
    assert len(training) == 18
    late = sorted(scan.held_out)[1:]
    assert min(late) > max(training)  # names are original frame numbers
    assert sum(path.stat().st_size for path in office.rglob("*")) < 6e6
    assert "MIT License" in (office / "LICENSE").read_text()
    frames = [scan.load(name) for name in scan.names]
    assert disagreements(frames[3:6] + frames[-3:]).median() < 0.15
