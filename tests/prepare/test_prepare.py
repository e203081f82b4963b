"""Recordings become whole folder scans or none; killed runs continue; damage is named."""

import errno
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pcpt.cli import main
from pcpt.data.frame import Frame, Scan
from pcpt.data.sources.folder import Folder
from pcpt.data.sources.seven_scenes import SevenScenes
from pcpt.data.sources.shards import Shards
from pcpt.geometry.camera import Camera
from pcpt.prepare import Preparation, Settings, prepare_scans, verify
from pcpt.prepare.convert import Job, changed, prepare_scan
from pcpt.prepare.find import find_scans
from pcpt.prepare.names import name_below, safe_name
from pcpt.prepare.report import summary
from tests.data import tiny_scans
from tests.data.foreign_scans import write_tum
from tests.data.labelled_images import write_labelled_scan
from tests.data.recordings import MemoryScan
from tests.data.sens_bytes import Sens

QUICK = ["--no-doctor"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three 7-Scenes sequences of 3 frames."""
    for name in ("a", "b", "c"):
        tiny_scans.write_seven_scenes(tmp_path / "in" / name)
    return tmp_path / "in"


def run(source: str, path: Path, out: Path, *words: str) -> int:
    return main(["prepare", source, str(path), str(out), *QUICK, *words])


def content(folder: Path) -> dict[str, bytes]:
    """All files but those that hold times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("report.json", ".lock")
    }


def opened(out: Path, name: str) -> Scan:
    (scan,) = Folder(Folder.Config(roots=[str(out / name)])).open()
    return scan


