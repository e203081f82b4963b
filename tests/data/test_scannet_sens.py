"""The source scannet_sens on files written by struct alone, its export, and a run trained on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcpt import registry
from pcpt.cli import main
from pcpt.data.frame import BrokenFrame, Scan
from pcpt.data.sens import SensReader
from pcpt.data.sens_export import export_sens
from pcpt.data.skips import SkipLog
from tests.data.sens_bytes import COLOR_HEIGHT, COLOR_WIDTH, LOST, Sens
from tests.data.test_sens import HEADER
from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose


def write_scene(root: Path, name: str = "scene0000_00", sens: Sens | None = None) -> Path:
    path = root / name / f"{name}.sens"
    path.parent.mkdir(parents=True)
    path.write_bytes((sens or Sens()).bytes())
    return path


def open_scans(source: str, *roots: Path, **options: Any) -> list[Scan]:
    component = registry.get("datasets", source)
    return component(component.Config(roots=[str(root) for root in roots], **options)).open()


def test_frames(tmp_path: Path) -> None:
    sens = Sens(poses={2: LOST})
    path = write_scene(tmp_path, sens=sens)
    (scan,) = open_scans("scannet_sens", tmp_path, every=1)
    assert scan.name == "scene0000_00" and list(scan.names) == ["0", "1", "2"]
    assert scan.up is not None and scan.up.tolist() == [0, 0, 1]
    frame = scan.load("1")
    assert frame.image.shape == (3, COLOR_HEIGHT, COLOR_WIDTH)
    reader = SensReader(path)
    assert np.array_equal(frame.image.permute(1, 2, 0), reader.color(1))
    assert np.allclose(frame.depth, reader.depth(1)) and frame.depth[0, 2] == 1
    assert np.allclose(frame.depth_camera.camera_to_world, pose(1))
    assert np.allclose(frame.color_camera.camera_to_world, pose(1))
    assert np.allclose(frame.depth_camera.intrinsics, INTRINSICS)
    assert np.allclose(frame.color_camera.intrinsics[1], 2 * INTRINSICS[1])
    with pytest.raises(BrokenFrame, match=r"pose of frame 2 of .*\.sens.*tracking lost"):
        scan.load("2")
    for name in ("3", "-1", "x"):
        with pytest.raises(ValueError, match=f"has no frame '{name}'"):
            scan.load(name)


def test_extrinsics_put_the_colour_camera_in_its_place(tmp_path: Path) -> None:
    depth_to_color, color_to_base = np.eye(4), pose(2)
    depth_to_color[:3, 3] = [-0.025, 0.01, 0.0]
    # a depth point p is seen by the colour camera at depth_to_color p
    for number, (extrinsic_color, extrinsic_depth) in enumerate(
        [(np.eye(4), depth_to_color), (color_to_base, color_to_base @ depth_to_color)]
    ):
        sens = Sens(extrinsic_color=extrinsic_color, extrinsic_depth=extrinsic_depth)
        write_scene(tmp_path, f"scene{number}", sens)
        (scan,) = open_scans("scannet_sens", tmp_path / f"scene{number}")
        frame = scan.load("0")
        assert np.allclose(frame.depth_camera.camera_to_world, pose(0))
        expected = pose(0) @ np.linalg.inv(depth_to_color)
        assert np.allclose(frame.color_camera.camera_to_world, expected, atol=1e-6)
    for kind in ("color", "depth"):
        sens = Sens(**{f"extrinsic_{kind}": np.zeros((4, 4))})
        write_scene(tmp_path, kind, sens)
        with pytest.raises(ValueError, match=rf"extrinsic_{kind} of .*{kind}\.sens"):
            open_scans("scannet_sens", tmp_path / kind)


def test_roots_and_options(tmp_path: Path) -> None:
    first = write_scene(tmp_path / "scans", "scene0000_00")
    write_scene(tmp_path / "scans", "scene0001_00")
    write_scene(tmp_path / "scans", "scene0001_01")
    for roots in ((tmp_path / "scans",), (tmp_path / "scans" / "*",)):
        scans = open_scans("scannet_sens", *roots)
        assert [scan.name for scan in scans] == ["scene0000_00", "scene0001_00", "scene0001_01"]
    (scan,) = open_scans("scannet_sens", first, first.parent, every=2)
    assert list(scan.names) == ["0", "2"]
    assert len(open_scans("scannet_sens", tmp_path / "scans" / "*" / "*_00.sens")) == 2
    (scan,) = open_scans("scannet_sens", first, depth_scale=500.0)
    assert scan.load("0").depth[0, 2] == 2.0

    listed = tmp_path / "train.txt"
    listed.write_text("scene0001_01\n\nscene0707_00\n")
    scans = open_scans("scannet_sens", tmp_path / "scans", scan_list=str(listed))
    assert [scan.name for scan in scans] == ["scene0001_01"]
    for text, message in (
        ("scene0707_00", "none of the .sens files in roots is named"),
        ("", "is empty"),
        ("scene0001_01\n../../etc/passwd", r"train\.txt line 2: '../../etc/passwd' is no scan"),
        ("scene0001_01\n\nscene0001_01", "line 3: scene0001_01 is on line 1"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            open_scans("scannet_sens", tmp_path / "scans", scan_list=str(listed))
    with pytest.raises(FileNotFoundError, match="absent"):
        open_scans("scannet_sens", first, scan_list=str(tmp_path / "absent"))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="roots is empty"):
        open_scans("scannet_sens")
    with pytest.raises(FileNotFoundError, match=r"nowhere.*matches no folder or \.sens file"):
        open_scans("scannet_sens", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no \.sens file in .*empty"):
        open_scans("scannet_sens", tmp_path / "empty")
    path = write_scene(tmp_path / "a")
    write_scene(tmp_path / "b")
    with pytest.raises(ValueError, match=r"have one name"):
        open_scans("scannet_sens", tmp_path / "a", tmp_path / "b")
    for options in ({"every": 0}, {"depth_scale": -1.0}, {"up": [0.0, 0.0, 0.0]}):
        with pytest.raises(ValueError, match=next(iter(options))):
            open_scans("scannet_sens", path, **options)
    for sens, message in (
        (Sens(num_frames=0), "holds no frames"),
        (Sens(color_size=(9, 9)), r"intrinsic_color of .*another size"),
        (Sens(depth_code=2), "'occi'"),
    ):
        path.write_bytes(sens.bytes())
        with pytest.raises(ValueError, match=message):
            open_scans("scannet_sens", path)
    sens = Sens(depth_code=0)
    data = bytearray(sens.bytes())
    start = HEADER + 96 + len(sens.images(0)[0])
    data[start : start + HEIGHT * WIDTH * 2] = bytes(HEIGHT * WIDTH * 2)
    path.write_bytes(data)
    (scan,) = open_scans("scannet_sens", path)
    with pytest.raises(BrokenFrame, match=r"depth image of frame 0 of .*nothing measured"):
        scan.load("0")


def test_export_is_read_back_the_same(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "in", sens=Sens(num_frames=5, poses={2: LOST}))
    out = tmp_path / "out" / "scene0000_00"
    out.parent.mkdir()
    assert export_sens(SensReader(path), out, every=2) == 3
    (direct,) = open_scans("scannet_sens", path, every=2)
    (exported,) = open_scans("scannet_frames", out, every=1)
    assert list(exported.names) == list(direct.names) == ["0", "2", "4"]
    for name in ("0", "4"):
        ours, theirs = direct.load(name), exported.load(name)
        assert ours.image.equal(theirs.image) and ours.depth.equal(theirs.depth)
        for camera in ("color_camera", "depth_camera"):
            a, b = getattr(ours, camera), getattr(theirs, camera)
            assert a.intrinsics.float().equal(b.intrinsics.float())
            assert a.camera_to_world.float().equal(b.camera_to_world.float())
    with pytest.raises(BrokenFrame, match="tracking lost"):
        exported.load("2")
    assert (out / "color" / "4.jpg").read_bytes() == SensReader(path).color_bytes(4)
    with pytest.raises(FileExistsError, match="is not overwritten"):
        export_sens(SensReader(path), out)


def test_export_with_extrinsics_png_and_another_depth_shift(tmp_path: Path) -> None:
    extrinsic = np.eye(4)
    extrinsic[0, 3] = -0.025
    sens = Sens(color_code=1, shift=5000.0, extrinsic_depth=extrinsic)
    path = write_scene(tmp_path, sens=sens)
    assert export_sens(SensReader(path), tmp_path / "out") == 3
    (direct,) = open_scans("scannet_sens", path, every=1)
    (exported,) = open_scans("scannet_frames", tmp_path / "out", every=1)
    ours, theirs = direct.load("1"), exported.load("1")
    assert ours.image.equal(theirs.image)
    cameras = [frame.color_camera.camera_to_world for frame in (ours, theirs)]
    assert np.allclose(cameras[0], cameras[1], atol=1e-6)
    assert not ours.color_camera.camera_to_world.equal(ours.depth_camera.camera_to_world)
    assert float((ours.depth - theirs.depth).abs().max()) <= 0.0005001


def test_export_leaves_damaged_frames_out(tmp_path: Path) -> None:
    sens = Sens()
    data = bytearray(sens.bytes())
    at = HEADER + 96 + len(sens.images(0)[0])  # depth of the first frame
    data[at : at + 4] = b"xxxx"
    path = tmp_path / "a.sens"
    path.write_bytes(data)
    skips = SkipLog()
    assert export_sens(SensReader(path), tmp_path / "out", skips=skips) == 2
    assert skips.count == 1 and "frame 0 at byte" in skips.reasons[0]
    assert sorted(file.name for file in (tmp_path / "out" / "color").iterdir()) == [
        "1.jpg",
        "2.jpg",
    ]
    path.write_bytes(Sens(num_frames=0).bytes())
    with pytest.raises(ValueError, match="no frame can be exported"):
        export_sens(SensReader(path), tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sens", "out"]


def test_five_steps_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PPKT recipe for ScanNet with its source exchanged, on a tiny recording."""
    write_scene(tmp_path / "scans", sens=Sens(num_frames=8, poses={3: LOST}))
    overrides = [
        f"run={tmp_path / 'run'}",
        "data.source.name=scannet_sens",
        f"data.source.roots=[{tmp_path / 'scans'}]",
        "data.source.every=1",
        "data.image_size=[32,48]",
        "teacher.name=random",
        "student.planes=[8,8,8,8,8,8,8,8]",
        "student.stem_channels=8",
        "student.out_channels=8",
        "student.voxel_size=0.05",
        "optim.lr=0.01",
        "train.steps=5",
        "train.batch_size=2",
        "train.workers=0",
        "train.log_every=1",
        "train.amp='off'",
        "method.pairs=64",
    ]
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    assert main(["train", "configs/pretrain/ppkt_scannet.yaml", *overrides]) == 0
    records = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line) for line in records if "loss" in json.loads(line)]
    assert losses[-1]["step"] == 5 and all(np.isfinite(record["loss"]) for record in losses)
