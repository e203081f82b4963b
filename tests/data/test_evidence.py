"""What a recording is known by: the same wherever it lies, another when anything in it changed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pcpt.data.frame import Scan
from pcpt.doctor.open_scan import open_scan
from pcpt.prepare import Settings, write_shards
from pcpt.prepare.convert import Job, prepare_scan, recording_digest
from tests.data import foreign_scans, tiny_scans
from tests.data.recordings import MemoryScan
from tests.data.sens_bytes import Sens


def sens(folder: Path) -> None:
    folder.mkdir()
    (folder / "scan.sens").write_bytes(Sens().bytes())


def shards(folder: Path) -> None:
    scan = MemoryScan("room", 2, [], [])
    prepare_scan(Job(scan, "room", folder.parent / "out", Settings("memory", doctor=False)))
    write_shards(folder.parent / "out", 1)
    (folder.parent / "out" / "shards").rename(folder)


TUM = ("intrinsics=[20,20,11.5,7.5]",)
# How to write a recording, options to read it with, and a file and what in it to replace.
RECORDINGS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str, bytes, bytes]] = {
    "seven_scenes": (tiny_scans.write_seven_scenes, (), "*4.pose.txt", b"2.5", b"2.6"),
    "hololens": (tiny_scans.write_hololens, (), "poses.txt", b"2.5", b"2.6"),
    "folder": (tiny_scans.write_folder, (), "scan.json", b"0.25", b"0.26"),
    "tum": (foreign_scans.write_tum, TUM, "groundtruth.txt", b"0.25", b"0.26"),
    "transforms": (foreign_scans.write_transforms, (), "transforms.json", b"0.25", b"0.26"),
    "redwood": (foreign_scans.write_redwood, (), "trajectory.log", b"0.25", b"0.26"),
    "arkitscenes": (foreign_scans.write_arkitscenes, (), "*intrinsics/*.8*", b"20.2", b"20.3"),
    "sunrgbd": (foreign_scans.write_sunrgbd, (), "intrinsics.txt", b"1.2", b"1.3"),
    "scannet_sens": (sens, (), "scan.sens", Sens().frame(1)[:64], Sens().frame(2)[:64]),
    "shards": (shards, (), "000000.tar", b"0.05", b"0.06"),
}


@pytest.mark.parametrize("source", RECORDINGS)
def test_where_it_lies_does_not_matter_and_what_it_holds_does(source: str, tmp_path: Path) -> None:
    write, options, file, old, new = RECORDINGS[source]
    write(tmp_path / "here")

    def digest(folder: str) -> str:
        return recording_digest(open_scan(tmp_path / folder, source, options))

    before = digest("here")
    (tmp_path / "deep").mkdir()
    shutil.move(tmp_path / "here", tmp_path / "deep" / "here")
    assert digest("deep/here") == before
    (path, *_) = (tmp_path / "deep" / "here").glob(file)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert digest("deep/here") != before


def seven_scenes(folder: Path, camera: str = "") -> Scan:
    return open_scan(folder, "seven_scenes", [f"color_camera={camera}"] if camera else [])


def test_images_and_cameras_of_seven_scenes(tmp_path: Path) -> None:
    folder = tiny_scans.write_seven_scenes(tmp_path / "a")
    seen = {recording_digest(seven_scenes(folder))}
    tiny_scans.write_depth(folder / "frame-000004.depth.png", seed=77)
    seen.add(recording_digest(seven_scenes(folder)))
    intrinsics = tiny_scans.INTRINSICS + np.diag([1, 1, 0])
    tiny_scans.write_matrix(folder / "camera-intrinsics.txt", intrinsics)
    seen.add(recording_digest(seven_scenes(folder)))
    camera = {"width": 24, "height": 16, "fx": 20, "fy": 20, "cx": 12, "cy": 8}
    for shift in (0.0, 0.02):
        values = camera | {"tx": shift, "ty": 0, "tz": 0}
        (tmp_path / "camera.json").write_text(json.dumps(values))
        seen.add(recording_digest(seven_scenes(folder, str(tmp_path / "camera.json"))))
    (folder / "gravity-direction.txt").unlink()
    seen.add(recording_digest(seven_scenes(folder)))
    assert len(seen) == 6


def test_a_source_of_ones_own_is_known_by_the_sizes_of_its_files(tmp_path: Path) -> None:
    scan = MemoryScan("room", 2, [], [])
    assert list(scan.evidence()) == []
    scan.folder = tmp_path
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "poses.bin").write_bytes(b"12345")
    assert list(scan.evidence()) == [["sub/poses.bin", 5]]
