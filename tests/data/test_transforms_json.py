"""transforms.json: axes, intrinsics in all their forms, lenses, and what may be wrong with it."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pcpt.data.frame import BrokenFrame, Scan
from tests.data.foreign_scans import transforms_json, write_transforms
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose, write_color, write_depth


def open_one(folder: Path, description: dict[str, Any], **options: Any) -> Scan:
    (scan,) = open_scans("transforms", write_transforms(folder, description), **options)
    return scan


def test_order_names_and_world(tmp_path: Path) -> None:
    description = transforms_json()
    description["frames"].reverse()
    description["test_filenames"] = ["./images/frame_10.png"]
    scan = open_one(tmp_path / "a", description)
    assert list(scan.names) == ["frame_9", "frame_10", "frame_11"]  # digits as numbers
    assert scan.held_out == {"frame_10"}
    assert scan.up is not None and scan.up.tolist() == [0, 0, 1]


def test_an_opengl_camera_that_looks_at_a_known_point(tmp_path: Path) -> None:
    """At (0, 0, 5), looking along -z with y up: what is 2 m ahead and 1 m up lies at y = +1."""
    description = transforms_json(1)
    looking = np.eye(4)
    looking[2, 3] = 5.0
    description["frames"][0]["transform_matrix"] = looking.tolist()
    frame = open_one(tmp_path / "a", description).load("frame_9")
    uv, z = frame.color_camera.project(torch_points([[0.0, 0.2, 3.0]]))
    assert float(z[0]) == pytest.approx(2.0)
    assert uv[0].tolist() == pytest.approx([11.5, 7.5 - 20 * 0.1])  # up in the image


def torch_points(points: list[list[float]]) -> Any:
    import torch

    return torch.tensor(points)


def test_intrinsics_in_all_forms(tmp_path: Path) -> None:
    base = transforms_json()
    forms: dict[str, tuple[dict[str, Any], list[float]]] = {
        "angle": ({"camera_angle_x": 2 * math.atan(0.5 * WIDTH / 20)}, [20, 20, 11.5, 7.5]),
        "angles": (
            {"camera_angle_x": 1.0, "camera_angle_y": 2 * math.atan(0.5 * HEIGHT / 30)},
            [12 / math.tan(0.5), 30, 11.5, 7.5],
        ),
        "one": ({"fl_x": 21.0, "cx": 12.5}, [21, 21, 12, 7.5]),
    }
    for name, (keys, wanted) in forms.items():
        description = {"frames": base["frames"], **keys}
        matrix = open_one(tmp_path / name, description).load("frame_9").color_camera.intrinsics
        found = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
        assert np.allclose(found, wanted), name
    own = transforms_json()
    own["frames"][1].update({"fl_x": 25.0, "fl_y": 26.0})
    scan = open_one(tmp_path / "own", own)
    assert scan.load("frame_9").depth_camera.intrinsics[0, 0] == 20
    assert scan.load("frame_10").depth_camera.intrinsics.diag().tolist() == [25, 26, 1]
    whole = transforms_json()
    for frame in whole["frames"]:
        frame.update({key: whole[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")})
    for key in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
        del whole[key]
    scan = open_one(tmp_path / "whole", whole, pixel_center=0.0)
    matrix = scan.load("frame_11").color_camera.intrinsics
    assert np.allclose(matrix[:2, 2], INTRINSICS[:2, 2] + 0.5)


def test_depth_of_a_lower_resolution(tmp_path: Path) -> None:
    root = write_transforms(tmp_path / "a")
    for path in (root / "depths").iterdir():
        write_depth(path, HEIGHT // 2, WIDTH // 2)
    (scan,) = open_scans("transforms", root)
    frame = scan.load("frame_10")
    assert frame.depth.shape == (8, 12)
    for u, v in ((0, 0), (5, 3)):  # centres of the coarse pixels are between the fine ones
        coarse = np.linalg.inv(frame.depth_camera.intrinsics.numpy()) @ [u, v, 1]
        fine = np.linalg.inv(frame.color_camera.intrinsics.numpy()) @ [2 * u + 0.5, 2 * v + 0.5, 1]
        assert np.allclose(coarse, fine)
    write_depth(root / "depths" / "frame_9.png", HEIGHT, HEIGHT)
    write_depth(root / "depths" / "frame_10.png", HEIGHT, HEIGHT)
    with pytest.raises(ValueError, match="images are 24x16 but depth is 16x16"):
        open_scans("transforms", root)


def test_lens_is_undone(tmp_path: Path) -> None:
    """A pinhole image, distorted by OpenCV's model point by point, comes back."""
    coefficients = {"k1": 0.4, "k2": -0.1, "p1": 0.01, "p2": -0.005, "k3": 0.02}
    description = {**transforms_json(1), **coefficients}
    root = write_transforms(tmp_path / "a", description)
    (scan,) = open_scans("transforms", root)
    order = np.array([coefficients[key] for key in ("k1", "k2", "p1", "p2", "k3")])
    yy, xx = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    ideal = 128 + 60 * np.sin(xx / 4) + 50 * np.cos(yy / 3)
    seen = np.stack([xx.ravel(), yy.ravel()], 1)
    undone = cv2.undistortPoints(seen[:, None], INTRINSICS, order, P=INTRINSICS)[:, 0]
    distorted = 128 + 60 * np.sin(undone[:, 0] / 4) + 50 * np.cos(undone[:, 1] / 3)
    image = np.repeat(distorted.reshape(HEIGHT, WIDTH, 1), 3, 2)
    cv2.imwrite(str(root / "images" / "frame_9.png"), image.round().astype(np.uint8))
    frame = scan.load("frame_9")
    inside = frame.image[0, 2:-2, 2:-2].numpy().astype(float)
    assert np.abs(inside - ideal[2:-2, 2:-2]).mean() < 0.9
    assert np.abs(distorted.reshape(ideal.shape) - ideal)[2:-2, 2:-2].mean() > 1.9
    fisheye = {**transforms_json(1), "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k4": 0.01}
    fish = open_one(tmp_path / "fish", fisheye).load("frame_9")
    assert not np.array_equal(fish.image, write_color(tmp_path / "x.png").transpose(2, 0, 1))


