"""What the sources for other people's formats have in common, on recordings by independent
writers."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pcpt import registry
from pcpt.config import load_config
from pcpt.data.dataset import DataConfig, PosedFrames
from pcpt.data.frame import BrokenFrame, LostPose
from pcpt.data.write_scan import write_folder_scan
from pcpt.doctor.observations import observe
from tests.conftest import REPOSITORY
from tests.data.foreign_scans import (
    write_arkitscenes,
    write_open3d_intrinsics,
    write_redwood,
    write_transforms,
    write_tum,
)
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose, write_color, write_depth


def redwood(folder: Path) -> Path:
    write_redwood(folder, size=(HEIGHT, WIDTH))
    write_open3d_intrinsics(folder / "camera.json")
    return folder


# source: writer, options
SOURCES: dict[str, tuple[Callable[[Path], Path], dict[str, object]]] = {
    "tum": (write_tum, {"intrinsics": [20.0, 20.0, 11.5, 7.5], "depth_scale": 1000.0}),
    "transforms": (write_transforms, {}),
    "redwood": (redwood, {"intrinsics": "camera.json"}),
    "arkitscenes": (lambda folder: write_arkitscenes(folder, focal_step=0.0), {}),
}


def second(folder: Path, kind: str) -> Path:
    """The second image of a recording."""
    names = {
        "color": ("rgb", "images", "lowres_wide"),
        "depth": ("depth", "depths", "lowres_depth"),
    }
    found = [
        p for name in names[kind] if (folder / name).is_dir() for p in (folder / name).iterdir()
    ]
    return sorted(found, key=lambda p: (len(p.name), p.name))[1]


def test_registered() -> None:
    assert set(SOURCES) <= set(registry.list_names("datasets"))


@pytest.mark.parametrize("source", SOURCES)
def test_second_frame(tmp_path: Path, source: str) -> None:
    write, options = SOURCES[source]
    root = write(tmp_path / "room")
    (scan,) = open_scans(source, root, **options)
    assert scan.name == "room" and len(scan.names) == len(set(scan.names)) >= 3
    frame = scan.load(scan.names[1])
    assert np.allclose(frame.depth_camera.camera_to_world, pose(1), atol=1e-6)
    assert np.allclose(frame.color_camera.camera_to_world, pose(1), atol=1e-6)
    assert np.allclose(frame.depth_camera.intrinsics, INTRINSICS)
    units = write_depth(tmp_path / "again.png", seed=1)
    metres = np.where(units == 65535, 0, units) / 1000
    assert np.allclose(frame.depth, metres)
    if source != "redwood":  # JPEG
        rgb = write_color(tmp_path / "again_color.png", seed=1)
        assert np.array_equal(frame.image.permute(1, 2, 0), rgb)


@pytest.mark.parametrize("source", SOURCES)
def test_points_land_where_they_were_seen(tmp_path: Path, source: str) -> None:
    """Pixel and depth by hand, through the world and back: conventions that cancel are caught."""
    write, options = SOURCES[source]
    (scan,) = open_scans(source, write(tmp_path / "room"), **options)
    frame = scan.load(scan.names[2])
    points, pixel_index = frame.depth_camera.unproject(frame.depth)
    row, column = np.divmod(pixel_index.numpy(), WIDTH)
    z = frame.depth.numpy()[row, column].astype(float)
    local = np.stack([(column - 11.5) / 20 * z, (row - 7.5) / 20 * z, z, np.ones_like(z)])
    assert np.allclose(points, (pose(2) @ local)[:3].T, atol=1e-4)


@pytest.mark.parametrize("source", SOURCES)
def test_one_broken_image_breaks_one_frame(tmp_path: Path, source: str) -> None:
    write, options = SOURCES[source]
    root = write(tmp_path / "room")

    def breaks(message: str) -> None:
        (scan,) = open_scans(source, root, **options)
        scan.load(scan.names[0])
        scan.load(scan.names[2])
        with pytest.raises(BrokenFrame, match=message):
            scan.load(scan.names[1])

    color, depth = second(root, "color"), second(root, "depth")
    kept = color.read_bytes()
    color.write_bytes(kept[: len(kept) // 2])
    breaks(r"colour image .* bytes\) is (damaged|not a readable)")
    write_color(color, 8, 8)
    breaks("colour image .* is 8x8, its camera is for 24x16")
    color.write_bytes(kept)
    write_depth(depth, 8, 9)
    breaks("depth image .* is 9x8, its camera is for 24x16")


# source: the file with the poses, the pose of the second frame there, and what is no pose
LOST = {
    "tum": ("groundtruth.txt", r"(?m)(?<=^1305031102\.2096 ).*", "nan nan nan 0 0 0 1"),
    "transforms": (
        "transforms.json",
        r"(?s)(_10\.png\", \"transform_matrix\": ).*?\]\]",
        r"\1null",
    ),
    "redwood": ("trajectory.log", r"(?m)(?<=^1\t1\t2\n).*", "lost"),
    "arkitscenes": ("lowres_wide.traj", r"(?m)(?<=^6845\.80640000 ).*", "lost"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_lost_pose_is_one_for_the_doctor(tmp_path: Path, source: str) -> None:
    write, options = SOURCES[source]
    root = write(tmp_path / "room")
    file, pattern, lost = LOST[source]
    text, count = re.subn(pattern, lost, (root / file).read_text())
    assert count == 1
    (root / file).write_text(text)
    (scan,) = open_scans(source, root, **options)
    with pytest.raises(LostPose, match=file):
        scan.load(scan.names[1])
    seen = observe(scan)
    assert seen.lost == [scan.names[1]] and not seen.damaged


@pytest.mark.parametrize("source", SOURCES)
def test_options_and_roots(tmp_path: Path, source: str) -> None:
    write, options = SOURCES[source]
    root = write(tmp_path / "room")
    (every,) = open_scans(source, root, **options)
    changed = {**options, "every": 2, "depth_scale": 500.0, "up": [3.0, 0.0, 0.0]}
    (scan,) = open_scans(source, root, **changed)
    assert list(scan.names) == list(every.names[::2])
    assert scan.up is not None and scan.up.tolist() == [1, 0, 0]
    assert float(scan.load(scan.names[0]).depth[0, 2]) == 2.0
    for wrong in ({"every": 0}, {"depth_scale": 0.0}, {"up": [0.0, 0.0, 0.0]}):
        with pytest.raises((ValueError, BrokenFrame), match=next(iter(wrong))):
            (broken,) = open_scans(source, root, **{**options, **wrong})
            broken.load(broken.names[0])
    with pytest.raises(ValueError, match="roots is empty"):
        open_scans(source, **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="empty"):
        open_scans(source, tmp_path / "empty", **options)


@pytest.mark.parametrize("source", SOURCES)
def test_makes_samples_for_pretraining(tmp_path: Path, source: str) -> None:
    write, options = SOURCES[source]
    component = registry.get("datasets", source)
    config = component.Config(roots=[str(write(tmp_path / "room"))], **options)
    data = DataConfig(source=config, image_size=[HEIGHT, WIDTH], held_out=0.0)
    sample = PosedFrames(data, "train", seed=0)[0]
    assert sample.points.shape[0] > 300 and sample.point_index.shape[0] > 100
    assert not sample.skipped


@pytest.mark.parametrize("source", SOURCES)
def test_becomes_a_folder_scan(tmp_path: Path, source: str) -> None:
    """Every source can be written in the neutral layout and comes back the same."""
    write, options = SOURCES[source]
    if source == "arkitscenes":
        write = write_arkitscenes  # intrinsics of each frame
    (scan,) = open_scans(source, write(tmp_path / "room"), **options)
    frames = [scan.load(name) for name in scan.names]
    write_folder_scan(tmp_path / "neutral", "neutral", frames, up=scan.up)
    (copy,) = open_scans("folder", tmp_path / "neutral")
    assert list(copy.names) == list(scan.names)
    for frame in frames:
        other = copy.load(frame.name)
        assert np.array_equal(other.image, frame.image)
        assert np.allclose(other.depth, frame.depth, atol=5e-4)
        for camera in ("color_camera", "depth_camera"):
            one, two = getattr(frame, camera), getattr(other, camera)
            assert np.array_equal(one.intrinsics, two.intrinsics)
            assert np.allclose(one.camera_to_world, two.camera_to_world)


def test_the_documented_lines_are_valid() -> None:
    page = (REPOSITORY / "docs" / "data_layout.md").read_text()
    lines = re.findall(r"^`(data\.source\.name=[^`]+)`$", page, re.MULTILINE)
    names = [line.split()[0].partition("=")[2] for line in lines]
    assert names == ["tum", "transforms", "redwood", "arkitscenes", "sunrgbd"]
    for name, line in zip(names, lines):
        config = load_config([REPOSITORY / "configs" / "demo.yaml"], line.split())
        assert config.data.source.name == name and len(config.data.source.roots) == 1
