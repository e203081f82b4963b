"""Broken frames: counted, named once, summed up; a scan of nothing else is an error."""

import logging

import pytest

from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.skips import SkipLog, first_valid
from tests.data.recordings import MemoryScan


def test_each_broken_frame_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    skips = SkipLog()
    assert skips.summary() == "no broken frames" and skips.count == 0
    with caplog.at_level(logging.WARNING, logger="pcpt"):
        for _ in range(3):
            skips.add("a", BrokenFrame("depth/1.png: all pixels are 0"))
            skips.add("a", "pose/2.txt: nan")
            skips.add("b", "pose/2.txt: nan")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "depth/1.png" in caplog.text and caplog.text.count("of b: pose/2.txt") == 1
    assert skips.count == 3
    assert skips.summary() == "skipped 3 broken frames: 2 in a, 1 in b"
    assert skips.reasons[0] == "a: depth/1.png: all pixels are 0"


def test_first_valid_frame() -> None:
    skips = SkipLog()
    scan = MemoryScan("line", 4, broken=[0, 1], held_out=[])
    assert first_valid(scan, skips).name == "0002"
    assert skips.count == 2


@pytest.mark.parametrize("length", [0, 3])
def test_a_scan_with_none_left_is_an_error(length: int) -> None:
    scan = MemoryScan("line", length, broken=[0, 1, 2], held_out=[])
    with pytest.raises(ValueError, match=rf"scan line: none of its {length} frames") as caught:
        first_valid(scan)
    assert ("0000.png is cut short" in str(caught.value)) == (length > 0)


def test_a_scan_must_say_how_it_loads() -> None:
    class Incomplete(Scan):
        name = "incomplete"
        names = ()

    with pytest.raises(TypeError, match="load"):
        Incomplete()


def test_a_frame_of_wrong_shape_or_type_is_refused() -> None:
    frame = MemoryScan("line", 1, broken=[], held_out=[]).load("0000")
    parts = (frame.color_camera, frame.depth_camera)
    with pytest.raises(ValueError, match=r"frame 7: image is torch\.float32.*torch\.uint8"):
        Frame("7", frame.image.float(), frame.depth, *parts)
    with pytest.raises(
        ValueError, match=r"frame 7: depth is torch\.float32 \(47, 64\).*\(48, 64\)"
    ):
        Frame("7", frame.image, frame.depth[1:], *parts)
