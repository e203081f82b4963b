"""What write_folder_scan writes is what the folder source reads, or else nothing at all."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pcpt.data.frame import Frame, Scan
from pcpt.data.names import file_stem
from pcpt.data.sources.folder import Folder
from pcpt.data.write_scan import write_folder_scan
from pcpt.geometry import Camera
from tests.data.tiny_scans import folder_json, pose, write_folder


def source_scan(folder: Path) -> Scan:
    return open_scan(write_folder(folder))


def open_scan(folder: Path) -> Scan:
    (scan,) = Folder(Folder.Config(roots=[str(folder)])).open()
    return scan


def frames_of(scan: Scan) -> Iterator[Frame]:
    return (scan.load(name) for name in scan.names)


def test_round_trip(tmp_path: Path) -> None:
    scan = source_scan(tmp_path / "a")
    path = write_folder_scan(
        tmp_path / "deep" / "b", "copy", frames_of(scan), up=scan.up, held_out=["f2"], note="mine"
    )
    copy = open_scan(path.parent)
    assert (copy.name, copy.names, copy.held_out) == ("copy", scan.names, {"f2"})
    assert torch.equal(copy.up, scan.up)
    for name in scan.names:
        one, other = scan.load(name), copy.load(name)
        assert torch.equal(one.image, other.image) and torch.equal(one.depth, other.depth)
        for first, second in (
            (one.color_camera, other.color_camera),
            (one.depth_camera, other.depth_camera),
        ):
            assert torch.equal(first.intrinsics, second.intrinsics)
            assert torch.allclose(first.camera_to_world, second.camera_to_world, atol=1e-12)
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["b"]
    lines = path.read_text().splitlines()
    assert len(lines) == 13 and json.loads(path.read_text())["note"] == "mine"


def test_one_camera_becomes_registered_depth_and_jpeg(tmp_path: Path) -> None:
    camera = Camera([[20.0, 0, 11.5], [0, 20, 7.5], [0, 0, 1]], 16, 24, torch.tensor(pose(1)))
    image = torch.full((3, 16, 24), 100, dtype=torch.uint8)
    frame = Frame("0", image, torch.full((16, 24), 1.5), camera, camera)
    path = write_folder_scan(tmp_path / "b", "b", [frame], jpeg_quality=90, depth_scale=5000)
    written = json.loads(path.read_text())
    assert written["depth"] == {"scale": 5000, "registered_to_color": True}
    assert written["frames"][0]["image"] == "color/0.jpg"
    again = open_scan(tmp_path / "b").load("0")
    assert torch.equal(again.depth, frame.depth) and torch.equal(again.image, frame.image)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    scan = source_scan(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError, match="b exists"):
        write_folder_scan(tmp_path / "b", "b", frames_of(scan))
    first = scan.load("f0")

    def interrupted() -> Iterator[Frame]:
        yield first
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder_scan(tmp_path / "c", "c", interrupted())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_refusals(tmp_path: Path) -> None:
    first = source_scan(tmp_path / "a").load("f0")
    second = replace(first, name="f1")
    wide = first.color_camera.resized(24, 64)
    image = torch.zeros(3, 24, 64, dtype=torch.uint8)
    moved = replace(first.color_camera, camera_to_world=torch.tensor(pose(3)))
    depth = first.depth.clone()
    depth[3, 3] = 70.0
    for frames, message in (
        ([], "no frames to write"),
        ([first, first], "frame f0 comes twice"),
        ([replace(first, name=" ")], r"name is ' ', expected a text that is not empty"),
        ([first, replace(second, image=image, color_camera=wide)], "frame f1: .*of 64x24 pixels"),
        ([first, replace(second, color_camera=moved)], "frame f1: the offset between both"),
        ([replace(first, depth=depth)], r"frame f0: depth spans .* to 70 m, expected 0 to 65\.5"),
        ([replace(first, depth=-first.depth)], "frame f0: depth spans"),
        ([replace(first, depth=first.depth * float("nan"))], "frame f0: depth spans"),
    ):
        with pytest.raises(ValueError, match=message):
            write_folder_scan(tmp_path / "b", "b", frames)
    with pytest.raises(ValueError, match="held_out names 'f7', which is no frame"):
        write_folder_scan(tmp_path / "b", "b", [first], held_out=["f7"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": " "}, "name is ' '"),
        ({"depth_scale": 0.0}, "depth_scale is 0.0"),
        ({"depth_scale": 1e-320}, "depth_scale is 1e-320"),
        ({"depth_scale": float("inf")}, "depth_scale is inf"),
        ({"up": [0, 0, 0]}, "up is .*not all 0"),
        ({"up": [0, 1]}, "up is .*three finite numbers"),
        ({"up": [0, float("nan"), 1]}, "up is .*three finite numbers"),
        ({"up": []}, "up is empty"),
    ],
)
def test_what_the_reader_refuses_is_refused_before_any_frame(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    def never() -> Iterator[Frame]:
        raise AssertionError("a frame was asked for")
        yield

    with pytest.raises(ValueError, match=message):
        write_folder_scan(tmp_path / "b", **{"name": "b", "frames": never(), **options})
    assert list(tmp_path.iterdir()) == []


def test_jpeg_of_an_image_full_of_detail(tmp_path: Path) -> None:
    """Pillow cannot optimize it; others keep the bytes that optimizing gives."""
    camera = Camera([[400.0, 0, 320], [0, 400, 240], [0, 0, 1]], 480, 640, torch.eye(4))
    noise = torch.randint(256, (3, 480, 640), generator=torch.Generator().manual_seed(0))
    depth = torch.ones(480, 640)
    frames = [
        Frame("noise", noise.to(torch.uint8), depth, camera, camera),
        Frame("flat", torch.full((3, 480, 640), 90, dtype=torch.uint8), depth, camera, camera),
    ]
    write_folder_scan(tmp_path / "b", "b", frames, jpeg_quality=90)
    assert len(open_scan(tmp_path / "b").names) == 2
    loaded = open_scan(tmp_path / "b").load("noise").image
    assert (loaded.float() - noise).abs().mean() < 10
    expected = io.BytesIO()
    pixels = frames[1].image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(expected, "JPEG", quality=90, subsampling=0, optimize=True)
    assert (tmp_path / "b" / "color" / "flat.jpg").read_bytes() == expected.getvalue()


def test_names_that_are_no_file_names(tmp_path: Path) -> None:
    """Names and their order stay; files are called by what every file system takes."""
    frame = source_scan(tmp_path / "a").load("f0")
    names = ["x 2", "Küche 1", "Kuche 1", "x_2", "x-2", "..", "é", "è", "x" * 300, "x" * 301]
    frames = [
        replace(frame, name=name, depth=torch.full_like(frame.depth, 1.0 + place))
        for place, name in enumerate(names)
    ]
    write_folder_scan(tmp_path / "b", "b", frames)
    copy = open_scan(tmp_path / "b")
    assert copy.names == names
    for place, name in enumerate(names):
        assert copy.load(name).depth.unique().tolist() == [1.0 + place]
    written = [path.relative_to(tmp_path / "b").as_posix() for path in tmp_path.rglob("b/*/*")]
    assert len(written) == 2 * len(names) and "depth/x_2.png" in written
    assert all(re.fullmatch(r"(color|depth)/\w[\w.-]{,119}\.png", path, re.A) for path in written)
    other = replace(frame, name=file_stem("x 2"))
    with pytest.raises(ValueError, match=r"frame x_2_\w+: its file .* would be another frame's"):
        write_folder_scan(tmp_path / "c", "c", [frames[0], other])


def test_intrinsics_that_differ_between_frames(tmp_path: Path) -> None:
    one, two = (source_scan(tmp_path / f"a{name}").load(name) for name in ("f0", "f1"))
    for kind in ("color", "depth"):
        camera = getattr(two, f"{kind}_camera")
        other = replace(camera, intrinsics=camera.intrinsics + torch.eye(3)[0].diag())
        changed = replace(two, **{f"{kind}_camera": other})
        path = write_folder_scan(tmp_path / kind, kind, [one, changed])
        frames = json.loads(path.read_text())["frames"]
        assert [f"{kind}_intrinsics" in frame for frame in frames] == [False, True]
        copy = open_scan(path.parent)
        for frame in (one, changed):
            for camera in ("color_camera", "depth_camera"):
                loaded = getattr(copy.load(frame.name), camera)
                assert torch.equal(loaded.intrinsics, getattr(frame, camera).intrinsics)
    registered = replace(one, image=one.image[:, :16, :24], color_camera=one.depth_camera)
    apart = replace(
        registered,
        name="f1",
        color_camera=replace(
            one.depth_camera, intrinsics=2 * torch.eye(3) - torch.eye(3)[2].diag()
        ),
    )
    with pytest.raises(ValueError, match="frame f1: colour and depth have different intrinsics"):
        write_folder_scan(tmp_path / "b", "b", [registered, apart])


def test_the_documented_example_is_valid(tmp_path: Path) -> None:
    """The scan.json in docs/data_layout.md, with the images it names."""
    page = Path(__file__).resolve().parents[2] / "docs" / "data_layout.md"
    example = page.read_text().split("```json\n")[1].split("```")[0]
    (tmp_path / "scan.json").write_text(example)
    scan = open_scan(tmp_path)
    assert len(scan.names) == len(json.loads(example)["frames"])
    assert set(json.loads(example)) >= set(folder_json())
