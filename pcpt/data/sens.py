"""ScanNet's .sens recordings: reads single frames without loading the file, and writes them.

The published reader (SensorData.py) is for Python 2 and keeps the whole file in memory; this one
keeps eight bytes a frame. No original recording was at hand: the reader was checked on files
written by tests from the description of the format alone.
"""

import io
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from pcpt.data.frame import BrokenFrame
from pcpt.data.images import SATURATED, decode_color
from pcpt.data.sens_format import (
    COUNT,
    FRAME,
    FRAME_SIZES,
    IMU_BYTES,
    SensHeader,
    pack_header,
    read_header,
    take,
)

# deflate stores at most 258 bytes in two bits
MAX_DEFLATE_RATIO = 1032


class SensReader:
    """A .sens file with random access to its frames.

    Opening reads the header and seeks from frame to frame for an index of eight bytes each; nothing
    else stays in memory and no file stays open, so a reader may be copied to worker processes.

    Args:
        path: the file.

    Attributes:
        path, header: as read.
        num_imu_frames: IMU records at the end of the file, which are not read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: cut short anywhere, another version, an unreadable compression (the message
            names it), or a size that cannot be; names the file and the byte.

    Example:
        >>> reader = SensReader("scene0000_00.sens")
        >>> len(reader), reader.depth(10).shape
        (5578, (480, 640))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no such .sens file: {self.path}")
        size = self.path.stat().st_size
        with _open(self.path) as file:
            self.header, num_frames, start = read_header(file, self.path)
            self._offsets, end = _index(file, self.path, size, num_frames, start)
            self.num_imu_frames = _count_imu(file, self.path, size, end)

    def __len__(self) -> int:
        return len(self._offsets)

    def pose(self, index: int) -> np.ndarray:
        """camera_to_world of the depth camera, (4, 4) float32; -inf where tracking was lost."""
        return np.array(self._frame(index)[:16], dtype=np.float32).reshape(4, 4)

    def times(self, index: int) -> tuple[int, int]:
        """When colour and depth were taken: two whole numbers, microseconds by convention."""
        values = self._frame(index)
        return int(values[16]), int(values[17])

    def frame_offset(self, index: int) -> int:
        """The byte at which a frame begins."""
        return self._place(index)[0]

    def color_bytes(self, index: int) -> bytes:
        """The colour image as stored: a JPEG or PNG file, or raw RGB, by the header's word."""
        offset, color_bytes, _ = self._place(index)
        return self._data(offset + FRAME.size, color_bytes, index, "colour")

    def color(self, index: int) -> np.ndarray:
        """The colour image, (H, W, 3) uint8, RGB.

        Raises:
            BrokenFrame: damaged, or of another size than the header says.
            IndexError: no such frame.
        """
        height, width = self.header.color_size
        data = self.color_bytes(index)
        origin = self._origin(index, int(self._offsets[index]) + FRAME.size)
        if self.header.color_compression == "raw":
            _check_length(f"colour image {origin}", len(data), height * width * 3)
            return np.frombuffer(data, np.uint8).reshape(height, width, 3).copy()
        return decode_color(data, origin, (height, width))

    def depth_units(self, index: int) -> np.ndarray:
        """The depth image as stored, (h, w) uint16; see ``depth`` for metres and errors."""
        height, width = self.header.depth_size
        offset, color_bytes, depth_bytes = self._place(index)
        start = offset + FRAME.size + color_bytes
        data = self._data(start, depth_bytes, index, "depth")
        what = f"depth image {self._origin(index, start)}"
        if self.header.depth_compression == "zlib":
            data = _inflate(data, height * width * 2, what)
        _check_length(what, len(data), height * width * 2)
        return np.frombuffer(data, "<u2").reshape(height, width).astype(np.uint16, copy=False)

    def depth(self, index: int) -> np.ndarray:
        """The depth image, (h, w) float32, metres; 0 (and 65535 in the file) is no measurement.

        Raises:
            BrokenFrame: damaged, or of another size than the header says.
            IndexError: no such frame.
        """
        units = self.depth_units(index)
        metres = units.astype(np.float32)
        metres /= np.float32(self.header.depth_shift)
        metres[units == SATURATED] = 0
        return metres

    def frame_header(self, index: int) -> bytes:
        """The bytes in front of a frame's images: pose, times, and how long both images are."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has no frame {index}; it has {len(self)}, from 0 on")
        with _open(self.path) as file:
            offset = int(self._offsets[index])
            return take(file, self.path, offset, FRAME.size, f"header of frame {index}")

    def _frame(self, index: int) -> tuple[float, ...]:
        return FRAME.unpack(self.frame_header(index))

    def _place(self, index: int) -> tuple[int, int, int]:
        """Byte of the frame's header, bytes of colour, bytes of depth."""
        values = self._frame(index)
        return int(self._offsets[index]), int(values[18]), int(values[19])

    def _data(self, start: int, count: int, index: int, kind: str) -> bytes:
        if start + count > self.path.stat().st_size:  # the index saw another file
            raise BrokenFrame(
                f"{kind} image {self._origin(index, start)} reaches beyond the end of the file, "
                "which changed since it was opened"
            )
        with _open(self.path) as file:
            return take(file, self.path, start, count, f"{kind} of frame {index}")

    def _origin(self, index: int, start: int) -> str:
        return f"of frame {index} at byte {start} of {self.path}"


