"""JSON of others that no parser can follow is told by the name of its file, wherever it is read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.generate import generate_rooms
from pcpt.data.sources.seven_scenes import SevenScenes
from pcpt.engine.evaluation import read_metrics
from pcpt.students.pretrained import read_description, student_name
from pcpt.students.weights import read_safetensors
from tests.data.tiny_scans import write_seven_scenes

DEEP = b'{"a":' * 100_000


def seven_scenes(path: Path) -> None:
    scan = str(write_seven_scenes(path.parent / "scan"))
    SevenScenes(SevenScenes.Config(roots=[scan], color_camera=str(path))).open()


READERS: dict[str, Callable[[Path], object]] = {
    "camera.json": seven_scenes,
    "config.json": read_description,
    "student.json": student_name,
    "metrics.json": lambda path: read_metrics(path.parent),
    "rooms.json": lambda path: generate_rooms(path.parent, 1, RoomsConfig()),
    "weights.safetensors": read_safetensors,
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_nested_too_deeply(tmp_path: Path, name: str) -> None:
    head = len(DEEP).to_bytes(8, "little") if name.endswith("safetensors") else b""
    (tmp_path / name).write_bytes(head + DEEP)
    with pytest.raises(ValueError, match=name):
        READERS[name](tmp_path / name)
