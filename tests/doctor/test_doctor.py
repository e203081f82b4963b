"""The doctor on scans made ill: the shipped office for what few frames tell, RedKitchen else.

``rate.py`` beside this file makes the whole confusion table.
"""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pcpt.cli import main
from pcpt.data.frame import BrokenFrame, Frame, LostPose, NoDepth, Scan
from pcpt.data.transforms import fit_view
from pcpt.doctor import VERDICTS, Diagnosis, examine, open_scan, write_doctor_report
from pcpt.doctor.agreement import agreement, frame_pairs
from pcpt.doctor.observations import MAX_FRAMES, WINDOW, observe, windows
from pcpt.doctor.pictures import fused
from pcpt.geometry.camera import Camera
from pcpt.view import load_cloud
from tests.data.labelled_images import write_labelled_scan
from tests.data.recordings import MemoryScan
from tests.doctor.corruptions import FAULTS, Altered, Cached


@pytest.fixture(scope="module")
def office_scan() -> Scan:
    return Cached(open_scan(Path(__file__).parents[2] / "examples" / "office"))


@pytest.fixture(scope="module")
def kitchen(shared_data: Path) -> Scan:
    folder = shared_data / "rgbd" / "redkitchen"
    scan = open_scan(folder, options=["data.source.color_camera=color_camera_estimated.json"])
    scan.names = list(scan.names)[:80]
    return Cached(scan)


@pytest.mark.parametrize(
    "fault", ["poses_inverted", "axes_opengl", "depth_scale", "intrinsics_size", "time_shift"]
)
def test_names_the_fault_of_the_office(office_scan: Scan, fault: str) -> None:
    found = examine(FAULTS[fault](office_scan, random.Random(f"{fault} 1")))
    assert found.diagnosis.verdict == fault
    assert found.diagnosis.remedy
    assert found.mended is not None
    # Mended, the scan is healthy as far as its geometry goes.
    agreement = found.diagnosis.evidence
    assert agreement["depth_agreement_mended"] > 2 * agreement["depth_agreement"]


def test_office_is_healthy(office_scan: Scan) -> None:
    found = examine(office_scan)
    assert found.diagnosis.healthy and found.diagnosis.remedy == {}
    assert found.diagnosis.evidence["frames"] == 24
    assert 0 < found.diagnosis.evidence["color"]["disagreement"] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_names_the_fault_of_the_kitchen(kitchen: Scan, fault: str) -> None:
    diagnosis = examine(FAULTS[fault](kitchen, random.Random(f"{fault} 0"))).diagnosis
    assert diagnosis.verdict == fault, diagnosis.to_json()


@pytest.mark.slow
def test_finds_the_color_camera(kitchen: Scan) -> None:
    """About as good as the one that was estimated with care and given with the data."""
    unregistered = FAULTS["color_unregistered"](kitchen, random.Random(0))
    found = examine(unregistered).diagnosis
    given = examine(kitchen).diagnosis.evidence["color"]["disagreement"]
    assert found.evidence["color"]["disagreement_mended"] < 1.15 * given
    camera = found.remedy["color_camera"]
    assert camera["width"] == 640 and abs(camera["fx"] / 525 - 1) < 0.03


def test_depth_factor_is_named(office_scan: Scan) -> None:
    frames = {name: office_scan.load(name) for name in office_scan.names}

    class Wrong(Cached):
        def __init__(self) -> None:
            self.name, self.names = "wrong", list(frames)

        def load(self, name: str):
            from dataclasses import replace

            return replace(frames[name], depth=frames[name].depth / 5)

    remedy = examine(Wrong()).diagnosis.remedy
    assert remedy["multiply_depth_by"] == 5.0 and remedy["multiply_depth_scale_by"] == 0.2


def test_poses_that_are_missing(office_scan: Scan) -> None:
    def without(place: int, frame):
        if place % 4 == 0:
            raise LostPose("pose x.txt: -inf")
        return frame

    names = list(office_scan.names)
    found = examine(Altered(office_scan, names, without)).diagnosis
    assert found.verdict == "tracking_lost"
    assert found.evidence["tracking"]["frames_without_pose"] == 6

    def none(place: int, frame):
        raise LostPose("pose x.txt: -inf")

    assert examine(Altered(office_scan, names, none)).diagnosis.verdict == "tracking_lost"


def test_frames_without_depth_are_counted(office_scan: Scan) -> None:
    def blind(place: int, frame):
        if place in (3, 4, 5):
            raise NoDepth("depth image x.png: nothing measured")
        return frame

    found = examine(Altered(office_scan, list(office_scan.names), blind)).diagnosis
    assert found.healthy
    assert found.evidence["frames_without_depth"] == 3
    assert found.evidence["frames_without_depth_names"] == office_scan.names[3:6]


