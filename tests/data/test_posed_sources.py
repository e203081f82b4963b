"""seven_scenes, hololens and scannet_frames on tiny scans written by the tests themselves."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.frame import BrokenFrame, Scan
from tests.data.tiny_scans import (
    HEIGHT,
    INTRINSICS,
    WIDTH,
    mark_text_files,
    pose,
    write_color,
    write_depth,
    write_hololens,
    write_matrix,
    write_scannet,
    write_seven_scenes,
)


def open_scans(source: str, *roots: Path, **options: Any) -> list[Scan]:
    component = registry.get("datasets", source)
    return component(component.Config(roots=[str(root) for root in roots], **options)).open()


def write_scannet_small(folder: Path) -> Path:
    return write_scannet(folder, range(0, 75, 25))


# source: writer, then the second frame's name and files
SOURCES: dict[str, tuple[Callable[[Path], Path], str, str, str]] = {
    "seven_scenes": (
        write_seven_scenes,
        "frame-000004",
        "frame-000004.color.jpg",
        "frame-000004.depth.png",
    ),
    "hololens": (write_hololens, "00007", "images/00007.png", "depth/00007.png"),
    "scannet_frames": (write_scannet_small, "25", "color/25.jpg", "depth/25.png"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_second_frame(tmp_path: Path, source: str) -> None:
    write, name, _, _ = SOURCES[source]
    (scan,) = open_scans(source, write(tmp_path / "room"))
    assert scan.name == "room" and len(scan.names) == 3 and scan.names[1] == name
    frame = scan.load(name)
    index = 25 if source == "scannet_frames" else 1
    assert np.allclose(frame.depth_camera.camera_to_world, pose(index))
    assert np.allclose(frame.color_camera.camera_to_world, pose(index))
    assert np.allclose(frame.depth_camera.intrinsics, INTRINSICS)
    factor = 2 if source == "scannet_frames" else 1
    assert np.allclose(frame.color_camera.intrinsics[0], factor * INTRINSICS[0])
    assert frame.image.shape == (3, factor * HEIGHT, factor * WIDTH)
    assert frame.depth.shape == (HEIGHT, WIDTH)
    assert float(frame.depth[0, 2]) == 1.0 and float(frame.depth[0, 1]) == 0.0
    up = {"seven_scenes": [0, 0, 1], "hololens": [0, 1, 0], "scannet_frames": [0, 0, 1]}[source]
    assert scan.up is not None and scan.up.tolist() == up


@pytest.mark.parametrize("source", SOURCES)
def test_broken_images_break_one_frame(tmp_path: Path, source: str) -> None:
    write, name, image, depth = SOURCES[source]
    root = write(tmp_path / "room")

    def breaks(message: str) -> None:
        (scan,) = open_scans(source, root)
        scan.load(scan.names[0])
        with pytest.raises(BrokenFrame, match=message):
            scan.load(name)

    kept = (root / image).read_bytes()
    (root / image).write_bytes(kept[: len(kept) // 2])
    breaks(r"colour image .* bytes\) is (damaged|not a readable)")
    write_color(root / image, 8, 8)
    breaks("colour image .* is 8x8, its camera is for")
    (root / image).write_bytes(kept)
    write_depth(root / depth, 8, 9)
    breaks("depth image .* is 9x8, its camera is for 24x16")
    cv2.imwrite(str(root / depth), np.zeros((HEIGHT, WIDTH), np.uint16))
    breaks("nothing measured")
    (root / depth).unlink()
    breaks("depth image .* does not exist")


@pytest.mark.parametrize("source", SOURCES)
def test_depth_of_8_bits(tmp_path: Path, source: str) -> None:
    write, _, _, depth = SOURCES[source]
    root = write(tmp_path / "room")
    cv2.imwrite(str(root / depth), np.full((HEIGHT, WIDTH), 9, np.uint8))
    with pytest.raises(ValueError, match=r"expected 16-bit greyscale.*re-export"):
        open_scans(source, root)


@pytest.mark.parametrize("source", SOURCES)
def test_colour_and_pose_counts_that_differ(tmp_path: Path, source: str) -> None:
    write, _, image, _ = SOURCES[source]
    root = write(tmp_path / "room")
    (root / image).unlink()
    with pytest.raises(ValueError, match=r"room.*(2 .*3|3 .*2)"):
        open_scans(source, root)


@pytest.mark.parametrize("source", SOURCES)
def test_empty_and_missing_roots(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match="empty"):
        open_scans(source, tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_scans(source, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="roots is empty"):
        open_scans(source)


@pytest.mark.parametrize("source", SOURCES)
def test_options(tmp_path: Path, source: str) -> None:
    root = SOURCES[source][0](tmp_path / "room")
    every = 50 if source == "scannet_frames" else 2
    (scan,) = open_scans(source, root, every=every, depth_scale=500.0, up=[3.0, 0.0, 0.0])
    assert len(scan.names) == 2
    assert scan.up is not None and scan.up.tolist() == [1, 0, 0]
    assert float(scan.load(scan.names[0]).depth[0, 2]) == 2.0
    for wrong in ({"every": 0}, {"depth_scale": 0.0}, {"up": [0.0, 0.0, 0.0]}, {"up": [1.0]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            open_scans(source, root, **wrong)


@pytest.mark.parametrize(
    "source, file",
    [
        ("seven_scenes", "camera-intrinsics.txt"),
        ("hololens", "K.txt"),
        ("scannet_frames", "intrinsic/intrinsic_color.txt"),
        ("scannet_frames", "intrinsic/intrinsic_depth.txt"),
    ],
)
def test_intrinsics_missing_or_wrong(tmp_path: Path, source: str, file: str) -> None:
    root = SOURCES[source][0](tmp_path / "room")
    kept = (root / file).read_text()
    (root / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"intrinsics .*{Path(file).name}.*3x3"):
        open_scans(source, root)
    for text, message in (
        ("1 2 3", "holds 3 numbers, expected 3x3 or 4x4"),
        ("fx " * 9, "value 1 is 'fx', not a number"),
        ("nan " * 9, "inf or nan"),
        ("-20 0 11 0 -20 7 0 0 1", "focal lengths"),
        ("80 0 48 0 80 32 0 0 1", "written for another size"),
    ):
        (root / file).write_text(text)
        with pytest.raises(ValueError, match=rf"{Path(file).name}.*{message}"):
            open_scans(source, root)
    (root / file).write_text(kept)
    assert open_scans(source, root)


def test_seven_scenes_original_release(tmp_path: Path) -> None:
    for sequence in ("seq-01", "seq-02"):
        folder = write_seven_scenes(tmp_path / "office" / sequence, suffix="png")
        (folder / "camera-intrinsics.txt").unlink()
        (folder / "gravity-direction.txt").unlink()
        for stem in ("frame-000000", "frame-000004", "frame-000008"):
            write_color(folder / f"{stem}.color.png", 480, 640)
            write_depth(folder / f"{stem}.depth.png", 480, 640)
    (tmp_path / "office" / "TrainSplit.txt").write_text("sequence1\n")
    for root in (tmp_path, tmp_path / "office", tmp_path / "office" / "seq-*"):
        scans = open_scans("seven_scenes", root)
        assert [scan.name for scan in scans] == ["seq-01", "seq-02"]
        assert scans[0].up is None
    camera = scans[0].load("frame-000004").depth_camera
    assert camera.intrinsics.tolist() == [[585, 0, 320], [0, 585, 240], [0, 0, 1]]
    write_seven_scenes(tmp_path / "stairs" / "seq-01")
    names = [scan.name for scan in open_scans("seven_scenes", tmp_path)]
    assert names == ["office_seq-01", "office_seq-02", "stairs_seq-01"]


def color_camera_json() -> dict[str, Any]:
    camera = {"fx": 18.0, "fy": 19.0, "cx": 11.0, "cy": 8.0, "width": WIDTH, "height": HEIGHT}
    return {**camera, "tx": -0.02, "ty": 0.01, "tz": 0.005}


def test_seven_scenes_colour_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_seven_scenes(tmp_path / "room")
    with caplog.at_level(logging.WARNING):
        open_scans("seven_scenes", root)
    assert "color_camera is not set" in caplog.text
    caplog.clear()
    values = color_camera_json()
    (tmp_path / "color.json").write_text(json.dumps(values))
    (scan,) = open_scans("seven_scenes", root, color_camera="color.json")  # one folder up
    assert not caplog.records
    frame = scan.load("frame-000008")
    points, _ = frame.depth_camera.unproject(frame.depth)
    uv, z = frame.color_camera.project(points)
    local = (points.double().numpy() - pose(2)[:3, 3]) @ pose(2)[:3, :3]  # depth camera's frame
    x, y, depth = local.T + np.array([[-0.02], [0.01], [0.005]])
    assert np.allclose(z, depth, atol=1e-5)
    assert np.allclose(uv, np.stack([18 * x / depth + 11, 19 * y / depth + 8], 1), atol=1e-3)


def test_seven_scenes_colour_camera_that_is_wrong(tmp_path: Path) -> None:
    root = write_seven_scenes(tmp_path / "room")
    with pytest.raises(FileNotFoundError, match=r"color_camera is none\.json"):
        open_scans("seven_scenes", root, color_camera="none.json")
    for values, message in (
        ({**color_camera_json(), "fx": "x"}, "'x'"),
        ({**color_camera_json(), "fx": float("nan")}, "inf or nan"),
        ({k: v for k, v in color_camera_json().items() if k != "tz"}, "tz is missing"),
        ([], "color.json"),
    ):
        (root / "color.json").write_text(json.dumps(values))
        with pytest.raises(ValueError, match=rf"color\.json.*{message}|{message}"):
            open_scans("seven_scenes", root, color_camera="color.json")


def test_seven_scenes_pose_that_is_not_finite(tmp_path: Path) -> None:
    root = write_seven_scenes(tmp_path / "room")
    write_matrix(root / "frame-000004.pose.txt", np.full((4, 4), np.nan))
    (scan,) = open_scans("seven_scenes", root)
    with pytest.raises(BrokenFrame, match=r"frame-000004\.pose\.txt.*inf or nan"):
        scan.load("frame-000004")


@pytest.mark.parametrize("source", SOURCES)
def test_text_files_may_begin_with_a_byte_order_mark(tmp_path: Path, source: str) -> None:
    write = SOURCES[source][0]
    (plain,) = open_scans(source, write(tmp_path / "plain"))
    mark_text_files(write(tmp_path / "marked"))
    (marked,) = open_scans(source, tmp_path / "marked")
    assert list(marked.names) == list(plain.names)
    for name in plain.names:
        one, other = plain.load(name).color_camera, marked.load(name).color_camera
        assert torch.equal(one.intrinsics, other.intrinsics)
        assert torch.equal(one.camera_to_world, other.camera_to_world)


def test_hololens_without_frames_txt_and_with_bad_counts(tmp_path: Path) -> None:
    root = write_hololens(tmp_path / "room")
    with_list = open_scans("hololens", root)[0]
    (root / "frames.txt").unlink()
    without_list = open_scans("hololens", root)[0]
    assert list(with_list.names) == list(without_list.names)
    lines = (root / "poses.txt").read_text().splitlines()
    (root / "poses.txt").write_text("\n".join(lines[:2]))
    with pytest.raises(ValueError, match=r"poses\.txt holds 2 poses, but there are 3 images"):
        open_scans("hololens", root)
    (root / "poses.txt").write_text(" ".join(["1"] * 17))
    with pytest.raises(ValueError, match=r"poses\.txt holds 17 numbers, expected 16 a frame"):
        open_scans("hololens", root)
    (root / "poses.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"poses\.txt"):
        open_scans("hololens", root)


def test_hololens_follows_the_order_of_frames_txt_and_names_the_line(tmp_path: Path) -> None:
    root = write_hololens(tmp_path / "room")
    names = (root / "frames.txt").read_text().split()
    (root / "frames.txt").write_text("\n".join(names[::-1]))
    poses = np.stack([pose(i).ravel() for i in (2, 1, 0)])
    poses[1, 3] = np.inf
    write_matrix(root / "poses.txt", poses)
    (scan,) = open_scans("hololens", root)
    assert list(scan.names) == ["00011", "00007", "00003"]
    assert np.allclose(scan.load("00011").depth_camera.camera_to_world, pose(2))
    with pytest.raises(BrokenFrame, match=r"poses\.txt line 2.*inf or nan"):
        scan.load("00007")


def test_hololens_depth_of_another_size(tmp_path: Path) -> None:
    root = write_hololens(tmp_path / "room")
    for path in (root / "depth").iterdir():
        write_depth(path, 8, 12)
    with pytest.raises(ValueError, match="images are 24x16 but depth is 12x8"):
        open_scans("hololens", root)


def test_scannet_every_counts_frame_numbers(tmp_path: Path) -> None:
    full = write_scannet(tmp_path / "full" / "scene0000_00", range(0, 61))
    release = write_scannet(tmp_path / "25k" / "scene0000_00", range(0, 500, 100), 6, release=True)
    assert list(open_scans("scannet_frames", full)[0].names) == ["0", "25", "50"]
    assert list(open_scans("scannet_frames", full, every=1)[0].names) == [str(i) for i in range(61)]
    (scan,) = open_scans("scannet_frames", release)
    assert list(scan.names) == ["000000", "000100", "000200", "000300", "000400"]
    assert scan.load("000300").image.shape == (3, 2 * HEIGHT, 2 * WIDTH)
    both = open_scans("scannet_frames", tmp_path / "*")
    assert [scan.name for scan in both] == ["25k_scene0000_00", "full_scene0000_00"]


def test_scannet_lost_tracking(tmp_path: Path) -> None:
    root = write_scannet(tmp_path / "room", range(0, 75, 25))
    (root / "pose" / "25.txt").write_text("-inf -inf -inf -inf\n" * 4)
    (scan,) = open_scans("scannet_frames", root)
    with pytest.raises(BrokenFrame, match=r"25\.txt.*tracking lost"):
        scan.load("25")


def test_scannet_intrinsics_of_another_export(tmp_path: Path) -> None:
    root = write_scannet(tmp_path / "room", range(0, 75, 25))
    for path in (root / "color").iterdir():
        write_color(path)  # half the size that intrinsic_color.txt was written for
    with pytest.raises(ValueError, match=r"intrinsic_color\.txt .*another size"):
        open_scans("scannet_frames", root)


def test_scannet_extrinsics_place_the_colour_camera(tmp_path: Path) -> None:
    root = write_scannet(tmp_path / "room", range(0, 75, 25))
    write_matrix(root / "intrinsic" / "extrinsic_color.txt", np.eye(4))
    write_matrix(root / "intrinsic" / "extrinsic_depth.txt", pose(1))
    (scan,) = open_scans("scannet_frames", root)
    frame = scan.load("25")
    assert np.allclose(frame.depth_camera.camera_to_world, pose(25))
    assert np.allclose(frame.color_camera.camera_to_world, pose(25) @ np.linalg.inv(pose(1)))
    (root / "intrinsic" / "extrinsic_depth.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"extrinsic_depth\.txt hold 3 numbers, expected 4x4"):
        open_scans("scannet_frames", root)
    write_matrix(root / "intrinsic" / "extrinsic_depth.txt", np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"extrinsic_depth of .*room/intrinsic"):
        open_scans("scannet_frames", root)