class SensWriter:
    """Writes a .sens file frame by frame; it appears when the ``with`` block ends without error.

    The same frames give the same bytes with the same versions of Pillow and zlib.

    Args:
        path: the file to write; its folder must exist, an existing file is replaced at the end.
        header: sizes, calibration and compression of all frames.
        jpeg_quality: of colour given as pixels, where the header says "jpeg".

    Raises:
        FileNotFoundError: no such folder.

    Example:
        >>> header = SensHeader((968, 1296), (480, 640), color_matrix, depth_matrix)
        >>> with SensWriter("scan.sens", header) as writer:
        ...     writer.add(rgb, millimetres, camera_to_world)
    """

    def __init__(
        self, path: str | os.PathLike[str], header: SensHeader, *, jpeg_quality: int = 90
    ) -> None:
        self.path = Path(path)
        self.header = header
        self.jpeg_quality = jpeg_quality
        self.num_frames = 0
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: no such folder: {self.path.parent}")
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._start = len(pack_header(header))
        self._file = self._partial.open("wb")
        self._file.write(pack_header(header))

    def add(
        self,
        color: np.ndarray | bytes,
        depth: np.ndarray,
        camera_to_world: np.ndarray,
        time_color: int = 0,
        time_depth: int = 0,
    ) -> None:
        """Appends a frame.

        Args:
            color: (H, W, 3) uint8 RGB, or the bytes of an image already compressed as the header
                says.
            depth: (h, w) uint16, in units of the header's depth shift; 0 where unmeasured.
            camera_to_world: (4, 4) of the depth camera; -inf where tracking was lost.
            time_color, time_depth: microseconds.

        Raises:
            ValueError: shapes or dtypes other than these.
        """
        pose = np.asarray(camera_to_world, dtype=np.float32)
        if pose.shape != (4, 4):
            raise ValueError(f"{self.path}: camera_to_world is {pose.shape}, expected (4, 4)")
        images = (self._pack_color(color), self._pack_depth(np.asarray(depth)))
        sizes = [len(image) for image in images]
        self._file.write(FRAME.pack(*pose.ravel().tolist(), time_color, time_depth, *sizes))
        for image in images:
            self._file.write(image)
        self.num_frames += 1

    def _pack_color(self, color: np.ndarray | bytes) -> bytes:
        if isinstance(color, bytes):
            return color
        wanted = (*self.header.color_size, 3)
        if color.dtype != np.uint8 or color.shape != wanted:
            raise ValueError(
                f"{self.path}: colour is {color.dtype} {color.shape}, expected uint8 {wanted}"
            )
        if self.header.color_compression == "raw":
            return color.tobytes()
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(color))
        if self.header.color_compression == "png":
            image.save(buffer, "PNG")
        else:
            image.save(buffer, "JPEG", quality=self.jpeg_quality)
        return buffer.getvalue()

    def _pack_depth(self, depth: np.ndarray) -> bytes:
        if depth.dtype != np.uint16 or depth.shape != self.header.depth_size:
            raise ValueError(
                f"{self.path}: depth is {depth.dtype} {depth.shape}, expected uint16 "
                f"{self.header.depth_size}"
            )
        data = depth.astype("<u2").tobytes()
        return zlib.compress(data, 6) if self.header.depth_compression == "zlib" else data

    def __enter__(self) -> "SensWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._file.write(COUNT.pack(0))  # no IMU records
                    self._file.seek(self._start - COUNT.size)
                    self._file.write(COUNT.pack(self.num_frames))
            if kind is None:
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    """Unbuffered: what is read are few bytes at distant places, or one image."""
    return cast(BinaryIO, path.open("rb", buffering=0))