def test_applied_transform_and_scale(tmp_path: Path) -> None:
    """Poses as nerfstudio leaves them, turned and scaled; depth is metric throughout."""
    applied = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0.5]])
    description = transforms_json()
    for frame in description["frames"]:
        matrix = np.vstack([applied, [0, 0, 0, 1]]) @ np.array(frame["transform_matrix"])
        matrix[:3, 3] *= 0.25
        frame["transform_matrix"] = matrix.tolist()
    description.update({"applied_transform": applied.tolist(), "applied_scale": 0.25})
    kept = open_one(tmp_path / "kept", description).load("frame_10").depth_camera.camera_to_world
    assert np.allclose(kept, np.vstack([applied, [0, 0, 0, 1]]) @ pose(1))
    scan = open_one(tmp_path / "undone", description, undo_applied_transform=True)
    assert np.allclose(scan.load("frame_10").depth_camera.camera_to_world, pose(1))
    description["applied_transform"] = (2 * applied).tolist()
    with pytest.raises(ValueError, match=r"applied_transform is .*a rotation and shift"):
        open_one(tmp_path / "wrong", description, undo_applied_transform=True)


def test_frames_without_depth_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    description = transforms_json()
    del description["frames"][1]["depth_file_path"]
    with caplog.at_level(logging.WARNING):
        scan = open_one(tmp_path / "a", description)
    assert list(scan.names) == ["frame_9", "frame_11"]
    assert "1 of 3 frames have no depth" in caplog.text
    for frame in description["frames"]:
        frame.pop("depth_file_path", None)
    with pytest.raises(ValueError, match="none of 3 frames has a depth_file_path"):
        open_one(tmp_path / "a", description)


