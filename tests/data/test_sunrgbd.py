"""SUN RGB-D: bits of depth, the vertical, boxes in VoteNet's terms, held-out lists."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.frame import BrokenFrame
from pcpt.data.scene import BrokenScene, SceneSet
from pcpt.data.scene_batch import collate_scenes
from pcpt.data.scene_dataset import LabelledScenes, SceneDataConfig
from pcpt.data.skips import SkipLog
from pcpt.data.sources.sunrgbd import SUNRGBD, SUNRGBDScenes, rotate_bits
from pcpt.data.sunrgbd_boxes import read_boxes
from pcpt.engine.whole_samples import whole_samples
from tests.data.foreign_scans import sunrgbd_object, write_sunrgbd
from tests.data.test_posed_sources import open_scans
from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH

CHAIR = sunrgbd_object("chair:occluded", (0.3, 2.0, -0.4), (0.5, 0.8, 1.1), 0.7)


def scenes(root: Path, split: str = "all", **options: Any) -> SceneSet:
    return SUNRGBDScenes(SUNRGBDScenes.Config(roots=[str(root)], split=split, **options)).open()


def test_registered() -> None:
    assert registry.get("datasets", "sunrgbd") is SUNRGBD
    assert registry.get("datasets", "sunrgbd_scenes") is SUNRGBDScenes


def test_bits() -> None:
    """All 16-bit values, against the toolbox's formula in unsigned 16-bit arithmetic."""
    stored = np.arange(1 << 16, dtype=np.uint16)
    wanted = (stored >> 3) | (stored << 13)
    found = rotate_bits(torch.arange(1 << 16, dtype=torch.int32)).numpy()
    assert np.array_equal(found, wanted)


def test_frame(tmp_path: Path) -> None:
    rotation = write_sunrgbd(tmp_path / "kv2" / "000103")
    (scan,) = open_scans("sunrgbd", tmp_path)
    assert scan.name == "000103" and list(scan.names) == ["000103"]
    frame = scan.load("000103")
    assert frame.depth[0, :3].tolist() == pytest.approx([0.0, 8.0, 8.0])  # capped
    assert float(frame.depth[5, 5]) == 2.0
    assert np.allclose(frame.depth_camera.intrinsics, INTRINSICS)
    # a point of the camera, turned level, then x right, y forward, z up
    point = np.array([0.1, 0.2, 2.0])
    level = rotation @ point
    world = frame.depth_camera.camera_to_world.numpy() @ [*point, 1]
    assert np.allclose(world[:3], [level[0], level[2], -level[1]])
    assert scan.up is not None and scan.up.tolist() == [0, 0, 1]
    (scan,) = open_scans("sunrgbd", tmp_path, max_depth=0.0, pixel_center=0.0)
    frame = scan.load("000103")
    assert frame.depth[0, :3].tolist() == pytest.approx([0.0, 9.0, 8.191])
    assert np.allclose(frame.depth_camera.intrinsics[:2, 2], INTRINSICS[:2, 2] + 1)


def test_boxes(tmp_path: Path) -> None:
    objects = [
        None,
        [],
        {"name": "wall", "polygon": [{}]},
        {"name": "bed", "polygon": []},
        CHAIR,
        sunrgbd_object("night_stand_:truncated", (-1.0, 3.0, 0.25), (0.4, 0.6, 0.5), -2.5),
        sunrgbd_object("night stand", (-1.0, 3.0, 0.25), (0.4, 0.6, 0.5), 3.0),
        sunrgbd_object("lamp", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0),
        sunrgbd_object("bed", (0.0, 0.0, 0.0), (0.0, 1.0, 1.0), 0.0),
    ]
    write_sunrgbd(tmp_path / "a", objects=objects)
    boxes = read_boxes(tmp_path / "a" / "annotation3Dfinal" / "index.json")
    assert boxes.labels.tolist() == [3, 7, 7]
    assert np.allclose(boxes.centers, [[0.3, 2.0, -0.4], [-1, 3, 0.25], [-1, 3, 0.25]], atol=1e-6)
    assert np.allclose(boxes.sizes, [[0.5, 0.8, 1.1], [0.4, 0.6, 0.5], [0.4, 0.6, 0.5]], atol=1e-6)
    assert np.allclose(boxes.headings, [0.7, -2.5, 3.0], atol=1e-6)
    assert len(read_boxes(tmp_path / "none.json")) == 0


