"""The byte layout of ScanNet's .sens files, version 4: what reader and writer share.

Little-endian, no padding: uint32 version; uint64 length and the sensor's name; four 4x4 float32
matrices, row by row (colour intrinsics and extrinsics, depth intrinsics and extrinsics); int32
compression of colour and of depth; uint32 width and height of colour and of depth; float32 depth
shift; uint64 number of frames; the frames; uint64 number of IMU records and those, 128 bytes each.
A frame is 96 bytes (4x4 float32 pose, four uint64: two times, two lengths) and the two images.
After sensorData.h and SensorData.py of github.com/ScanNet/ScanNet.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pcpt.choices import check_depth_scale
from pcpt.data.images import MAX_PIXELS

VERSION = 4
COLOR_COMPRESSION = {-1: "unknown", 0: "raw", 1: "png", 2: "jpeg"}
DEPTH_COMPRESSION = {-1: "unknown", 0: "raw", 1: "zlib", 2: "occi"}
COLOR_READABLE = ("raw", "png", "jpeg")
DEPTH_READABLE = ("raw", "zlib")
MAX_NAME = 1 << 16
FRAME = struct.Struct("<16f4Q")
FRAME_SIZES = struct.Struct("<2Q")  # the last two of FRAME: bytes of colour, bytes of depth
COUNT = struct.Struct("<Q")
IMU_BYTES = 15 * 8 + 8
_PREFIX = struct.Struct("<IQ")
_FIXED = struct.Struct("<64f2i4IfQ")
_MATRICES = ("intrinsic_color", "extrinsic_color", "intrinsic_depth", "extrinsic_depth")


def _identity() -> np.ndarray:
    return np.eye(4, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SensHeader:
    """What a .sens file says of all its frames.

    Attributes:
        color_size, depth_size: (height, width) in pixels.
        intrinsic_color, intrinsic_depth: (4, 4) float32, pixels; the upper left 3x3 counts.
        extrinsic_color, extrinsic_depth: (4, 4) float32; each maps points of its camera to one
            common frame, see ``pcpt.data.scannet_rig``.
        color_compression: "raw", "png" or "jpeg".
        depth_compression: "raw" or "zlib".
        depth_shift: depth units per metre.
        sensor_name: free text.

    Raises:
        ValueError: a value that cannot be, or a compression that pcpt neither reads nor writes.
    """

    color_size: tuple[int, int]
    depth_size: tuple[int, int]
    intrinsic_color: np.ndarray
    intrinsic_depth: np.ndarray
    extrinsic_color: np.ndarray = field(default_factory=_identity)
    extrinsic_depth: np.ndarray = field(default_factory=_identity)
    color_compression: str = "jpeg"
    depth_compression: str = "zlib"
    depth_shift: float = 1000.0
    sensor_name: str = "StructureSensor"

    def __post_init__(self) -> None:
        for name in _MATRICES:
            matrix = np.asarray(getattr(self, name), dtype=np.float32)
            if matrix.shape != (4, 4):
                raise ValueError(f"{name} is {matrix.shape}, expected (4, 4)")
            object.__setattr__(self, name, matrix)
        for kind, size in (("colour", self.color_size), ("depth", self.depth_size)):
            height, width = size
            if min(height, width) < 1 or height * width > MAX_PIXELS:
                raise ValueError(
                    f"{kind} images are {width}x{height}, expected 1 to {MAX_PIXELS} pixels"
                )
        for kind, value, known in (
            ("colour", self.color_compression, COLOR_READABLE),
            ("depth", self.depth_compression, DEPTH_READABLE),
        ):
            if value not in known:
                raise ValueError(
                    f"{kind} compression is {value!r}, expected {', '.join(known)}; convert the "
                    "recording with the tool that wrote it"
                )
        check_depth_scale("depth shift", self.depth_shift)


def pack_header(header: SensHeader, num_frames: int = 0) -> bytes:
    """All bytes before the first frame; the last eight are the number of frames."""
    name = header.sensor_name.encode()
    if len(name) > MAX_NAME:
        raise ValueError(f"sensor name of {len(name)} bytes, expected at most {MAX_NAME}")
    codes = [
        next(code for code, name in names.items() if name == value)
        for names, value in (
            (COLOR_COMPRESSION, header.color_compression),
            (DEPTH_COMPRESSION, header.depth_compression),
        )
    ]
    matrices = np.stack([getattr(header, name) for name in _MATRICES])
    fixed = _FIXED.pack(
        *matrices.ravel().tolist(),
        *codes,
        *header.color_size[::-1],
        *header.depth_size[::-1],
        header.depth_shift,
        num_frames,
    )
    return _PREFIX.pack(VERSION, len(name)) + name + fixed


def read_header(file: BinaryIO, path: Path) -> tuple[SensHeader, int, int]:
    """Reads the header from the start of a file.

    Returns:
        The header, the number of frames it announces, and the byte at which they begin.

    Raises:
        ValueError: cut short, of another version, or with a value that cannot be; the message names
            the file and the byte.
    """
    prefix = take(file, path, 0, _PREFIX.size, "version and length of the sensor's name")
    version, name_bytes = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise ValueError(
            f"{path}: version at byte 0 is {version}, expected {VERSION}; it is no .sens file, or "
            "one of another version: convert it with ScanNet's tools"
        )
    if name_bytes > MAX_NAME:
        raise ValueError(
            f"{path}: sensor's name at byte 4 is announced with {name_bytes} bytes, expected at "
            f"most {MAX_NAME}; the file is damaged"
        )
    name = take(file, path, _PREFIX.size, name_bytes, "the sensor's name")
    start = _PREFIX.size + name_bytes
    values = _FIXED.unpack(take(file, path, start, _FIXED.size, "calibration and image sizes"))
    matrices = np.array(values[:64], dtype=np.float32).reshape(4, 4, 4)
    color_code, depth_code, color_w, color_h, depth_w, depth_h, shift, num_frames = values[64:]
    try:
        header = SensHeader(
            color_size=(color_h, color_w),
            depth_size=(depth_h, depth_w),
            **dict(zip(_MATRICES, matrices)),
            color_compression=COLOR_COMPRESSION.get(color_code, f"code {color_code}"),
            depth_compression=DEPTH_COMPRESSION.get(depth_code, f"code {depth_code}"),
            depth_shift=shift,
            sensor_name=name.decode("utf-8", errors="replace"),
        )
    except ValueError as error:
        raise ValueError(f"{path}: header at byte {start}: {error}") from error
    return header, num_frames, start + _FIXED.size


def take(file: BinaryIO, path: Path, offset: int, count: int, what: str) -> bytes:
    """``count`` bytes at ``offset``; raises ValueError with the place when there are fewer."""
    file.seek(offset)
    data = file.read(count)
    if len(data) < count:
        raise ValueError(
            f"{path} ends at byte {offset + len(data)}, inside {what} ({count} bytes from byte "
            f"{offset}); it was cut short, copy or download it again"
        )
    return data
