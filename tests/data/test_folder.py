"""The neutral layout: what it gives, and what it says about all that can be wrong with it."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.frame import BrokenFrame, Scan
from pcpt.data.sources.folder import Folder
from tests.data.tiny_scans import (
    HEIGHT,
    INTRINSICS,
    WIDTH,
    folder_json,
    pose,
    write_color,
    write_folder,
    write_matrix,
)


def open_scan(folder: Path, **options: Any) -> Scan:
    (scan,) = Folder(Folder.Config(roots=[str(folder)], **options)).open()
    return scan


def test_registered() -> None:
    assert registry.get("datasets", "folder") is Folder
    assert {"folder", "seven_scenes", "hololens", "scannet_frames"} <= set(
        registry.list_names("datasets")
    )
    assert Folder.Config().name == "folder"


def test_a_frame_in_full(tmp_path: Path) -> None:
    scan = open_scan(write_folder(tmp_path))
    assert (scan.name, scan.names, scan.held_out) == ("tiny", ["f0", "f1", "f2"], {"f2"})
    assert scan.up is not None and scan.up.tolist() == [0, -1, 0]
    frame = scan.load("f1")
    assert frame.image.shape == (3, 24, 32) and frame.depth.shape == (HEIGHT, WIDTH)
    assert np.allclose(frame.depth_camera.intrinsics, INTRINSICS)
    assert frame.color_camera.intrinsics.tolist() == [[30, 0, 15.5], [0, 31, 11.5], [0, 0, 1]]
    # camera_to_world is the depth camera's; depth_to_color moves points by -25 mm along x, so the
    # colour camera stands 25 mm along the depth camera's x axis.
    assert np.allclose(frame.depth_camera.camera_to_world, pose(1))
    expected = pose(1)[:3, 3] + 0.025 * pose(1)[:3, 0]
    assert np.allclose(frame.color_camera.camera_to_world[:3, 3], expected)
    assert np.allclose(frame.color_camera.camera_to_world[:3, :3], pose(1)[:3, :3])


def test_projection_by_hand_through_both_cameras(tmp_path: Path) -> None:
    frame = open_scan(write_folder(tmp_path)).load("f2")
    points, pixel_index = frame.depth_camera.unproject(frame.depth)
    uv, z = frame.color_camera.project(points)
    row, column = np.divmod(pixel_index.numpy(), WIDTH)
    depth = frame.depth.numpy()[row, column].astype(float)
    x = (column - INTRINSICS[0, 2]) / INTRINSICS[0, 0] * depth
    y = (row - INTRINSICS[1, 2]) / INTRINSICS[1, 1] * depth
    assert np.allclose(z, depth, atol=1e-5)
    assert np.allclose(uv[:, 0], 30 * (x - 0.025) / depth + 15.5, atol=1e-3)
    assert np.allclose(uv[:, 1], 31 * y / depth + 11.5, atol=1e-3)


def test_registered_depth_is_the_same_camera(tmp_path: Path) -> None:
    description = folder_json()
    description["color"].update(width=WIDTH, height=HEIGHT)
    description["depth"] = {"registered_to_color": True, "scale": 500}
    del description["up"]
    write_folder(tmp_path, description)
    write_color(tmp_path / "rgb" / "0.png")
    scan = open_scan(tmp_path)
    frame = scan.load("f0")
    assert scan.up is None
    assert torch.equal(frame.color_camera.intrinsics, frame.depth_camera.intrinsics)
    assert torch.equal(frame.color_camera.camera_to_world, frame.depth_camera.camera_to_world)
    assert float(frame.depth[0, 2]) == 2.0  # 1000 units, 500 a metre


def test_intrinsics_of_one_frame(tmp_path: Path) -> None:
    description = folder_json()
    own = INTRINSICS + np.diag([2.0, 3.0, 0.0])
    description["frames"][0]["depth_intrinsics"] = own.tolist()
    description["frames"][1]["color_intrinsics"] = "K/1.txt"
    description["frames"][2]["color_intrinsics"] = "K/none.txt"
    write_folder(tmp_path, description)
    write_matrix(tmp_path / "K" / "1.txt", own)
    scan = open_scan(tmp_path)
    assert np.array_equal(scan.load("f0").depth_camera.intrinsics, own)
    assert scan.load("f0").color_camera.intrinsics[0, 0] == 30
    assert np.array_equal(scan.load("f1").color_camera.intrinsics, own)
    assert np.array_equal(scan.load("f1").depth_camera.intrinsics, INTRINSICS)
    with pytest.raises(
        BrokenFrame, match=r"frames\[2\]\.color_intrinsics: .*none\.txt does not exist"
    ):
        scan.load("f2")
    description["color"].update(width=WIDTH, height=HEIGHT)
    description["depth"] = {"registered_to_color": True}
    del description["frames"][0]["depth_intrinsics"], description["frames"][2]["color_intrinsics"]
    write_folder(tmp_path / "one", description)
    write_matrix(tmp_path / "one" / "K" / "1.txt", own)
    write_color(tmp_path / "one" / "rgb" / "1.png")
    frame = open_scan(tmp_path / "one").load("f1")
    assert np.array_equal(frame.color_camera.intrinsics, own)
    assert np.array_equal(frame.depth_camera.intrinsics, own)
    description["frames"][1]["depth_intrinsics"] = own.tolist()
    write_folder(tmp_path / "one", description)
    with pytest.raises(ValueError, match=r"frames\[1\]\.depth_intrinsics .*registered_to_color"):
        open_scan(tmp_path / "one")


def test_every_and_pose_files_and_globs(tmp_path: Path) -> None:
    description = folder_json()
    description["frames"][0]["camera_to_world"] = "poses/first.txt"
    write_folder(tmp_path / "a", description)
    write_matrix(tmp_path / "a" / "poses" / "first.txt", pose(7))
    (tmp_path / "a_note.txt").write_text("globs take folders only")
    scan = open_scan(tmp_path / "a*", every=2)
    assert scan.names == ["f0", "f2"] and scan.held_out == {"f2"}
    assert np.allclose(scan.load("f0").depth_camera.camera_to_world, pose(7))
    with pytest.raises(ValueError, match="every is 0"):
        open_scan(tmp_path / "a", every=0)


def test_slightly_non_orthonormal_poses_are_kept_as_they_are(tmp_path: Path) -> None:
    description = folder_json()
    matrix = pose(1)
    matrix[:3, :3] *= 0.9998
    description["frames"][1]["camera_to_world"] = matrix.tolist()
    frame = open_scan(write_folder(tmp_path, description)).load("f1")
    assert np.array_equal(frame.depth_camera.camera_to_world, matrix)


def broken_pose(value: Any) -> Any:
    def change(folder: Path, description: dict[str, Any]) -> None:
        matrix = pose(1).tolist()
        if isinstance(value, str):
            (folder / "p.txt").write_text(value)
            description["frames"][1]["camera_to_world"] = "p.txt"
        elif value is None:
            description["frames"][1]["camera_to_world"] = None
        else:
            matrix[0][0] = value
            description["frames"][1]["camera_to_world"] = matrix
        (folder / "scan.json").write_text(json.dumps(description))

    return change


def without(path: str) -> Any:
    return lambda folder, description: (folder / path).unlink()


BROKEN = {
    "nan": (broken_pose(float("nan")), r"scan\.json frames\[1\]\.camera_to_world.*inf or nan"),
    "inf": (broken_pose(float("-inf")), "inf or nan"),
    "lost": (broken_pose(None), "tracking lost"),
    "not a rotation": (broken_pose(3.0), r"frames\[1\].*determinant"),
    "pose words": (broken_pose("1 0 0 x"), r"p\.txt: value 4 is 'x'"),
    "pose short": (broken_pose("1 0 0"), r"p\.txt holds 3 numbers, expected 4x4"),
    "pose -inf": (broken_pose("-inf " * 16), r"p\.txt.*inf or nan"),
    "no image": (without("rgb/1.png"), r"colour image .*1\.png does not exist"),
    "no depth": (without("d/1.png"), r"depth image .*1\.png does not exist"),
    "image size": (lambda f, d: write_color(f / "rgb" / "1.png"), "is 24x16.*is for 32x24"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_frames_do_not_break_the_scan(tmp_path: Path, case: str) -> None:
    change, message = BROKEN[case]
    description = folder_json()
    write_folder(tmp_path, description)
    change(tmp_path, description)
    scan = open_scan(tmp_path)
    assert scan.names == ["f0", "f1", "f2"]
    scan.load("f0")
    with pytest.raises(BrokenFrame, match=message):
        scan.load("f1")


def wrong(path: str, value: Any) -> Any:
    """Sets, or with ... deletes, the value at a dotted path of scan.json."""

    def change(description: Any) -> None:
        *parents, last = [int(p) if p.isdecimal() else p for p in path.split(".")]
        for key in parents:
            description = description[key]
        if value is ...:
            del description[last]
        else:
            description[last] = value

    return change


WRONG = [
    ("version", ..., "version is missing"),
    ("version", 2, "version is 2, expected 1"),
    ("name", ..., "name is missing"),
    ("name", "", 'name is "", expected a text'),
    ("name", 7, "name is 7"),
    ("color", ..., "color is missing"),
    ("color", [1], r"color is \[1\], expected an object"),
    ("color.fx", ..., r"color\.fx is missing"),
    ("color.fx", "30", r'color\.fx is "30", expected a number'),
    ("color.fx", 10**400, r"color\.fx is 1000.*expected a number"),
    ("color.fx", 0, "color: .*focal lengths 0"),
    ("color.fx", float("nan"), "color: .*inf or nan"),
    ("color.width", ..., r"color\.width is missing"),
    ("color.width", 32.5, r"color\.width is 32\.5, expected a whole number"),
    ("color.height", True, r"color\.height is true"),
    ("color.intrinsics", INTRINSICS.tolist(), r"color\.intrinsics is both given"),
    ("depth", ..., "depth is missing"),
    ("depth.intrinsics", ..., r"depth\.intrinsics is missing; give .*registered_to_color"),
    ("depth.intrinsics", [1, 2], r"depth\.intrinsics is \[1, 2\], expected 3x3 numbers"),
    ("depth.scale", 0, r"depth\.scale is 0, expected a number > 0"),
    ("depth.scale", -1000, r"depth\.scale is -1000"),
    ("depth.scale", float("inf"), r"depth\.scale is Infinity"),
    ("depth.scale", 1e-320, r"scan\.json: depth\.scale is 1e-320, expected units per metre"),
    ("depth.scale", 1e300, r"depth\.scale is 1e\+300"),
    ("depth.registered_to_color", True, r"depth\.depth_to_color.*expected nothing"),
    ("depth.registered_to_color", 1, r"registered_to_color is 1, expected true or false"),
    ("depth.depth_to_color", np.zeros((4, 4)).tolist(), r"depth\.depth_to_color.*rigid motion"),
    ("depth.depth_to_color", (2 * np.eye(4)).tolist(), r"depth\.depth_to_color.*rigid motion"),
    ("up", [0, 0, 0], r"up is \[0.*not all 0"),
    ("up", [0, 1], r"up is \[0, 1\], expected 3 numbers"),
    ("frames", ..., "frames is missing"),
    ("frames", [], r"frames is \[\], expected a list of at least one frame"),
    ("frames.1", 5, r"frames\[1\] is 5, expected an object"),
    ("frames.1.image", ..., r"frames\[1\]\.image is missing"),
    ("frames.1.camera_to_world", ..., r"frames\[1\]\.camera_to_world is missing"),
    ("frames.1.camera_to_world", [1] * 16, r"frames\[1\]\.camera_to_world is .*4x4 numbers, row"),
    ("frames.1.held_out", "yes", r"frames\[1\]\.held_out is \"yes\", expected true or false"),
    ("frames.1.name", "f0", r"frames\[1\]\.name is \"f0\", expected a name that no earlier"),
    ("frames.1.image", "../rgb/1.png", r"frames\[1\]\.image is .*inside the scan's folder"),
    ("frames.1.image", "rgb/../../1.png", "inside the scan's folder"),
    ("frames.1.depth", "/tmp/1.png", r"frames\[1\]\.depth is .*inside the scan's folder"),
    ("frames.1.depth", "C:\\1.png", "inside the scan's folder"),
    ("frames.1.depth", "..\\1.png", "inside the scan's folder"),
    ("frames.1.camera_to_world", "../p.txt", "inside the scan's folder"),
    ("frams", [], "unknown key 'frams'; did you mean 'frames'"),
    ("depth.depth_scale", 1, r"unknown key 'depth\.depth_scale'; did you mean 'scale'"),
    ("frames.1.color_intrinsics", [1, 2], r"frames\[1\]\.color_intrinsics .*3x3 numbers"),
    ("frames.1.color_intrinsics", "../K.txt", "inside the scan's folder"),
    ("frames.1.heldout", True, r"unknown key 'frames\[1\]\.heldout'; did you mean 'held_out'"),
    ("color.zzz", 1, r"unknown key 'color\.zzz'; known are width"),
]


@pytest.mark.parametrize("path, value, message", WRONG, ids=lambda v: str(v)[:30])
def test_what_is_wrong_with_scan_json(tmp_path: Path, path: str, value: Any, message: str) -> None:
    description = folder_json()
    wrong(path, value)(description)
    write_folder(tmp_path, description)
    with pytest.raises(ValueError, match=message) as caught:
        open_scan(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"version": 1, "version": 1}', b"[]"]
)
def test_what_is_not_json(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "scan.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"scan\.json"):
        open_scan(tmp_path)


def test_roots(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="roots is empty"):
        Folder(Folder.Config()).open()
    with pytest.raises(FileNotFoundError, match=r"roots holds .*nowhere.*no folder"):
        open_scan(tmp_path / "nowhere*")
    with pytest.raises(FileNotFoundError, match=r"scan\.json does not exist"):
        open_scan(tmp_path)
    write_folder(tmp_path / "a")
    write_folder(tmp_path / "b")
    roots = [str(tmp_path / "a"), str(tmp_path / "[ab]")]
    with pytest.raises(ValueError, match=rf"name is 'tiny', as in {re.escape(roots[0])}"):
        Folder(Folder.Config(roots=roots)).open()
    with pytest.raises(ValueError, match="scan tiny has no frame 'f9'"):
        open_scan(tmp_path / "a").load("f9")


def test_a_folder_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    write_folder(tmp_path / "scan[1]")
    assert open_scan(tmp_path / "scan[1]").name == "tiny"


def test_random_damage_to_scan_json_never_escapes_as_another_error(tmp_path: Path) -> None:
    write_folder(tmp_path)
    text = (tmp_path / "scan.json").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(text)
        for position in random.integers(0, len(text), random.integers(1, 4)):
            damaged[position] = int(random.integers(32, 127))
        (tmp_path / "scan.json").write_bytes(bytes(damaged))
        try:
            scan = open_scan(tmp_path)
        except ValueError:
            refused += 1
            continue
        for name in scan.names:
            with contextlib.suppress(BrokenFrame):
                scan.load(name)
    assert 20 < refused < 150
