"""ARKitScenes: association by names, intrinsics of each frame, world-to-camera lines."""

from pathlib import Path

import numpy as np
import pytest

from pcpt.data.frame import BrokenFrame
from tests.data.foreign_scans import write_arkitscenes
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import pose


def test_layout_of_the_release(tmp_path: Path) -> None:
    for video in ("41254925", "41254926"):
        write_arkitscenes(tmp_path / "Training" / video / f"{video}_frames")
    scans = open_scans("arkitscenes", tmp_path / "Training")
    assert [scan.name for scan in scans] == ["41254925_frames", "41254926_frames"]
    assert list(scans[0].names) == ["41254925_6845.706", "41254925_6845.806", "41254925_6845.906"]
    for index, name in enumerate(scans[0].names):
        frame = scans[0].load(name)
        assert frame.color_camera.intrinsics[0, 0] == 20 + 0.25 * index
        assert np.allclose(frame.depth_camera.camera_to_world, pose(index), atol=1e-8)


def test_images_without_pose_or_depth_are_left_out(tmp_path: Path) -> None:
    root = write_arkitscenes(tmp_path / "1_frames", 4)
    lines = (root / "lowres_wide.traj").read_text().splitlines()
    (root / "lowres_wide.traj").write_text("\n".join(lines[:1] + lines[2:]))
    (root / "lowres_depth" / "1_6845.906.png").unlink()
    (scan,) = open_scans("arkitscenes", root)
    assert list(scan.names) == ["1_6845.706", "1_6846.006"]
    (root / "lowres_wide.traj").write_text("1.0 0 0 0 0 0 0\n")
    with pytest.raises(ValueError, match=r"of 4 colour images 3 have depth and none .* a pose"):
        open_scans("arkitscenes", root)


def test_what_breaks_one_frame(tmp_path: Path) -> None:
    root = write_arkitscenes(tmp_path / "1_frames")
    pincam = root / "lowres_wide_intrinsics" / "1_6845.807.pincam"
    for text, message in (
        ("24 16 20 20 11.5", r"1_6845\.807\.pincam holds .*expected w h fx fy cx cy"),
        ("24 16 20 20 11.5 x", "value 6 is 'x'"),
        ("24 16 nan 20 11.5 7.5", "inf or nan"),
        ("24 16 -20 20 40 7.5", "centre|focal"),
        ("240 160 200 200 119.5 79.5", "colour image .* is 24x16, its camera is for 240x160"),
        ("1e9 1e9 20 20 11 7", "expected w h fx fy cx cy"),
        ("1 " * 9000, "bytes, expected six numbers"),
    ):
        pincam.write_text(text)
        (scan,) = open_scans("arkitscenes", root)
        scan.load(scan.names[0])
        with pytest.raises(BrokenFrame, match=message):
            scan.load(scan.names[1])
    pincam.unlink()
    (scan,) = open_scans("arkitscenes", root)
    with pytest.raises(BrokenFrame, match="has no file in lowres_wide_intrinsics of its time"):
        scan.load(scan.names[1])
    lines = (root / "lowres_wide.traj").read_text().splitlines()
    for values in ("0 nan 0 0 0 0", "0 0 0 0 inf 0", "0 0 0", "a b c d e f"):
        text = "\n".join([f"{lines[0].split()[0]} {values}", *lines[1:]])
        (root / "lowres_wide.traj").write_text(text)
        (scan,) = open_scans("arkitscenes", root)
        with pytest.raises(BrokenFrame, match=r"lowres_wide\.traj line 1: .*(inf|nan)"):
            scan.load(scan.names[0])
        scan.load(scan.names[2])


def test_what_stops_the_scan(tmp_path: Path) -> None:
    root = write_arkitscenes(tmp_path / "1_frames")
    (root / "lowres_wide" / "1_abc.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1_abc\.png has no time at the end of its name"):
        open_scans("arkitscenes", root)
    (root / "lowres_wide" / "1_abc.png").rename(root / "lowres_wide" / "2_6845.706.png")
    with pytest.raises(ValueError, match="is of the same time as"):
        open_scans("arkitscenes", root)
    (root / "lowres_wide" / "2_6845.706.png").unlink()
    (root / "lowres_wide.traj").unlink()
    with pytest.raises(FileNotFoundError, match=r"lowres_wide\.traj does not exist"):
        open_scans("arkitscenes", root)
    for path in (root / "lowres_depth").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"lowres_depth holds no \*\.png"):
        open_scans("arkitscenes", root)