def test_suffixes_and_equal_names(tmp_path: Path) -> None:
    description = transforms_json()
    for frame in description["frames"]:
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    assert open_one(tmp_path / "a", description).load("frame_10")
    description["frames"][1]["file_path"] = "other/frame_9.png"
    scan = open_one(tmp_path / "b", description)
    assert list(scan.names) == ["images_frame_9", "images_frame_11", "other_frame_9"]
    description["frames"][1]["file_path"] = "./images/frame_9"
    with pytest.raises(ValueError, match=r"file_path is .*a file no other frame names"):
        open_one(tmp_path / "c", description)


def test_names_with_a_dot_and_no_suffix(tmp_path: Path) -> None:
    description = transforms_json(2)
    for frame, time in zip(description["frames"], ("1.25", "1.50")):
        frame["file_path"] = f"images/frame_{time}"
    root = write_transforms(tmp_path / "a", description)
    for number, time in ((9, "1.25"), (10, "1.50")):
        (root / "images" / f"frame_{number}.png").rename(root / "images" / f"frame_{time}.png")
    (scan,) = open_scans("transforms", root)
    assert list(scan.names) == ["frame_1.25", "frame_1.50"]
    assert scan.load("frame_1.50")


def test_held_out_frames_however_they_are_spelt(tmp_path: Path) -> None:
    """A frame listed in another spelling, or wrongly, would be trained on without a word."""
    for index, file in enumerate(
        ("images/frame_10.png", "images/.//frame_10", "./images/frame_10.png")
    ):
        description = {**transforms_json(), "val_filenames": [file], "test_filenames": [file]}
        assert open_one(tmp_path / str(index), description).held_out == {"frame_10"}
    description["frames"][1]["depth_file_path"] = ""  # known, though it cannot be used
    assert not open_one(tmp_path / "without_depth", description).held_out
    description["val_filenames"] = ["images/frame_9.png", "images/frame_1.png"]
    with pytest.raises(
        ValueError, match=r"val_filenames\[1\] is .*frame_1\.png.*one of the frames"
    ):
        open_one(tmp_path / "unknown", description)


def test_sizes_as_floats(tmp_path: Path) -> None:
    description = {**transforms_json(), "w": float(WIDTH), "h": float(HEIGHT)}
    camera = open_one(tmp_path / "a", description).load("frame_9").color_camera
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)


def test_keys_of_instant_ngp(tmp_path: Path) -> None:
    """depth_path, and integer_depth_scale in metres a unit; the option wins over it."""
    description = {**transforms_json(), "integer_depth_scale": 1 / 4000}
    for frame in description["frames"]:
        frame["depth_path"] = frame.pop("depth_file_path")
    description["frames"][1]["fl_x"] = 21.0  # a camera of its own
    metres = write_depth(tmp_path / "x.png", seed=1)[0, 2] / 4000
    scan = open_one(tmp_path / "a", description)
    assert float(scan.load("frame_10").depth[0, 2]) == pytest.approx(metres)
    scan = open_one(tmp_path / "a", description, depth_scale=1000.0)
    assert float(scan.load("frame_10").depth[0, 2]) == pytest.approx(4 * metres)


def test_is_fisheye(tmp_path: Path) -> None:
    lens = {"k1": 0.1, "k2": -0.03, "k3": 0.01, "k4": 0.002}
    said = {**transforms_json(), **lens, "camera_model": "OPENCV_FISHEYE"}
    ngp = {**transforms_json(), **lens, "is_fisheye": True}
    del ngp["camera_model"]
    frame = open_one(tmp_path / "ngp", ngp).load("frame_9")
    assert np.array_equal(frame.image, open_one(tmp_path / "said", said).load("frame_9").image)
    ngp["is_fisheye"] = False
    for own in ngp["frames"]:
        own["is_fisheye"] = True
    own_frame = open_one(tmp_path / "own", ngp).load("frame_9")
    assert np.array_equal(frame.image, own_frame.image)