def test_frames_are_those_of_the_source(recordings: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert run("seven_scenes", recordings, out) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["a", "b", "c"]
    for name in ("a", "b", "c"):
        config = SevenScenes.Config(roots=[str(recordings / name)])
        (before,) = SevenScenes(config).open()
        after = opened(out, name)
        assert list(after.names) == list(before.names)
        for frame in after.names:
            one, other = before.load(frame), after.load(frame)
            assert torch.equal(one.image, other.image) and torch.equal(one.depth, other.depth)
            for kind in ("color_camera", "depth_camera"):
                first, second = getattr(one, kind), getattr(other, kind)
                assert torch.allclose(first.intrinsics, second.intrinsics, atol=1e-12)
                assert torch.allclose(first.camera_to_world, second.camera_to_world, atol=1e-12)
    report = json.loads((out / "report.json").read_text())
    assert (report["scans"], report["frames"], report["errors"]) == (3, 9, {})
    assert report["bytes"] == sum(
        len(data) for name, data in content(out).items()
        if "/" in name and not name.endswith("prepared.json")
    )  # fmt: skip
    assert "3 (3 prepared)" in capsys.readouterr().out
    index = json.loads((out / "index.json").read_text())
    frames = {name: scan["frames"] for name, scan in index["scans"].items()}
    assert frames == dict.fromkeys("abc", 3)


def test_the_result_does_not_depend_on_the_number_of_jobs(recordings: Path, tmp_path: Path) -> None:
    for jobs in ("1", "2"):
        assert run("auto", recordings, tmp_path / jobs, "--jobs", jobs, "--jpeg", "90") == 0
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert "a/color/frame-000000.jpg" in content(tmp_path / "1")


def test_every_size_and_max_depth(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--every", "2", "--size", "8x12", "--max-depth", "3")
    assert run("seven_scenes", recordings, out, *words) == 0
    scan = opened(out, "a")
    assert list(scan.names) == ["frame-000000", "frame-000008"]
    frame = scan.load("frame-000008")
    assert frame.image.shape == (3, 8, 12) and frame.depth.shape == (8, 12)
    assert 0 < float(frame.depth.max()) <= 3
    (whole,) = SevenScenes(SevenScenes.Config(roots=[str(recordings / "a")])).open()
    before = whole.load("frame-000008")
    wanted = before.depth[1::2, 1::2]  # the pixel at or after the middle of each pair
    wanted = torch.where(wanted <= 3, wanted, 0.0)
    assert torch.equal(frame.depth, wanted)
    expected = before.color_camera.resized(8, 12).intrinsics
    assert torch.allclose(frame.color_camera.intrinsics, expected)


def test_images_are_not_enlarged() -> None:
    camera = Camera(torch.tensor(tiny_scans.INTRINSICS), 16, 24)
    image = torch.zeros(3, 16, 24, dtype=torch.uint8)
    frame = Frame("f", image, torch.ones(16, 24), camera, camera)
    larger = changed(frame, Settings("folder", size=(32, 20)))
    assert larger.image.shape == (3, 16, 24) and larger.depth.shape == (16, 24)
    assert larger.color_camera == camera
    wide = Camera(torch.tensor(tiny_scans.INTRINSICS), 32, 48)
    frame = Frame("f", torch.zeros(3, 32, 48, dtype=torch.uint8), frame.depth, wide, camera)
    smaller = changed(frame, Settings("folder", size=(20, 30)))
    assert smaller.image.shape == (3, 20, 30) and smaller.depth.shape == (16, 24)


def test_broken_frames_are_skipped_and_counted(recordings: Path, tmp_path: Path) -> None:
    (recordings / "a" / "frame-000000.depth.png").unlink()
    (recordings / "b" / "frame-000004.color.jpg").write_bytes(b"no picture")
    (recordings / "b" / "frame-000008.pose.txt").write_text("nan " * 16)
    Image.fromarray(np.full((16, 24), 9000, np.uint16)).save(
        recordings / "c" / "frame-000000.depth.png"
    )
    out = tmp_path / "out"
    assert run("seven_scenes", recordings, out, "--max-depth", "8") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["frames"] == 5
    assert report["skipped"] == {"all too far": 1, "damaged": 1, "file missing": 1, "no pose": 1}
    record = json.loads((out / "a" / "prepared.json").read_text())
    (skipped,) = record["skipped_frames"]
    assert skipped["name"] == "frame-000000" and "depth.png" in skipped["message"]


def test_held_out_marks_are_kept_and_may_be_broken(tmp_path: Path) -> None:
    description = tiny_scans.folder_json()
    description["frames"][0]["held_out"] = True
    folder = tiny_scans.write_folder(tmp_path / "in" / "x", description)
    (folder / "d" / "0.png").unlink()
    assert run("folder", tmp_path / "in", tmp_path / "out") == 0
    scan = opened(tmp_path / "out", "x_tiny")
    assert list(scan.names) == ["f1", "f2"] and scan.held_out == {"f2"}
    assert scan.up is not None and scan.up.tolist() == [0, -1, 0]


def test_a_killed_run_continues(recordings: Path, tmp_path: Path, capsys: Any) -> None:
    """A scan that is whole is kept, what was half-written goes, and the end is the same."""
    run("seven_scenes", recordings, tmp_path / "whole")
    out = tmp_path / "out"
    run("seven_scenes", recordings, out)
    (out / "index.json").unlink()
    shutil.rmtree(out / "b")  # not yet begun
    (out / "c").rename(out / ".c.12345.part")  # killed in the middle
    (out / "a" / "color" / "frame-000004.png").unlink()  # lost by the disk
    kept = (out / "a" / "scan.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run("seven_scenes", recordings, out) == 0
    assert content(out) == content(tmp_path / "whole")
    assert (out / "a" / "scan.json").stat().st_mtime_ns != kept
    modified = {name: (out / name).stat().st_mtime_ns for name in ("a", "b", "c")}
    capsys.readouterr()
    assert run("seven_scenes", recordings, out) == 0
    assert "3 (3 kept)" in capsys.readouterr().out
    assert {name: (out / name).stat().st_mtime_ns for name in "abc"} == modified


def test_other_settings_are_refused(recordings: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    assert run("seven_scenes", recordings, out) == 0
    before = content(out)
    assert run("seven_scenes", recordings, out, "--every", "2") == 2
    said = capsys.readouterr().err
    assert "every: 1 -> 2" in said and "another folder" in said
    (out / "settings.json").unlink()
    assert run("seven_scenes", recordings, out) == 2
    assert "not made by pcpt prepare" in capsys.readouterr().err
    assert {k: v for k, v in before.items() if k != "settings.json"} == content(out)


def test_another_recording_of_the_same_name_is_refused(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("seven_scenes", recordings / "a", out)
    shutil.rmtree(recordings / "a")
    tiny_scans.write_seven_scenes(recordings / "a", num_frames=5)
    assert run("seven_scenes", recordings / "a", out) == 1
    report = json.loads((out / "report.json").read_text())
    assert "another recording" in report["errors"]["a"]
    assert len(opened(out, "a").names) == 3


def test_a_full_disk_leaves_nothing_half_written(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    save = Image.Image.save

    def full(image: Image.Image, path: Any, *arguments: Any, **options: Any) -> None:
        if ".b." in str(path) and "depth" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(image, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    out = tmp_path / "out"
    assert run("seven_scenes", recordings, out) == 1
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["a", "c"]
    assert not list(out.glob(".*.part"))
    printed = capsys.readouterr().out
    assert "FAILED    b" in printed and "No space left" in printed and "frame-000000" in printed
    monkeypatch.undo()
    assert run("seven_scenes", recordings, out) == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["a", "b", "c"]


def test_a_full_disk_while_packing_keeps_whole_shards_alone(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    addfile, added = tarfile.TarFile.addfile, []

    def full(tar: tarfile.TarFile, info: tarfile.TarInfo, file: Any) -> None:
        added.append(info.name)
        if info.name.startswith("b/"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        addfile(tar, info, file)

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    out = tmp_path / "out"
    assert run("seven_scenes", recordings, out, "--shards", "0.005") == 1
    assert "No space left" in capsys.readouterr().err
    left = sorted(path.name for path in (out / "shards").iterdir())
    assert left == [f"{i:06d}.tar" for i in range(len(left))] and left
    assert len([name for name in added if name.startswith("b/")]) == 1
    monkeypatch.undo()
    (out / "shards" / ".000007.tar.999.part").write_bytes(b"of a run that was killed")
    assert run("seven_scenes", recordings, out, "--shards", "0.005") == 0
    assert not list((out / "shards").glob(".*"))
    assert verify(out) == []


def test_one_unreadable_recording_does_not_hide_the_others(tmp_path: Path) -> None:
    recordings = tmp_path / "in"
    for name in ("scene0000_00", "scene0001_00", "scene0002_00"):
        (recordings / name).mkdir(parents=True)
        data = Sens().bytes()
        data = data[:-200] if name == "scene0001_00" else data
        (recordings / name / f"{name}.sens").write_bytes(data)
    (recordings / "notes").mkdir()
    out = tmp_path / "out"
    assert run("scannet_sens", recordings, out) == 1
    report = json.loads((out / "report.json").read_text())
    assert report["scans"] == 2
    ((path, error),) = report["errors"].items()
    assert "scene0001_00" in path and "cut short" in error


def test_auto_takes_each_folder_by_its_layout(tmp_path: Path, capsys: Any) -> None:
    recordings = tmp_path / "in"
    tiny_scans.write_seven_scenes(recordings / "kinect" / "one")
    tiny_scans.write_hololens(recordings / "goggles")
    tiny_scans.write_folder(recordings / "mine")
    (recordings / "empty").mkdir()
    assert run("auto", recordings, tmp_path / "out") == 0
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert sorted(index["scans"]) == ["goggles", "kinect_one", "mine_tiny"]
    assert run("auto", recordings / "empty", tmp_path / "out2") == 2
    assert "no scan found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        *("../../evil", "/etc/evil", "..", "a/b", "", ".hidden"),
        *("shards", "index.json", "Report.json", "settings.json", ".lock"),
    ],
)
def test_scan_names_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    description = tiny_scans.folder_json() | {"name": name or " x "}
    tiny_scans.write_folder(tmp_path / "in", description)
    out = tmp_path / "below" / "out"
    assert run("folder", tmp_path / "in", out) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "in"]
    (written,) = [path for path in out.iterdir() if path.is_dir()]
    assert written.name == safe_name(name or " x ")
    assert {path.name for path in out.iterdir()} - {written.name} == {
        "index.json", "report.json", "settings.json", ".lock"
    }  # fmt: skip
    assert verify(out) == []
    assert written.parent == out and "/" not in written.name and written.name[0] != "."


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", "Küche 1", "\udce4"])
def test_frame_names_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    description = tiny_scans.folder_json()
    description["frames"][1]["name"] = name
    tiny_scans.write_folder(tmp_path / "in", description)
    out = tmp_path / "below" / "out"
    assert run("folder", tmp_path / "in", out, "--shards", "1") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "in"]
    assert len(list(out.rglob("*.png"))) == 6 and verify(out) == []
    names = [frame["name"] for frame in description["frames"]]
    for scan in (opened(out, "tiny"), *Shards(Shards.Config(roots=[str(out / "shards")])).open()):
        assert scan.names == names and scan.load(name).name == name


def test_a_recording_of_equal_frame_names_is_another(tmp_path: Path) -> None:
    for scene in ("chess", "fire"):
        tiny_scans.write_seven_scenes(tmp_path / scene / "seq-01")
    pose = tmp_path / "fire" / "seq-01" / "frame-000004.pose.txt"
    tiny_scans.write_matrix(pose, tiny_scans.pose(5))
    out = tmp_path / "out"
    assert run("seven_scenes", tmp_path / "chess", out) == 0
    before = content(out / "seq-01")
    assert run("seven_scenes", tmp_path / "fire", out) == 1
    report = json.loads((out / "report.json").read_text())
    assert "another recording" in report["errors"]["seq-01"]
    assert content(out / "seq-01") == before
    (tmp_path / "chess").rename(tmp_path / "elsewhere")
    assert run("seven_scenes", tmp_path / "elsewhere", out) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["scans_by_status"] == {"kept": 1}


def test_names_follow_the_path_alone() -> None:
    base = Path("/in")
    for folder, own, name in (
        ("/in/chess/seq-01", "seq-01", "chess_seq-01"),
        ("/in/chess/seq-01", "in_chess_seq-01", "chess_seq-01"),
        ("/in/scene0000_00", "scene0000_00", "scene0000_00"),
        ("/in", "scene0000_00", "scene0000_00"),
        ("/in", "in", "in"),
        ("/in/mine", "kitchen", "mine_kitchen"),
    ):
        assert name_below(base, Path(folder), own) == name
    long = [name_below(base, base / ("x" * 200) / end, end) for end in ("a", "b")]
    assert long[0] != long[1] and max(map(len, long)) <= 120


def scene_folder(root: Path) -> Path:
    """Scenes of sequences, as 7-Scenes has them."""
    for scene, count in (("chess", 2), ("fire", 1)):
        for number in range(1, count + 1):
            tiny_scans.write_seven_scenes(root / scene / f"seq-{number:02d}")
    return root


def index_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "index.json").read_text())


def test_names_do_not_depend_on_what_else_is_found(tmp_path: Path, capsys: Any) -> None:
    recordings, out = scene_folder(tmp_path / "in"), tmp_path / "out"
    broken = recordings / "fire" / "seq-01" / "camera-intrinsics.txt"
    text = broken.read_text()
    broken.unlink()
    assert run("seven_scenes", recordings, out) == 1
    assert sorted(index_of(out)["scans"]) == ["chess_seq-01", "chess_seq-02"]
    broken.write_text(text)
    assert run("seven_scenes", recordings, out) == 0
    names = ["chess_seq-01", "chess_seq-02", "fire_seq-01"]
    assert sorted(index_of(out)["scans"]) == names and index_of(out)["others"] == []
    for source, path in (("auto", recordings), ("seven_scenes", recordings / "*" / "seq-*")):
        assert run(source, path, tmp_path / source) == 0
        assert sorted(index_of(tmp_path / source)["scans"]) == names

    shutil.rmtree(recordings / "chess" / "seq-01")
    capsys.readouterr()
    assert run("seven_scenes", recordings, out) == 0
    assert "OTHER     chess_seq-01: of an earlier run" in capsys.readouterr().out
    assert index_of(out)["others"] == ["chess_seq-01"]
    assert json.loads((out / "report.json").read_text())["others"] == ["chess_seq-01"]
    broken.unlink()  # refused, but where it was
    assert run("seven_scenes", recordings, out) == 1
    assert index_of(out)["others"] == ["chess_seq-01"] and verify(out) == []


def test_scans_of_one_name_are_named_and_the_others_prepared(tmp_path: Path) -> None:
    recordings = tmp_path / "in"
    for name in ("a/b", "a_b", "c"):
        tiny_scans.write_seven_scenes(recordings / name)
    assert run("seven_scenes", recordings, tmp_path / "out") == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    ((name, error),) = report["errors"].items()
    assert name == "a_b" and f"{recordings / 'a' / 'b'} and {recordings / 'a_b'} would" in error
    assert sorted(index_of(tmp_path / "out")["scans"]) == ["c"]


def test_a_recording_without_what_it_is_recognised_by_is_named(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/c", "deep/d"):
        write_tum(tmp_path / "in" / name)
    for name in ("b", "deep/d"):
        (tmp_path / "in" / name / "groundtruth.txt").unlink()
    (tmp_path / "in" / "empty").mkdir()
    for path in ("in", "in/*"):  # the results may lie among the recordings
        for _ in range(2):
            words = ("intrinsics=[20,20,11.5,7.5]",)
            assert run("tum", tmp_path / path, tmp_path / "in" / "out", *words) == 1
            report = json.loads((tmp_path / "in" / "out" / "report.json").read_text())
            assert report["scans"] == 2 and len(report["errors"]) == 2
            for name in ("b", "deep/d"):
                assert "groundtruth.txt does not exist" in report["errors"][
                    str(tmp_path / "in" / name)
                ]  # fmt: skip


@pytest.mark.parametrize("source", ["folder", "auto"])
def test_prepared_scans_among_the_recordings_are_not_prepared_again(
    tmp_path: Path, source: str, capsys: Any
) -> None:
    recordings, out = tmp_path / "in", tmp_path / "in" / "out"
    for name in ("a", "b"):
        description = tiny_scans.folder_json() | {"name": name}
        tiny_scans.write_folder(recordings / name, description)
    (tmp_path / "far").mkdir()
    out.symlink_to(tmp_path / "far")
    for path in (recordings, recordings, recordings / "*"):
        assert run(source, path, out, "--shards", "1") == 0
        assert sorted(index_of(out)["scans"]) == ["a", "b"]
    assert json.loads((out / "report.json").read_text())["scans_by_status"] == {"kept": 2}
    capsys.readouterr()
    for path in (out, out / "a"):
        assert run(source, path, out) == 2
        assert f"all scans of {path} lie in {out}" in capsys.readouterr().err
    assert run(source, out / "a", tmp_path / "again") == 0


def test_paths_are_absolute(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have been started in another folder. Links keep the names that they have."""
    here = tmp_path / "[here]"  # no wildcard
    here.mkdir()
    recordings.rename(here / "in")
    (here / "in" / "a").rename(tmp_path / "far")
    (here / "in" / "a").symlink_to(tmp_path / "far")
    monkeypatch.chdir(here)
    for path in ("in", "in/*", "./in/../in/a"):
        found = find_scans("seven_scenes", path, ())
        assert found.scans
        for opened_path, scan in found.scans:
            assert opened_path.is_absolute()
            assert scan.folder is not None and scan.folder.is_absolute()
    assert list(find_scans("seven_scenes", "in", ()).named()) == ["a", "b", "c"]
    assert list(find_scans("seven_scenes", "in/*", ()).named()) == ["a", "b", "c"]


def test_parts_of_another_scan_are_left_alone(tmp_path: Path) -> None:
    for name in (".room.17.part", ".room.2.17.part"):
        (tmp_path / name).mkdir()
    job = Job(MemoryScan("room", 1, [], []), "room", tmp_path, Settings("memory", doctor=False))
    assert prepare_scan(job).status == "prepared"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".room.2.17.part", "room"]


def test_verify_names_what_was_damaged(recordings: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    run("seven_scenes", recordings, out, "--shards", "0.005")
    assert main(["prepare", "--verify", str(out)]) == 0
    shards = sorted((out / "shards").glob("*.tar"))
    assert len(shards) > 2
    image = out / "a" / "color" / "frame-000000.png"
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    (out / "b" / "depth" / "frame-000004.png").unlink()
    (out / "b" / "stranger.txt").write_text("")
    with (out / "c" / "scan.json").open("a") as file:
        file.write(" ")
    flipped = bytearray(shards[1].read_bytes())
    flipped[-2000] ^= 4
    shards[1].write_bytes(flipped)
    shards[2].unlink()
    capsys.readouterr()
    assert main(["prepare", "seven_scenes", str(recordings), str(out), "--verify"]) == 1
    said = capsys.readouterr().out
    assert f"{image}: its bytes have changed" in said
    assert "frame-000004.png: is missing" in said and "stranger.txt: was not written" in said
    assert "scan.json: has" in said
    assert f"{shards[1]}: its bytes have changed" in said and f"{shards[2]}: is missing" in said
    assert len(said.splitlines()) == 6


def test_verify_does_not_follow_records_out_of_the_folder(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("seven_scenes", recordings / "a", out)
    path = out / "a" / "prepared.json"
    record = json.loads(path.read_text())
    record["files"]["../../in/a/camera-intrinsics.txt"] = {"bytes": 1, "sha256": "x"}
    path.write_text(json.dumps(record))
    problems = verify(out)
    assert any("path inside the scan" in line for line in problems)


def test_ill_scans_are_named_with_their_remedy(tmp_path: Path, capsys: Any) -> None:
    scan = tiny_scans.write_seven_scenes(tmp_path / "in" / "sick", num_frames=40)
    for path in sorted(scan.glob("*.pose.txt"))[::4]:
        path.write_text("nan " * 16)
    tiny_scans.write_seven_scenes(tmp_path / "in" / "short", num_frames=1)
    words = ["prepare", "seven_scenes", str(tmp_path / "in")]
    assert main([*words, str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "ILL       sick: tracking_lost (PREPARED ALL THE SAME); remedy" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["ill"]["sick"]["remedy"]["frames_without_pose_are_skipped"]
    assert report["not_judged"] == ["short"]
    assert len(opened(tmp_path / "out", "sick").names) == 30
    assert main([*words, str(tmp_path / "healthy"), "--leave-out-ill"]) == 0
    assert "LEFT OUT" in capsys.readouterr().out
    assert not (tmp_path / "healthy" / "sick").exists()


def test_mistakes_are_told(recordings: Path, tmp_path: Path, capsys: Any) -> None:
    labelled = tmp_path / "labelled"
    write_labelled_scan(labelled, "scene0000_00")
    for words, said in (
        (["seven_scenes", str(tmp_path / "absent"), str(tmp_path / "o")], "does not exist"),
        (["seven_scene", str(recordings), str(tmp_path / "o")], "did you mean 'seven_scenes'"),
        (["seven_scenes", str(recordings), str(tmp_path / "o"), "depht_scale=3"], "depht_scale"),
        (["scannet_scenes", str(recordings), str(tmp_path / "o")], "root"),
        (["scannet_images", str(labelled), str(tmp_path / "o")], "labelled images, not the posed"),
        (["seven_scenes", str(recordings), str(tmp_path / "o"), "--every", "0"], "--every"),
    ):
        assert main(["prepare", *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("words", [("--shards", "0"), ("--shards", "nan"), ("--jobs", "0")])
def test_numbers_that_are_none_are_told_at_once(
    recordings: Path, tmp_path: Path, capsys: Any, words: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("seven_scenes", recordings, tmp_path / "o", *words)
    assert words[0] in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_two_runs_do_not_work_in_one_folder(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preparation = Preparation(Settings("seven_scenes", doctor=False), recordings, out)

    def meddle(_: object) -> None:
        with pytest.raises(ValueError, match="another pcpt prepare is at work"):
            prepare_scans(preparation)

    finished = prepare_scans(preparation, meddle)
    assert summary(finished)["scans"] == 3


def test_frames_are_not_gathered_in_memory(tmp_path: Path) -> None:
    """Peak memory is the same for 4 frames as for 40."""
    import tracemalloc

    peaks = []
    for count in (4, 40):
        folder = tiny_scans.write_seven_scenes(tmp_path / f"in{count}", num_frames=count)
        for path in folder.glob("*.color.jpg"):
            tiny_scans.write_color(path, 240, 320)
        for path in folder.glob("*.depth.png"):
            tiny_scans.write_depth(path, 240, 320)
        tiny_scans.write_matrix(
            folder / "camera-intrinsics.txt", np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
        )
        tracemalloc.start()
        assert run("seven_scenes", folder, tmp_path / f"out{count}") == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6