@pytest.mark.parametrize("turn", [(-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)])
def test_a_color_camera_that_sees_no_depth(office_scan: Scan, turn: tuple[float, ...]) -> None:
    """It looks backwards, or stands far aside."""
    moved = torch.diag(torch.tensor([*turn, 1.0], dtype=torch.float64))
    moved[0, 3] = 50.0 if min(turn) > 0 else 0.0

    def aside(place: int, frame: Frame) -> Frame:
        pose = frame.color_camera.camera_to_world @ moved
        return replace(frame, color_camera=replace(frame.color_camera, camera_to_world=pose))

    found = examine(Altered(office_scan, list(office_scan.names), aside)).diagnosis
    assert found.verdict == "color_unregistered" and found.remedy
    assert found.evidence["color"] == "no depth pixel is seen by the colour camera"


def test_nothing_readable_is_an_error(office_scan: Scan) -> None:
    def none(place: int, frame):
        raise BrokenFrame("colour image x.png is damaged")

    with pytest.raises(ValueError, match=r"no two frames.*x\.png is damaged"):
        examine(Altered(office_scan, list(office_scan.names), none))


def test_intrinsics_that_the_reader_refuses(shared_data: Path, tmp_path: Path) -> None:
    """They are for another size, which shows before any image is compared."""
    source = shared_data / "rgbd" / "hololens"
    folder = tmp_path / "scan"
    folder.mkdir()
    for name in ("poses.txt", "frames.txt"):
        shutil.copy(source / name, folder)
    for name in ("images", "depth"):
        (folder / name).symlink_to(source / name)
    k = [float(word) for word in (source / "K.txt").read_text().split()]
    (folder / "K.txt").write_text(" ".join(str(2 * v if i < 6 else v) for i, v in enumerate(k)))
    found = examine(lambda: open_scan(folder)).diagnosis
    assert found.verdict == "intrinsics_size"
    mended = torch.tensor(found.remedy["intrinsics"])
    assert (mended - torch.tensor(k).reshape(3, 3)).abs().max() < 0.06 * 540