def test_a_box_in_the_cloud(tmp_path: Path) -> None:
    """What a tilted camera sees of a known box lies inside the box that is read."""
    tilt = -0.4
    bed = sunrgbd_object("bed", (0.1, 2.5, -1.1), (1.2, 0.9, 0.6), 0.5)
    rotation = write_sunrgbd(tmp_path / "a", tilt=tilt, objects=[bed])
    (scan,) = open_scans("sunrgbd", tmp_path)
    camera = scan.load("a").depth_camera
    # points on the box, in the level world; seen from the camera, drawn into depth
    random = np.random.default_rng(0)
    local = random.uniform(-0.49, 0.49, (4000, 3)) * [1.2, 0.9, 0.6]
    turn = np.array([[np.cos(0.5), -np.sin(0.5), 0], [np.sin(0.5), np.cos(0.5), 0], [0, 0, 1]])
    world = local @ turn.T + [0.1, 2.5, -1.1]
    level = np.stack([world[:, 0], -world[:, 2], world[:, 1]], 1)
    seen = level @ rotation  # the inverse turn
    uv = (seen / seen[:, 2:]) @ INTRINSICS.T
    u, v = uv[:, 0].round().astype(int), uv[:, 1].round().astype(int)
    inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
    assert inside.sum() > 1000
    depth = np.zeros((HEIGHT, WIDTH), np.uint16)
    depth[v[inside], u[inside]] = (seen[inside, 2] * 1000).astype(np.uint16)
    stored = (depth << 3) | (depth >> 13)
    cv2.imwrite(str(tmp_path / "a" / "depth_bfx" / "0000103.png"), stored)
    scene = scenes(tmp_path).load("a")
    assert torch.equal(scene.points, camera.unproject(scan.load("a").depth)[0])
    assert scene.colors is not None and scene.colors.shape == scene.points.shape
    box = scene.boxes
    shifted = scene.points.double() - box.centers[0]
    cosine, sine = torch.cos(box.headings[0]), torch.sin(box.headings[0])
    along = shifted[:, 0] * cosine + shifted[:, 1] * sine
    across = shifted[:, 1] * cosine - shifted[:, 0] * sine
    reach = torch.stack([along, across, shifted[:, 2]], 1).abs() / (box.sizes[0] / 2)
    # the pixels are coarse: half a pixel at 3 m is 7 cm
    assert (reach < 1.35).all() and float((reach < 1).all(1).float().mean()) > 0.6
    assert scene.semantic.unique().tolist() == [-1]


def test_held_out_list(tmp_path: Path) -> None:
    for name in ("kv1/NYUdata/NYU0001", "kv2/kinect2data/000002"):
        write_sunrgbd(tmp_path / "SUNRGBD" / name)
    listed = tmp_path / "test.txt"
    listed.write_text("/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/\n\n")
    root = tmp_path / "SUNRGBD"
    scans = open_scans("sunrgbd", root, held_out=str(listed))
    assert [bool(scan.held_out) for scan in scans] == [True, False]
    test = scenes(root, "test", held_out=str(listed))
    assert list(test.names) == ["kv1_NYUdata_NYU0001"]
    assert test.load("kv1_NYUdata_NYU0001").split == "test"
    assert list(scenes(root, "train", held_out=str(listed)).names) == ["kv2_kinect2data_000002"]
    assert len(scenes(root, held_out=str(listed))) == 2
    assert [scan.name for scan in open_scans("sunrgbd", root, every=2)] == ["kv1_NYUdata_NYU0001"]
    with pytest.raises(ValueError, match="split 'test' is empty"):
        scenes(root, "test")
    with pytest.raises(ValueError, match=r"split.*val"):
        scenes(root, "val")
    listed.write_text("SUNRGBD/other\n")
    with pytest.raises(ValueError, match=r"test\.txt names none of 2 image folders"):
        open_scans("sunrgbd", root, held_out=str(listed))
    with pytest.raises(FileNotFoundError, match="held_out is"):
        open_scans("sunrgbd", root, held_out=str(tmp_path / "none.txt"))


