"""How ScanNet's published Python reader gets at a .sens file: from the first byte to the last, data
byte by byte through struct, everything kept."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np


@dataclass(frozen=True)
class StoredFrame:
    """Both images of a frame as stored."""

    color: bytes
    depth: bytes


def read_frame(file: BinaryIO) -> StoredFrame:
    """The frame at the file's position; images are unpacked into single bytes and joined."""
    struct.unpack("16f", file.read(64))
    struct.unpack("2Q", file.read(16))
    color_bytes, depth_bytes = struct.unpack("2Q", file.read(16))
    color = b"".join(struct.unpack("c" * color_bytes, file.read(color_bytes)))
    depth = b"".join(struct.unpack("c" * depth_bytes, file.read(depth_bytes)))
    return StoredFrame(color, depth)


def read_depth(path: Path, offset: int, size: tuple[int, int]) -> np.ndarray:
    """Depth of the frame at a byte, (h, w) uint16; that the byte is known is more than the
    published reader can do."""
    with path.open("rb") as file:
        file.seek(offset)
        units = zlib.decompress(read_frame(file).depth)
    return np.frombuffer(units, np.uint16).reshape(size)


def load_all(path: Path) -> list[StoredFrame]:
    """Every frame of a file."""
    with path.open("rb") as file:
        _, name_bytes = struct.unpack("<IQ", file.read(12))
        file.read(name_bytes + 4 * 64 + 2 * 4 + 4 * 4 + 4)
        (count,) = struct.unpack("Q", file.read(8))
        return [read_frame(file) for _ in range(count)]
