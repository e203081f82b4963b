"""Same seed, same bytes; killed runs go on; splits; what is refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pcpt.cli import main
from pcpt.data.rooms import generate
from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.generate import generate_rooms, scene_name, write_splits
from tests.data.rooms.conftest import ROOMS, SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_bytes_with_two_processes(rooms_folder: Path, tmp_path: Path) -> None:
    generate_rooms(tmp_path, ROOMS, SMALL, jobs=2)
    first, second = contents(rooms_folder), contents(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_gives_another_room(rooms_folder: Path, tmp_path: Path) -> None:
    generate_rooms(tmp_path, 1, replace(SMALL, seed=6))
    name = "scans/scene0000_00/scene0000_00_vh_clean_2.ply"
    assert (rooms_folder / name).read_bytes() != (tmp_path / name).read_bytes()


def test_rooms_are_added_to_those_there_are(rooms_folder: Path, tmp_path: Path) -> None:
    assert generate_rooms(tmp_path, 1, SMALL) == 1
    assert generate_rooms(tmp_path, 1, SMALL) == 0
    assert generate_rooms(tmp_path, 2, SMALL) == 1
    here, there = contents(tmp_path / "scans"), contents(rooms_folder / "scans")
    assert here == {name: there[name] for name in here}


def test_splits_are_disjoint_and_whole(tmp_path: Path) -> None:
    names = [scene_name(number) for number in range(60)]
    for name in (*names, ".scene0060_00.part"):
        (tmp_path / "scans" / name).mkdir(parents=True)
    write_splits(tmp_path)
    lists = {
        split: (tmp_path / "splits" / f"{split}.txt").read_text().split()
        for split in ("train", "val", "test")
    }
    assert sorted(name for each in lists.values() for name in each) == names
    assert [len(each) for each in lists.values()] == [40, 10, 10]
    for each in lists.values():  # every split has all five kinds of rooms
        assert {names.index(name) % 5 for name in each} == set(range(5))


def test_a_failure_leaves_nothing_half_written(
    embree: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = generate.write_room

    def fails_late(config: RoomsConfig, number: int, folder: Path, name: str) -> None:
        real(config, number, folder, name)
        if number == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "write_room", fails_late)
    with pytest.raises(OSError, match="No space left"):
        generate_rooms(tmp_path, 2, SMALL)
    assert [path.name for path in (tmp_path / "scans").iterdir()] == ["scene0000_00"]


def test_a_killed_run_goes_on(rooms_folder: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pcpt.data.rooms.generate import generate_rooms; "
        "from tests.data.rooms.conftest import SMALL; "
        f"generate_rooms(Path({str(tmp_path)!r}), {ROOMS}, SMALL)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], env={**os.environ}
    )
    scans = tmp_path / "scans"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (scans / "scene0000_00").is_dir() and list(scans.glob(".scene*.part/*.sens*")):
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = sorted(path.name for path in scans.glob("scene*"))
    assert 1 <= len(left) < ROOMS
    assert generate_rooms(tmp_path, ROOMS, SMALL) == ROOMS - len(left)
    first, second = contents(rooms_folder), contents(tmp_path)
    assert first == second


def test_other_settings_need_another_folder(rooms_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"rooms\.json says"):
        generate_rooms(rooms_folder, 1, replace(SMALL, frames=5))


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'scans' and no rooms\.json.*by pcpt rooms"):
        generate_rooms(tmp_path, 1, SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["scans", "mine.txt"]


def test_rooms_with_label_images_of_the_first_version_are_refused(
    rooms_folder: Path, tmp_path: Path
) -> None:
    text = (rooms_folder / "rooms.json").read_text()
    (tmp_path / "rooms.json").write_text(text.replace('"version": 2', '"version": 1'))
    with pytest.raises(ValueError, match=r"rooms\.json says"):
        generate_rooms(tmp_path, 1, SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("frames", 0),
        ("depth_size", (0, 320)),
        ("color_size", (240, 5000)),
        ("spacing", 0.0),
        ("drift", -1.0),
        ("drift", float("nan")),
    ],
)
def test_bad_settings(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(SMALL, **{field: value})


def test_bad_counts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rooms is 0"):
        generate_rooms(tmp_path, 0, SMALL)
    with pytest.raises(ValueError, match="jobs is 0"):
        generate_rooms(tmp_path, 1, SMALL, jobs=0)


def test_the_command(
    rooms_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--rooms 1 --seed 5 --frames 4 --size 96 72 --spacing 0.05 --label-images"
    assert main(["rooms", str(tmp_path), *words.split()]) == 0
    assert "made 1 rooms" in capsys.readouterr().out
    here, there = contents(tmp_path / "scans"), contents(rooms_folder / "scans")
    assert here == {name: there[name] for name in here}
    assert main(["rooms", str(tmp_path), "--rooms", "1", "--seed", "4"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    with pytest.raises(ValueError, match=r"pcpt\[rooms\]"):
        generate_rooms(tmp_path, 1, SMALL)
    assert list((tmp_path / "scans").iterdir()) == []
