"""Reading recordings: frames of a .sens file, against the way of ScanNet's published reader."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pcpt.benchmark.baselines.sens_bytes import load_all, read_depth
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.data.sens import SensReader, SensWriter
from pcpt.data.sens_format import SensHeader

BYTES = "byte by byte, as published"
WHOLE = "whole file, as published"
DISPARITY = 400.0  # a step of 1 cm at 2 m
FRAMES_A_SECOND = 200  # and core


def cases(settings: Settings) -> Iterator[Case]:
    """A generated recording: colour of 1296 x 968 as JPEG, depth of 640 x 480 as zlib."""
    with tempfile.TemporaryDirectory(prefix="pcpt-benchmark-") as folder:
        path = Path(folder) / "room.sens"
        color_size = (settings.size(968, 24), settings.size(1296, 32))
        depth_size = (settings.size(480, 12), settings.size(640, 16))
        write_recording(path, settings.size(40, 3), color_size, depth_size)
        yield _depth_case(path)
        yield _color_case(path)
        yield _open_case(path)


def write_recording(
    path: Path, count: int, color_size: tuple[int, int], depth_size: tuple[int, int]
) -> None:
    """Frames of a room corner seen by a turning camera. Depth has the steps, the noise and the
    holes of a structured-light sensor, so that zlib makes of it about what it makes of a real
    frame: 89 kB here, 81 kB for 7-Scenes' RedKitchen."""
    random = np.random.default_rng(0)
    matrix = np.eye(4)
    rows, columns = np.mgrid[: depth_size[0], : depth_size[1]] / depth_size[1] - 0.4
    with SensWriter(path, SensHeader(color_size, depth_size, matrix, matrix)) as writer:
        for index in range(count):
            slope = columns + 0.01 * index
            metres = np.minimum(2.5 / (1 + abs(slope)), 1.4 / np.maximum(rows + 0.45, 0.3))
            disparity = np.round(DISPARITY / metres + random.normal(size=depth_size) * 0.25)
            metres = DISPARITY / disparity
            metres[random.random(depth_size) < 0.01] = 0
            coarse = random.integers(60, 200, (color_size[0] // 8, color_size[1] // 8, 3))
            color = coarse.repeat(8, 0).repeat(8, 1)
            color = color + random.integers(-9, 10, color.shape)
            writer.add(color.astype(np.uint8), (metres * 1000).astype(np.uint16), matrix)


def _depth_case(path: Path) -> Case:
    reader = SensReader(path)
    size = reader.header.depth_size

    def published(number: int) -> np.ndarray:
        index = number % len(reader)
        return read_depth(path, reader.frame_offset(index), size)

    equal = all(
        np.array_equal(published(index), reader.depth_units(index)) for index in range(len(reader))
    )
    return Case(
        f"depth of {len(reader)} frames of {size[1]} x {size[0]} in turn",
        [
            Alternative("pcpt", lambda number: reader.depth_units(number % len(reader))),
            Alternative("pcpt, to metres", lambda number: reader.depth(number % len(reader))),
            Alternative(BYTES, published),
        ],
        {BYTES: Agreement("equal" if equal else "differs", equal)},
        units=1.0,
        unit="frames",
        goals=[Goal("frames a second", FRAMES_A_SECOND, lambda result: result.rate("pcpt"))],
        notes=["the published reader is told where the frame begins"],
        memory=False,
    )


def _color_case(path: Path) -> Case:
    reader = SensReader(path)
    height, width = reader.header.color_size
    return Case(
        f"colour of {len(reader)} frames of {width} x {height} in turn",
        [Alternative("pcpt", lambda number: reader.color(number % len(reader)))],
        units=1.0,
        unit="frames",
        memory=False,
    )


def _open_case(path: Path) -> Case:
    megabytes = path.stat().st_size / 1e6
    return Case(
        f"open a recording of {megabytes:.0f} MB and read the middle frame",
        [
            Alternative("pcpt", lambda number: _middle(path)),
            Alternative(WHOLE, lambda number: load_all(path), most=2),
        ],
        notes=["pcpt's memory does not grow with the file"],
    )


def _middle(path: Path) -> np.ndarray:
    reader = SensReader(path)
    return reader.depth_units(len(reader) // 2)


PART = Part("data", "frames of a .sens file, against the published reader's way", cases)
