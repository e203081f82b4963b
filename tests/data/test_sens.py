"""SensReader on files written by struct alone, and SensWriter read back field by field."""

import os
import pickle
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from pcpt.data.frame import BrokenFrame
from pcpt.data.sens import SensReader, SensWriter
from pcpt.data.sens_format import SensHeader
from tests.data.sens_bytes import COLOR_HEIGHT, COLOR_WIDTH, LOST, Sens
from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose


def written(tmp_path: Path, sens: Sens | bytes) -> Path:
    path = tmp_path / "scene.sens"
    path.write_bytes(sens if isinstance(sens, bytes) else sens.bytes())
    return path


def test_header_and_frames(tmp_path: Path) -> None:
    sens = Sens(poses={1: LOST})
    reader = SensReader(written(tmp_path, sens))
    assert len(reader) == 3 and reader.num_imu_frames == 2
    header = reader.header
    assert header.sensor_name == "StructureSensor (calibrated)"
    assert (header.color_size, header.depth_size) == (
        (COLOR_HEIGHT, COLOR_WIDTH),
        (HEIGHT, WIDTH),
    )
    assert (header.color_compression, header.depth_compression) == ("jpeg", "zlib")
    assert header.depth_shift == 1000
    assert np.allclose(header.intrinsic_depth[:3, :3], INTRINSICS)
    assert np.allclose(header.intrinsic_color[0, :3], 2 * INTRINSICS[0])
    for index in (2, 0):  # any order
        assert np.allclose(reader.pose(index), pose(index))
        assert reader.times(index) == (1000 * index, 1000 * index + 7)
        units = sens.depth(index)
        np.testing.assert_array_equal(reader.depth_units(index), units)
        metres = np.where(units == 65535, 0, units / 1000)
        np.testing.assert_allclose(reader.depth(index), metres, rtol=1e-6)
        assert reader.depth(index).dtype == np.float32
        assert reader.color_bytes(index) == sens.images(index)[0]
        difference = reader.color(index).astype(int) - sens.color(index)
        assert abs(difference).mean() < 3
    assert np.isneginf(reader.pose(1)).all()