def _index(
    file: BinaryIO, path: Path, size: int, num_frames: int, start: int
) -> tuple[np.ndarray, int]:
    """The byte at which each frame begins (N,) int64, and the byte after the last one."""
    possible = (size - start) // FRAME.size
    if num_frames > possible:
        raise ValueError(
            f"{path}: {num_frames} frames are announced at byte {start - COUNT.size}, but the "
            f"{size - start} bytes that follow hold at most {possible}; it was cut short, copy or "
            "download it again"
        )
    offsets = np.empty(num_frames, dtype=np.int64)
    offset = start
    for index in range(num_frames):
        offsets[index] = offset
        sizes = take(
            file,
            path,
            offset + FRAME.size - FRAME_SIZES.size,
            FRAME_SIZES.size,
            f"header of frame {index} of {num_frames} at byte {offset}",
        )
        color_bytes, depth_bytes = FRAME_SIZES.unpack(sizes)
        end = offset + FRAME.size + color_bytes + depth_bytes
        if end > size:
            raise ValueError(
                f"{path}: frame {index} of {num_frames} at byte {offset} announces {color_bytes} "
                f"bytes of colour and {depth_bytes} of depth, which end at byte {end}, but the "
                f"file has {size}; it was cut short or damaged, copy or download it again"
            )
        offset = end
    return offsets, offset


def _count_imu(file: BinaryIO, path: Path, size: int, offset: int) -> int:
    data = take(file, path, offset, COUNT.size, "the number of IMU records after the last frame")
    (count,) = COUNT.unpack(data)
    if offset + COUNT.size + count * IMU_BYTES > size:
        raise ValueError(
            f"{path}: {count} IMU records of {IMU_BYTES} bytes are announced at byte {offset}, but "
            f"the file has {size} bytes; it was cut short or damaged, copy or download it again"
        )
    return count


def _inflate(data: bytes, expected: int, what: str) -> bytes:
    """At most ``expected`` + 1 bytes of a zlib stream, whatever it claims to hold."""
    if expected > len(data) * MAX_DEFLATE_RATIO:
        raise BrokenFrame(f"{what}: {len(data)} bytes of zlib cannot hold {expected} bytes")
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, expected + 1)
    except zlib.error as error:
        raise BrokenFrame(f"{what} ({len(data)} bytes of zlib) is damaged: {error}") from error
    if len(inflated) <= expected and not stream.eof:
        raise BrokenFrame(f"{what} ({len(data)} bytes of zlib) is cut short")
    return inflated


def _check_length(what: str, length: int, expected: int) -> None:
    if length != expected:
        kind = "more than " if length > expected else ""
        raise BrokenFrame(
            f"{what} holds {kind}{min(length, expected)} bytes, expected {expected} for the "
            "header's image size"
        )