def test_camera_of_another_size(office: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    shutil.copytree(office, folder)
    scan = json.loads((folder / "scan.json").read_text())
    color = scan["color"]
    color["width"], color["height"] = 2 * color["width"], 2 * color["height"]
    for key in ("fx", "fy", "cx", "cy"):
        if key in color:
            color[key] *= 2
    if "intrinsics" in color:
        color["intrinsics"] = [[2 * v for v in row] for row in color["intrinsics"][:2]] + [
            [0, 0, 1]
        ]
    (folder / "scan.json").write_text(json.dumps(scan))
    found = examine(open_scan(folder)).diagnosis
    assert found.verdict == "intrinsics_size"
    assert found.remedy["multiply_intrinsics_by"] == [0.5, 0.5]


def test_command(office: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(office), "--json", "--report", str(tmp_path / "report")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "healthy" and set(found) == {"verdict", "evidence", "remedy"}
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.html", "cloud.png", "agreement.png"} <= names
    page = (tmp_path / "report" / "report.html").read_text()
    assert "healthy" in page and "data:image" in page

    folder = tmp_path / "ill"
    shutil.copytree(office, folder)
    scan = json.loads((folder / "scan.json").read_text())
    for frame in scan["frames"]:
        pose = torch.tensor(frame["camera_to_world"], dtype=torch.float64)
        frame["camera_to_world"] = torch.linalg.inv(pose).tolist()
    (folder / "scan.json").write_text(json.dumps(scan))
    assert main(["doctor", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "poses_inverted"
    assert main(["doctor", str(folder)]) == 1
    assert capsys.readouterr().out.startswith("poses_inverted: ")


def test_report_holds_the_estimated_camera(tmp_path: Path) -> None:
    from pcpt.doctor import Examination

    camera = {"width": 4, "height": 3, "fx": 5.0, "fy": 5.0, "cx": 2, "cy": 1, "tx": 0.0}
    found = Examination(Diagnosis("color_unregistered", {}, {"color_camera": camera}))
    write_doctor_report(tmp_path, "scan", found)
    assert json.loads((tmp_path / "color_camera.json").read_text()) == camera


def test_a_report_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    from pcpt.doctor import Examination

    own = tmp_path / "own"
    own.mkdir()
    (own / "color_camera.json").write_text("mine")
    write_doctor_report(own, "scan", Examination(Diagnosis("healthy")))
    assert (own / "color_camera.json").read_text() == "mine"  # there was no report

    folder = tmp_path / "report"
    camera = {"color_camera": {"width": 4}}
    write_doctor_report(folder, "scan", Examination(Diagnosis("color_unregistered", {}, camera)))
    for name in ("cloud.png", "agreement.png", "overlay_mended.png", "notes.txt"):
        (folder / name).write_text("")
    write_doctor_report(folder, "scan", Examination(Diagnosis("healthy")))
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "report.html"]


def zoomed(frame: Frame, factor: float) -> Frame:
    """The middle of both images, enlarged: what a lens of a longer focal length sees."""

    def middle(camera: Camera) -> tuple[int, int, int, int]:
        size = [round(side / factor) for side in (camera.height, camera.width)]
        return (camera.height - size[0]) // 2, (camera.width - size[1]) // 2, size[0], size[1]

    top, left, height, width = middle(frame.color_camera)
    image, color = fit_view(
        frame.image[:, top : top + height, left : left + width],
        frame.color_camera.cropped(top, left, height, width),
        (frame.color_camera.height, frame.color_camera.width),
    )
    top, left, height, width = middle(frame.depth_camera)
    camera = frame.depth_camera
    depth = F.interpolate(
        frame.depth[None, None, top : top + height, left : left + width],
        size=(camera.height, camera.width),
        mode="nearest-exact",
    )[0, 0]
    near = camera.cropped(top, left, height, width).resized(camera.height, camera.width)
    return replace(frame, image=image, color_camera=color, depth=depth, depth_camera=near)


@pytest.mark.parametrize("both", [False, True])
def test_a_lens_that_zooms_is_healthy(office_scan: Scan, both: bool) -> None:
    def zoom(place: int, frame: Frame) -> Frame:
        near = zoomed(frame, 1.0 if place < 2 else 1.3)
        return near if both else replace(frame, image=near.image, color_camera=near.color_camera)

    still = examine(office_scan).diagnosis.evidence
    found = examine(Altered(office_scan, list(office_scan.names), zoom)).diagnosis
    assert found.healthy, found.to_json()
    color = found.evidence["color"]
    assert color["camera"].startswith("not judged: intrinsics of frames differ by up to 30")
    assert color["disagreement"] < 1.2 * still["color"]["disagreement"]
    assert found.evidence["depth_agreement"] > 0.6 * still["depth_agreement"]
    assert "camera" not in still["color"]


def test_every_frame_is_carried_and_drawn_by_its_own_intrinsics() -> None:
    """Of a corner of two walls, z = 3 - |x - 0.5|."""
    scan = MemoryScan("corner", 8, [], [])
    zooming = Altered(scan, list(scan.names), lambda i, frame: zoomed(frame, 1 + 0.15 * i))
    observations = observe(zooming)
    x, _, z = fused(observations)[0].unbind(1)
    assert (z - (3 - (x - 0.5).abs())).abs().quantile(0.95) < 0.03
    first, second = frame_pairs(observations, (1, 2))
    assert agreement(observations, second, first).mean() > 0.95  # those that look closer


def test_opening(tmp_path: Path, office: Path, shared_data: Path) -> None:
    with pytest.raises(ValueError, match=r"no known layout fits.*--source"):
        open_scan(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_scan(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"(?s)evry.*takes.*every"):
        open_scan(office, options=["evry=2"])
    assert len(open_scan(office, options=["source.every=2"]).names) == 12
    assert len(open_scan(shared_data / "rgbd" / "hololens").names) == 55


def test_windows_cover_short_scans_and_sample_long_ones() -> None:
    assert windows(10) == [range(10)]
    long = windows(10_000)
    assert sum(map(len, long)) == MAX_FRAMES and all(len(part) == WINDOW for part in long)
    assert long[0].start == 0 and long[-1].stop == 10_000


def test_diagnosis_is_plain_json() -> None:
    found = Diagnosis("healthy", {"a": float("nan"), "b": [1.23456789, True], "c": {"d": "x"}})
    assert json.loads(found.to_json())["evidence"] == {
        "a": None, "b": [1.23457, True], "c": {"d": "x"}
    }  # fmt: skip
    assert found.text().splitlines()[0] == "healthy: " + VERDICTS["healthy"]
    with pytest.raises(ValueError, match="unknown verdict"):
        Diagnosis("ill")


def test_labelled_images_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_labelled_scan(tmp_path / "scans", "scene0000_00")
    scan = [str(tmp_path / "scans"), "--source", "scannet_images"]
    message = "holds labelled images, not posed frames; name another --source"
    assert main(["doctor", *scan]) == 2
    assert message in capsys.readouterr().err
    assert main(["visualize", *scan, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match=message):
        load_cloud(scan[0], "scannet_images")