def test_an_image_has_one_name_whatever_is_opened(tmp_path: Path) -> None:
    """Or a leak between a part of the data set and the whole would not be seen."""
    for name in ("kv1/NYUdata/NYU0001", "kv1/b3do/NYU0001", "kv2/align/a"):
        write_sunrgbd(tmp_path / "SUNRGBD" / name)
    whole = {scan.name for scan in open_scans("sunrgbd", tmp_path / "SUNRGBD")}
    part = {scan.name for scan in open_scans("sunrgbd", tmp_path / "SUNRGBD" / "kv2")}
    assert part == {"kv2_align_a"} and part < whole
    assert list(scenes(tmp_path / "SUNRGBD" / "kv1" / "NYUdata").names) == ["kv1_NYUdata_NYU0001"]


def test_a_byte_order_mark_does_not_free_the_first_image(tmp_path: Path) -> None:
    for name in "ab":
        write_sunrgbd(tmp_path / name)
    (tmp_path / "test.txt").write_text("a\nb\n", encoding="utf-8-sig")
    scans = open_scans("sunrgbd", tmp_path, held_out=str(tmp_path / "test.txt"))
    assert all(scan.held_out for scan in scans)


def test_a_line_that_fits_several_images_holds_out_all_of_them(tmp_path: Path) -> None:
    for name in ("a/kv1/NYU0001", "b/kv1/NYU0001", "b/kv1/NYU0002"):
        write_sunrgbd(tmp_path / name)
    (tmp_path / "test.txt").write_text("kv1/NYU0001\n")
    scans = open_scans("sunrgbd", tmp_path, held_out=str(tmp_path / "test.txt"))
    assert [bool(scan.held_out) for scan in scans] == [True, True, False]


def test_an_image_that_lies_in_two_roots_is_refused(tmp_path: Path) -> None:
    """One of the two would be lost among scenes, and a list could hold out only one."""
    for root in "ab":
        write_sunrgbd(tmp_path / root / "SUNRGBD" / "kv2" / "align" / "x")
    for opened in (lambda: open_scans("sunrgbd", tmp_path), lambda: scenes(tmp_path)):
        with pytest.raises(ValueError, match=r"a/SUN.*/x and .*b/SUN.*/x are both the image kv2_"):
            opened()