WRONG: list[tuple[str, Any, str]] = [
    ("frames", [], r"frames is \[\], expected a list"),
    ("frames", 3, "frames is 3"),
    ("fl_x", "20", r'fl_x is "20", expected a number'),
    ("fl_x", 0, "fl_x is 0, expected a number > 0"),
    ("fl_x", float("nan"), "fl_x is NaN"),
    ("fl_x", ..., "neither fl_x nor camera_angle_x"),
    ("cx", [1], r"cx is \[1\], expected a number"),
    ("cx", 4.0, "have their centre at"),
    ("cx", float("inf"), "inf or nan"),
    ("w", 2.5, r"w is 2\.5, expected a whole number"),
    ("w", 10**400, r"w is 1000*\.\.\., expected a whole number"),
    ("h", float("inf"), "h is Infinity, expected a whole number"),
    (
        "is_fisheye",
        True,
        r'camera_model is "OPENCV", expected OPENCV_FISHEYE, as is_fisheye is true',
    ),
    ("is_fisheye", 1, "is_fisheye is 1, expected true or false"),
    ("integer_depth_scale", 0, "integer_depth_scale is 0, expected a number > 0"),
    ("integer_depth_scale", 1e-320, "1 / integer_depth_scale is inf, expected units per metre"),
    ("w", 48, "w and h are 48x16, but images are 24x16"),
    ("camera_model", "EQUIRECTANGULAR", "camera_model is .*expected one of OPENCV"),
    ("camera_model", 3, "camera_model is 3"),
    ("k1", "x", "k1 is"),
    ("k4", 0.1, r"k4 is 0\.1, expected 0 or nothing with camera_model OPENCV"),
    ("k1", float("nan"), "lens coefficients"),
    ("applied_scale", 0, "applied_scale is 0"),
    ("val_filenames", "x", "val_filenames is"),
]


@pytest.mark.parametrize("key, value, message", WRONG, ids=lambda v: str(v)[:20])
def test_what_is_wrong_at_the_top(tmp_path: Path, key: str, value: Any, message: str) -> None:
    description = transforms_json()
    description[key] = value
    if value is ...:
        del description[key]
    with pytest.raises(ValueError, match=message) as caught:
        open_one(tmp_path / "a", description)
    assert str(tmp_path) in str(caught.value)


def test_paths_that_leave_the_folder(tmp_path: Path) -> None:
    for key in ("file_path", "depth_file_path"):
        for path in ("../a.png", "/etc/passwd", "images/../../a.png", "C:\\a.png", "a" * 300, ""):
            description = transforms_json()
            description["frames"][1][key] = path
            if (key, path) == ("depth_file_path", ""):
                continue  # no depth
            with pytest.raises(ValueError, match=rf"frames\[1\]\.{key} is"):
                open_one(tmp_path / "a", description)


def test_what_is_wrong_with_one_frame(tmp_path: Path) -> None:
    for key, value, message in (
        ("transform_matrix", [[1, 2], [3, 4]], r"frames\[1\]\.transform_matrix is .*4x4 numbers"),
        ("transform_matrix", ..., "transform_matrix is missing"),
        ("transform_matrix", (3 * np.eye(4)).tolist(), "last row|determinant"),
        ("transform_matrix", np.full((4, 4), np.nan).tolist(), "inf or nan"),
        ("fl_x", -3, r"frames\[1\]\.fl_x is -3"),
        ("w", 99, r"frames\[1\]: w and h are 99x16"),
        ("camera_model", "FOV", r"frames\[1\]\.camera_model"),
    ):
        description = transforms_json()
        description["frames"][1][key] = value
        if value is ...:
            del description["frames"][1][key]
        scan = open_one(tmp_path / "a", description)
        scan.load("frame_9")
        with pytest.raises(BrokenFrame, match=message):
            scan.load("frame_10")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"transforms\.json does not exist"):
        open_scans("transforms", tmp_path)
    (tmp_path / "metadata").write_text("{}")
    with pytest.raises(FileNotFoundError, match="Record3D"):
        open_scans("transforms", tmp_path)
    (tmp_path / "cameras.json").write_text(json.dumps(transforms_json()))
    with pytest.raises(ValueError, match="none of 3 colour images can be read"):
        open_scans("transforms", tmp_path, file="cameras.json")
