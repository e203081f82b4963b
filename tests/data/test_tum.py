"""TUM RGB-D: what belongs together, the known cameras, and what its text files may hold."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcpt.data.frame import BrokenFrame, Scan
from tests.data.foreign_scans import write_tum
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import pose, write_color, write_depth

SMALL = {"intrinsics": [20.0, 20.0, 11.5, 7.5]}


def open_tum(root: Path, **options: Any) -> Scan:
    (scan,) = open_scans("tum", root, **{**SMALL, **options})
    return scan


def edit(path: Path, line: int, text: str | None) -> None:
    lines = path.read_text().splitlines()
    lines[line : line + 1] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_names_scale_and_nearest_pose(tmp_path: Path) -> None:
    scan = open_tum(write_tum(tmp_path / "fr1"))
    assert list(scan.names)[:2] == ["1305031102.175304", "1305031102.208637"]
    frame = scan.load(scan.names[3])
    # the poses 10 and 20 ms later are 9 m off
    assert np.allclose(frame.color_camera.camera_to_world, pose(3), atol=1e-6)
    assert float(frame.depth[0, 2]) == pytest.approx(1000 / 5000)
    assert scan.up is not None and scan.up.tolist() == [0, 0, 1]


def test_what_lacks_a_partner_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tum(tmp_path / "fr1")
    edit(root / "depth.txt", 4, None)  # of the second image
    lines = (root / "groundtruth.txt").read_text().splitlines()
    (root / "groundtruth.txt").write_text("\n".join(lines[:-5]))  # of the last image
    with caplog.at_level(logging.WARNING):
        scan = open_tum(root)
    assert [name[-6:] for name in scan.names] == ["175304", "241971"]
    assert "2 of 4 colour images left out: 1 without depth, 1 without a pose" in caplog.text
    with pytest.raises(ValueError, match="of 4 colour images 0 have depth"):
        open_tum(root, max_difference=0.001)


def test_a_pose_that_cannot_be_breaks_its_frames(tmp_path: Path) -> None:
    root = write_tum(tmp_path / "fr1")
    for text, message in (
        ("{t} 0 0 0 0 0 0 0", r"groundtruth\.txt line 7: quaternion .* length 0, expected 1"),
        ("{t} 0 0 0 0 0 0 2", "length 2"),
        ("{t} 0 nan 0 0 0 0 1", "inf or nan"),
        ("{t} 0 0 0 0 0 1", r"line 7: .*nan"),
        ("{t} 0 0 0 0 0 one 1", "nan"),
    ):
        line = (root / "groundtruth.txt").read_text().splitlines()[6]
        edit(root / "groundtruth.txt", 6, text.format(t=line.split()[0]))
        scan = open_tum(root)
        scan.load(scan.names[0])
        with pytest.raises(BrokenFrame, match=message):
            scan.load(scan.names[1])
    edit(root / "groundtruth.txt", 6, "yesterday 0 0 0 0 0 0 1")
    with pytest.raises(ValueError, match=r"groundtruth\.txt line 7: 'yesterday' is no time"):
        open_tum(root)


def test_text_files(tmp_path: Path) -> None:
    root = write_tum(tmp_path / "fr1")
    for text, message in (
        ("1305031102.2 ../secret.png", r"rgb\.txt: '\.\./secret\.png' leaves"),
        ("1305031102.2 /etc/passwd", "leaves"),
        ("1305031102.2", r"rgb\.txt line 5 holds only a time"),
        ("1305031102.208637 rgb/1305031102.175304.png", "two images named '1305031102.175304'"),
    ):
        kept = (root / "rgb.txt").read_text()
        edit(root / "rgb.txt", 4, text)
        with pytest.raises(ValueError, match=message):
            open_tum(root)
        (root / "rgb.txt").write_text(kept)
    for name in ("rgb", "depth", "groundtruth"):
        kept = (root / f"{name}.txt").read_text()
        (root / f"{name}.txt").unlink()
        with pytest.raises(FileNotFoundError, match=rf"{name}\.txt does not exist"):
            open_tum(root)
        (root / f"{name}.txt").write_text(kept)
    open_tum(root)


def test_cameras(tmp_path: Path) -> None:
    root = write_tum(tmp_path / "fr1", num_frames=1)
    with pytest.raises(ValueError, match=r"ros have their centre at .* images are 24x16"):
        open_scans("tum", root)
    for folder in ("rgb", "depth"):
        (path,) = (root / folder).iterdir()
        (write_color if folder == "rgb" else write_depth)(path, 480, 640)
    frames = {}
    for camera, fx, cy in (
        ("ros", 525.0, 239.5),
        ("freiburg1", 517.3, 255.3),
        ("freiburg2", 520.9, 249.7),
        ("freiburg3", 535.4, 247.6),
    ):
        (scan,) = open_scans("tum", root, camera=camera, undistort=True)
        frames[camera] = scan.load(scan.names[0])
        matrix = frames[camera].depth_camera.intrinsics
        assert float(matrix[0, 0]) == fx and float(matrix[1, 2]) == cy
    assert np.array_equal(frames["ros"].image, frames["freiburg3"].image)
    assert not np.array_equal(frames["ros"].image, frames["freiburg1"].image)
    assert not np.array_equal(frames["ros"].depth, frames["freiburg1"].depth)
    (scan,) = open_scans("tum", root, camera="freiburg1")
    assert np.array_equal(frames["ros"].image, scan.load(scan.names[0]).image)
    with pytest.raises(ValueError, match="camera is 'freiburg9'"):
        open_scans("tum", root, camera="freiburg9")
    with pytest.raises(ValueError, match="intrinsics is"):
        open_scans("tum", root, intrinsics=[1.0])