@pytest.mark.parametrize("color_code, depth_code", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_lossless_compressions(tmp_path: Path, color_code: int, depth_code: int) -> None:
    sens = Sens(color_code=color_code, depth_code=depth_code, shift=500.0, num_imu=0)
    reader = SensReader(written(tmp_path, sens))
    np.testing.assert_array_equal(reader.color(1), sens.color(1))
    np.testing.assert_array_equal(reader.depth_units(1), sens.depth(1))
    assert reader.depth(1)[0, 2] == 2.0


def test_every_prefix_is_refused_with_its_place(tmp_path: Path) -> None:
    whole = Sens(num_frames=2).bytes()
    path = tmp_path / "scene.sens"
    path.write_bytes(whole)
    longest = 0.0
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        start = time.perf_counter()
        with pytest.raises(ValueError, match=r"scene\.sens.* byte \d+") as caught:
            SensReader(path)
        longest = max(longest, time.perf_counter() - start)
        assert "cut short" in str(caught.value)
    assert longest < 1.0
    path.write_bytes(whole)
    assert len(SensReader(path)) == 2


HEADER = len(Sens().header())


@pytest.mark.parametrize(
    "sens, message",
    [
        (Sens(version=3), r"version at byte 0 is 3, expected 4"),
        (Sens(depth_code=2), r"depth compression is 'occi', expected raw, zlib"),
        (Sens(depth_code=-1), r"depth compression is 'unknown'"),
        (Sens(depth_code=9), r"depth compression is 'code 9'"),
        (Sens(color_code=-1), r"colour compression is 'unknown', expected raw, png, jpeg"),
        (Sens(color_size=(0, 48)), r"colour images are 48x0"),
        (Sens(depth_size=(2**31, 2**31)), r"depth images are 2147483648x2147483648, expected 1 to"),
        (Sens(shift=0.0), r"depth shift is 0\.0"),
        (Sens(shift=float("nan")), r"depth shift is nan"),
        (Sens(shift=1e-40), r"depth shift is .*e-41?, expected units per metre"),
        (Sens(announced=2**60), rf"{2**60} frames are announced at byte {HEADER - 8}, but"),
        (Sens(announced=2**64 - 1), r"frames are announced at byte"),
        (Sens(announced=4), r"(inside header of frame 3|frame 3 of 4 at byte)"),
    ],
)
def test_headers_that_lie(tmp_path: Path, sens: Sens, message: str) -> None:
    path = written(tmp_path, sens)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        SensReader(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "scene.sens" in str(caught.value)
    assert peak < 2 * path.stat().st_size + 200_000


def test_length_of_the_name_that_lies(tmp_path: Path) -> None:
    whole = Sens().bytes()
    for length in (2**20, 2**62, 2**64 - 1):
        path = written(tmp_path, whole[:4] + struct.pack("<Q", length) + whole[12:])
        with pytest.raises(ValueError, match=rf"byte 4 is announced with {length} bytes"):
            SensReader(path)


def test_lengths_of_images_that_lie(tmp_path: Path) -> None:
    whole = Sens().bytes()
    for at, length in ((80, 2**62), (88, 2**62), (88, len(whole)), (80, 2**64 - 1)):
        start = HEADER + at
        data = whole[:start] + struct.pack("<Q", length) + whole[start + 8 :]
        with pytest.raises(ValueError, match=rf"frame 0 of 3 at byte {HEADER} announces"):
            SensReader(written(tmp_path, data))
    whole = Sens(num_imu=0).bytes()
    with pytest.raises(ValueError, match=rf"IMU records .* byte {len(whole) - 8}"):
        SensReader(written(tmp_path, whole[:-8] + struct.pack("<Q", 2**60)))


def frame_with(depth: bytes, color: bytes | None = None) -> bytes:
    """A file of one frame whose stored images are given."""
    sens = Sens(num_frames=1)
    color = sens.images(0)[0] if color is None else color
    head = struct.pack("<16f", *np.eye(4).ravel()) + struct.pack("<QQ", 0, 0)
    head += struct.pack("<QQ", len(color), len(depth))
    return sens.header() + head + color + depth + sens.tail()


def test_broken_depth_is_one_broken_frame(tmp_path: Path) -> None:
    good = zlib.compress(Sens().depth(0).tobytes())
    size = HEIGHT * WIDTH * 2
    start = HEADER + 96 + len(Sens().images(0)[0])
    for depth, message in (
        (b"", "cannot hold"),
        (good[:-1], "is cut short"),
        (good[: len(good) // 2], "is cut short"),
        (b"\0" + good[1:], "is damaged"),
        (good[:-4] + b"abcd", "is damaged"),  # wrong checksum
        (zlib.compress(bytes(size - 2)), f"holds {size - 2} bytes, expected {size}"),
        (zlib.compress(bytes(size + 2)), f"holds more than {size} bytes, expected {size}"),
        (zlib.compress(bytes(10**8)), f"holds more than {size} bytes"),  # a bomb of 100 MB
    ):
        reader = SensReader(written(tmp_path, frame_with(depth)))
        tracemalloc.start()
        with pytest.raises(BrokenFrame, match=message) as caught:
            reader.depth(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert f"frame 0 at byte {start} of" in str(caught.value)
        assert "scene.sens" in str(caught.value)
        assert peak < 1_000_000
        reader.color(0)


def test_a_header_far_larger_than_its_data_allocates_nothing(tmp_path: Path) -> None:
    sens = Sens(num_frames=1, depth_size=(8000, 8000), color_size=(8000, 8000))
    reader = SensReader(written(tmp_path, sens))
    tracemalloc.start()
    with pytest.raises(BrokenFrame, match="cannot hold 128000000 bytes"):
        reader.depth(0)
    with pytest.raises(BrokenFrame, match="is 48x32, its camera is for 8000x8000"):
        reader.color(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_broken_colour_is_one_broken_frame(tmp_path: Path) -> None:
    good, depth = Sens().images(0)
    small = Sens(color_code=1).images(0)[0]
    for color, message in (
        (b"", "is not a readable PNG or JPEG"),
        (b"GIF89a" + good, "is not a readable PNG or JPEG"),
        (good[:-40], "is damaged"),
        (small[:40], "(is damaged|is not a readable)"),
    ):
        reader = SensReader(written(tmp_path, frame_with(depth, color)))
        with pytest.raises(BrokenFrame, match=rf"colour image of frame 0 at byte .*{message}"):
            reader.color(0)
        reader.depth(0)
    reader = SensReader(written(tmp_path, Sens(color_code=0, color_size=(9, 9))))
    with pytest.raises(BrokenFrame, match="expected 243 for the header's image size"):
        reader.color(0)


def test_indices_and_files(tmp_path: Path) -> None:
    reader = SensReader(written(tmp_path, Sens()))
    for index in (-1, 3):
        with pytest.raises(IndexError, match=rf"no frame {index}; it has 3"):
            reader.depth(index)
    with pytest.raises(FileNotFoundError, match=r"absent\.sens"):
        SensReader(tmp_path / "absent.sens")
    assert len(SensReader(written(tmp_path, Sens(num_frames=0)))) == 0


def test_a_file_that_shrinks_after_opening(tmp_path: Path) -> None:
    path = written(tmp_path, Sens())
    reader = SensReader(path)
    path.write_bytes(path.read_bytes()[: HEADER + 100])
    with pytest.raises(BrokenFrame, match="changed since it was opened"):
        reader.color(0)


def test_a_copy_in_another_process_reads_on(tmp_path: Path) -> None:
    reader = SensReader(written(tmp_path, Sens()))
    copy = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(copy.depth_units(2), reader.depth_units(2))


def test_memory_is_flat_in_the_length_of_the_file(tmp_path: Path) -> None:
    sens = Sens(color_code=0, depth_code=0)
    frame = sens.frame(0)
    peaks = []
    for count in (20, 2000):
        path = written(tmp_path, Sens(announced=count, num_frames=0).header())
        with path.open("ab") as file:
            for _ in range(count):
                file.write(frame)
            file.write(sens.tail())
        tracemalloc.start()
        reader = SensReader(path)
        assert len(reader) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2000 * 9 < path.stat().st_size / 500


@pytest.mark.parametrize("compressions", [("jpeg", "zlib"), ("raw", "raw"), ("png", "zlib")])
def test_the_writer_writes_what_the_description_says(
    tmp_path: Path, compressions: tuple[str, str]
) -> None:
    codes = {"raw": 0, "png": 1, "jpeg": 2}
    sens = Sens(
        color_code=codes[compressions[0]],
        depth_code=int(compressions[1] == "zlib"),
        num_imu=0,
        poses={0: LOST},
    )
    reader = SensReader(written(tmp_path, sens))
    path = tmp_path / "copy.sens"
    with SensWriter(path, reader.header) as writer:
        for index in range(3):
            color, _ = sens.images(index)
            if compressions[0] == "raw":
                color = sens.color(index)
            writer.add(color, sens.depth(index), sens.camera_to_world(index), *reader.times(index))
        assert not path.exists()
    data, expected = path.read_bytes(), sens.bytes()
    assert data[:HEADER] == expected[:HEADER]
    if compressions[1] == "raw":
        assert data == expected
    assert data.endswith(struct.pack("<Q", 0))
    copy = SensReader(path)
    for index in range(3):
        assert copy.pose(index).tobytes() == reader.pose(index).tobytes()
        np.testing.assert_array_equal(copy.depth_units(index), sens.depth(index))
        np.testing.assert_array_equal(copy.color(index), reader.color(index))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.sens", "scene.sens"]


def header(**changes: object) -> SensHeader:
    sens = Sens()
    return SensHeader(sens.color_size, sens.depth_size, np.eye(4), np.eye(4), **changes)  # type: ignore[arg-type]


def test_the_writer_encodes_colour_and_repeats_its_bytes(tmp_path: Path) -> None:
    sens = Sens()
    for name in ("a", "b"):
        with SensWriter(tmp_path / name, header(), jpeg_quality=95) as writer:
            writer.add(sens.color(0), sens.depth(0), np.eye(4))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    difference = SensReader(tmp_path / "a").color(0).astype(int) - sens.color(0)
    assert abs(difference).mean() < 3
    with SensWriter(tmp_path / "c", header(color_compression="png")) as writer:
        writer.add(sens.color(0), sens.depth(0), np.eye(4))
    np.testing.assert_array_equal(SensReader(tmp_path / "c").color(0), sens.color(0))


def test_the_writer_leaves_nothing_half_written(tmp_path: Path) -> None:
    sens = Sens()
    path = written(tmp_path, b"what was there")
    for color, depth, camera_to_world, message in (
        (sens.color(0)[:5], sens.depth(0), np.eye(4), "colour is uint8"),
        (sens.color(0), sens.depth(0).astype(float), np.eye(4), "depth is float64"),
        (sens.color(0), sens.depth(0), np.eye(3), r"camera_to_world is \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=message), SensWriter(path, header()) as writer:
            writer.add(sens.color(0), sens.depth(0), np.eye(4))
            writer.add(color, depth, camera_to_world)
    assert path.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["scene.sens"]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        SensWriter(tmp_path / "absent" / "a.sens", header())
    with pytest.raises(ValueError, match="expected 1 to"):
        SensHeader((0, 5), (1, 1), np.eye(4), np.eye(4))
    with pytest.raises(ValueError, match=r"intrinsic_color is \(3, 3\), expected \(4, 4\)"):
        SensHeader((1, 1), (1, 1), np.eye(3), np.eye(4))