def test_a_broken_image_among_many_is_passed_over(tmp_path: Path) -> None:
    for name in "abc":
        write_sunrgbd(tmp_path / name)
    (tmp_path / "b" / "image" / "0000103.jpg").write_bytes(b"x")
    with pytest.raises(BrokenScene, match=r"sunrgbd scene b: .*not a readable"):
        scenes(tmp_path).load("b")
    source = registry.get("datasets", "sunrgbd_scenes").Config(roots=[str(tmp_path)])
    config = SceneDataConfig(source=source, splits={"train": {}, "val": {}}, crop_points=100)
    dataset = LabelledScenes(config, "val", 0)
    samples = [dataset[number] for number in range(3)]
    assert [s.names[0] for s in samples] == ["a", "c", "c"]
    assert [len(s.skipped) for s in samples] == [0, 1, 0] and samples[1].skipped[0][0] == "b"
    skips = SkipLog()
    owner = SimpleNamespace(collate=collate_scenes)
    found = whole_samples(dataset, owner, torch.device("cpu"), skips)
    assert [batch.names[0] for batch in found] == ["a", "c"] and skips.count == 1
    training = LabelledScenes(config, "train", 0)
    assert {training[n].names[0] for n in range(6)} == {"a", "c"}
    for name in "ac":
        (tmp_path / name / "image" / "0000103.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="none of the 3 scenes of split 'val' can be used"):
        LabelledScenes(config, "val", 0)[0]


BAD_OBJECTS = [
    (3, r"objects\[0\] is 3, expected an object"),
    ({"polygon": [{}]}, r"objects\[0\]\.name is missing"),
    ({"name": "bed", "polygon": 3}, r"objects\[0\]\.polygon is 3"),
    ({"name": "bed", "polygon": [3]}, r"objects\[0\]\.polygon\[0\] is 3"),
    ({"name": "bed", "polygon": [{"X": [1, 2]}]}, r"polygon\[0\]\.X is \[1, 2\], expected three"),
    ({"name": "bed", "polygon": [{"X": [1, 2, 3], "Z": [1]}]}, r"polygon\[0\]\.Z is \[1\]"),
    ({"name": "bed", "polygon": [{"X": [0, 1, 1], "Z": [0, 0, 1]}]}, "Ymin is missing"),
    (sunrgbd_object("bed", (float("nan"), 0, 0), (1, 1, 1), 0), "gives the box .*nan"),
    (sunrgbd_object("bed", (1e30, 0, 0), (1, 1, 1), 0), "gives the box"),
]


@pytest.mark.parametrize("value, message", BAD_OBJECTS, ids=lambda v: str(v)[:20])
def test_annotations_that_are_wrong(tmp_path: Path, value: Any, message: str) -> None:
    write_sunrgbd(tmp_path / "a", objects=[value])
    with pytest.raises(ValueError, match=rf"index\.json: .*{message}"):
        scenes(tmp_path).load("a")


def test_what_breaks_an_image(tmp_path: Path) -> None:
    write_sunrgbd(tmp_path / "a")
    root = tmp_path / "a"
    (extrinsics,) = sorted((root / "extrinsics").iterdir())[-1:]
    for file, text, message in (
        (root / "intrinsics.txt", "1 2 3", "holds 3 numbers"),
        (root / "intrinsics.txt", "500 0 320 0 500 240 0 0 1", "written for another size"),
        (root / "intrinsics.txt", "1 " * 40_000, "bytes, expected 3x3"),
        (extrinsics, "1 0 0", "holds 3 numbers, expected 3x4"),
        (extrinsics, "2 0 0 0 2 0 0 0 2", "determinant"),
        (extrinsics, "nan 0 0 0 1 0 0 0 1", "inf or nan"),
        (extrinsics, "1 " * 40_000, "bytes, expected 3x4"),
        (root / "depth_bfx" / "0000103.png", "x", "not a readable"),
        (root / "image" / "0000103.jpg", "x", "none of 1 colour images"),
    ):
        kept = file.read_bytes()
        file.write_text(text)
        (scan,) = open_scans("sunrgbd", tmp_path)
        with pytest.raises(BrokenFrame, match=message):
            scan.load("a")
        with pytest.raises(ValueError, match=rf"scene a: .*{message}"):
            scenes(tmp_path).load("a")
        file.write_bytes(kept)
    for name in (
        "depth_bfx/0000103.png",
        "image/0000103.jpg",
        *map(str, (root / "extrinsics").iterdir()),
    ):
        (root / name).unlink()
        (scan,) = open_scans("sunrgbd", tmp_path)
        with pytest.raises(BrokenFrame, match=r"holds no|tilt"):
            scan.load("a")
    (scan,) = open_scans("sunrgbd", tmp_path, depth="depth")
    with pytest.raises(BrokenFrame, match="image"):
        scan.load("a")


def test_options(tmp_path: Path) -> None:
    for options, message in (
        ({"depth": "raw"}, "depth.*raw"),
        ({"every": 0}, "every is 0"),
        ({"max_depth": -1.0}, "max_depth is -1"),
        ({"max_depth": float("nan")}, "max_depth is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            scenes(tmp_path, **options)
        with pytest.raises(ValueError, match=message):
            open_scans("sunrgbd", tmp_path, **options)
    with pytest.raises(ValueError, match=r"no folder with intrinsics\.txt and image/ below"):
        scenes(tmp_path)
    write_sunrgbd(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "annotation3Dfinal" / "index.json").read_text())
    with pytest.raises(ValueError, match="scan a has no frame 'b'"):
        open_scans("sunrgbd", tmp_path)[0].load("b")
    with pytest.raises(ValueError, match="no scene 'b'"):
        scenes(tmp_path).load("b")
