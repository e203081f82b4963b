"""Redwood logs: items, numbers, pairs of images, and Open3D's intrinsics."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcpt.data.frame import BrokenFrame, Scan
from pcpt.doctor.open_scan import recognising
from tests.data.foreign_scans import redwood_item, write_open3d_intrinsics, write_redwood
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import HEIGHT, WIDTH, pose, write_depth


def open_one(root: Path, **options: Any) -> Scan:
    write_open3d_intrinsics(root / "camera.json")
    (scan,) = open_scans("redwood", root, **{"intrinsics": "camera.json", **options})
    return scan


def small(folder: Path, num_frames: int = 3) -> Path:
    return write_redwood(folder, num_frames, (HEIGHT, WIDTH))


def test_primesense_by_default(tmp_path: Path) -> None:
    (scan,) = open_scans("redwood", write_redwood(tmp_path / "a", 1))
    frame = scan.load(scan.names[0])
    matrix = frame.color_camera.intrinsics
    assert matrix.tolist() == [[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]]
    assert scan.up is None


def test_numbers_count_from_one_and_may_have_gaps(tmp_path: Path) -> None:
    root = small(tmp_path / "a")
    (root / "trajectory.log").write_text(redwood_item(2, 3) + redwood_item(0, 1))
    scan = open_one(root)
    assert [name[:7] for name in scan.names] == ["0000003", "0000001"]
    assert np.allclose(scan.load(scan.names[0]).depth_camera.camera_to_world, pose(2), atol=1e-9)
    (root / "trajectory.log").write_text(redwood_item(0, 0) + redwood_item(1, 0))
    scan = open_one(root)  # Tanks and Temples: the first number, from 0 on
    assert [name[:7] for name in scan.names] == ["0000001", "0000002"]


def test_pairs_by_time_name_and_rank(tmp_path: Path) -> None:
    root = small(tmp_path / "time")
    times = sorted((root / "rgb").iterdir())
    times[1].unlink()
    scan = open_one(root)
    scan.load(scan.names[2])
    with pytest.raises(BrokenFrame, match=r"0000002.* has no colour image"):
        scan.load(scan.names[1])
    root = small(tmp_path / "name")
    for path in (root / "depth").iterdir():
        path.rename(path.with_name(path.name[:7] + ".png"))
    for path in (root / "rgb").iterdir():
        path.rename(path.with_name(path.name[:7] + ".jpg"))
    scan = open_one(root)
    assert list(scan.names) == ["0000001", "0000002", "0000003"]
    (root / "rgb").rename(root / "image")
    for number, path in enumerate(sorted((root / "image").iterdir())):
        path.rename(path.with_name(f"img{number + 8}.jpg"))  # 8, 9, 10
    frame = open_one(root).load("0000003")
    bgr = cv2.imread(str(root / "image" / "img10.jpg")).astype(float)
    assert np.abs(frame.image.permute(1, 2, 0).numpy() - bgr[..., ::-1]).mean() < 2
    (root / "image" / "img8.jpg").unlink()
    with pytest.raises(ValueError, match="2 colour and 3 depth images of different names"):
        open_one(root)


def test_logs(tmp_path: Path) -> None:
    root = small(tmp_path / "a")
    log = root / "trajectory.log"
    good = log.read_text()
    for text, message in (
        ("", "holds no poses"),
        ("1 2\n" + good, r"trajectory\.log line 1 is '1 2', expected three whole numbers"),
        (good.replace("1\t1\t2", "1\t1\tx"), "line 6 is '1 1 x'"),
        (good + redwood_item(2, 3), "line 16: .* gives number 3, expected one .* comes once"),
        (redwood_item(0, -1), "gives number -1"),
        ("0 1 50\n" + good.split("\n", 1)[1] + redwood_item(1, 50), "gives number 50"),
        ("9" * 30 + " 0 1\n", "expected three whole numbers"),
    ):
        log.write_text(text)
        with pytest.raises(ValueError, match=message):
            open_one(root)
    lines = good.splitlines()
    for text, message in (
        ("\n".join([*lines[:7], "1 nan 0 0", *lines[8:]]), "line 6.*inf or nan"),
        ("\n".join([*lines[:7], "1 0 0", *lines[8:]]), "four lines of four numbers"),
        ("\n".join([*lines[:7], "1 0 0 word", *lines[8:]]), "line 6: expected four lines of four"),
    ):
        log.write_text(text)
        scan = open_one(root)
        scan.load(scan.names[0])
        with pytest.raises(BrokenFrame, match=message):
            scan.load(scan.names[1])
    log.write_text(good.replace("1\t1\t2", "1\t1\t9"))  # of an image that is not there
    assert [name[:7] for name in open_one(root).names] == ["0000001", "0000003"]
    log.write_text(redwood_item(0, 77))
    with pytest.raises(ValueError, match=r"none of its 1 poses goes with any of 3 depth images"):
        open_one(root)
    log.write_text("\n".join(lines[:-2]))  # cut short
    scan = open_one(root)
    scan.load(scan.names[1])
    with pytest.raises(BrokenFrame, match=r"line 11.*four lines of four"):
        scan.load(scan.names[2])
    (root / "other.log").write_text(good)
    with pytest.raises(ValueError, match=r"several logs \(other\.log, trajectory\.log\)"):
        open_one(root)
    assert open_one(root, trajectory="other.log").load(scan.names[2])
    for path in root.glob("*.log"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no trajectory \*\.log"):
        open_one(root)


def test_only_a_trajectory_makes_a_folder_one_of_redwood(tmp_path: Path) -> None:
    root = small(tmp_path / "a")
    assert recognising(root) == ["redwood"]
    item = redwood_item(0, 1)
    for content in (
        b"",
        b"2024-05-01 12:00:03 INFO started\n" * 9,
        item.replace("0\t0\t1", "0\t0").encode(),
        item[: len(item) // 2].encode(),
        b"\xff" * 100_000,
    ):
        (root / "trajectory.log").write_bytes(content)
        assert recognising(root) == []
    (root / "trajectory.log").unlink()
    (root / "folder.log").mkdir()
    assert recognising(root) == []


def test_intrinsics(tmp_path: Path) -> None:
    root = small(tmp_path / "a")
    with pytest.raises(ValueError, match="images are 24x16"):
        open_scans("redwood", root)
    with pytest.raises(FileNotFoundError, match=r"intrinsics is none\.json"):
        open_one(root, intrinsics="none.json")
    write_open3d_intrinsics(tmp_path / "k.json", 640, 480)
    with pytest.raises(ValueError, match="width and height are 640x480, but images are 24x16"):
        open_one(root, intrinsics=str(tmp_path / "k.json"))
    inner = json.loads((root / "camera.json").read_text())
    (tmp_path / "k.json").write_text(json.dumps({"class_name": "x", "intrinsic": inner}))
    frame = open_one(root, intrinsics=str(tmp_path / "k.json")).load(open_one(root).names[0])
    assert frame.color_camera.intrinsics[0, 2] == 11.5
    for value in ([1, 2], "x", [0] * 9):
        (tmp_path / "k.json").write_text(json.dumps({**inner, "intrinsic_matrix": value}))
        with pytest.raises(ValueError, match=r"k\.json"):
            open_one(root, intrinsics=str(tmp_path / "k.json"))
    for path in (root / "depth").iterdir():
        write_depth(path, 8, 12)
    with pytest.raises(ValueError, match="images are 24x16 but depth is 12x8"):
        open_one(root)
