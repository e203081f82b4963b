"""Bytes of .sens files by the description of the format alone, with struct and OpenCV: nothing of
the package is used, so that reader and test cannot share a mistake."""

import struct
import zlib
from dataclasses import dataclass, field

import cv2
import numpy as np

from tests.data.tiny_scans import HEIGHT, INTRINSICS, WIDTH, pose

COLOR_HEIGHT, COLOR_WIDTH = 2 * HEIGHT, 2 * WIDTH
LOST = np.full((4, 4), -np.inf)


def four(matrix: np.ndarray) -> np.ndarray:
    """A 3x3 in the upper left of a 4x4 identity."""
    result = np.eye(4)
    result[:3, :3] = matrix
    return result


@dataclass
class Sens:
    """What goes into the file; every field may be wrong on purpose."""

    num_frames: int = 3
    announced: int | None = None
    version: int = 4
    name: bytes = b"StructureSensor (calibrated)"
    color_code: int = 2
    depth_code: int = 1
    color_size: tuple[int, int] = (COLOR_HEIGHT, COLOR_WIDTH)
    depth_size: tuple[int, int] = (HEIGHT, WIDTH)
    shift: float = 1000.0
    poses: dict[int, np.ndarray] = field(default_factory=dict)
    extrinsic_color: np.ndarray = field(default_factory=lambda: np.eye(4))
    extrinsic_depth: np.ndarray = field(default_factory=lambda: np.eye(4))
    num_imu: int = 2

    def color(self, index: int) -> np.ndarray:
        """(H, W, 3) RGB; smooth, so that JPEG keeps it nearly."""
        row, column = np.mgrid[:COLOR_HEIGHT, :COLOR_WIDTH]
        channels = [4 * row + index, 3 * column, 100 + 0 * row + 10 * index]
        return np.stack(channels, axis=-1).astype(np.uint8)

    def depth(self, index: int) -> np.ndarray:
        """(h, w) uint16 with a 0 and a 65535."""
        units = np.random.default_rng(index).integers(500, 5000, (HEIGHT, WIDTH)).astype("<u2")
        units[0, :3] = [0, 65535, 1000]
        return units

    def camera_to_world(self, index: int) -> np.ndarray:
        return self.poses.get(index, pose(index))

    def header(self) -> bytes:
        color = four(np.diag([2.0, 2.0, 1.0]) @ INTRINSICS)
        matrices = [color, self.extrinsic_color, four(INTRINSICS), self.extrinsic_depth]
        announced = self.num_frames if self.announced is None else self.announced
        return b"".join(
            [
                struct.pack("<I", self.version),
                struct.pack("<Q", len(self.name)),
                self.name,
                *(struct.pack("<16f", *matrix.ravel()) for matrix in matrices),
                struct.pack("<ii", self.color_code, self.depth_code),
                struct.pack("<II", self.color_size[1], self.color_size[0]),
                struct.pack("<II", self.depth_size[1], self.depth_size[0]),
                struct.pack("<f", self.shift),
                struct.pack("<Q", announced),
            ]
        )

    def images(self, index: int) -> tuple[bytes, bytes]:
        """Colour and depth as stored."""
        rgb, units = self.color(index), self.depth(index)
        if self.color_code == 0:
            color = rgb.tobytes()
        else:
            png = self.color_code == 1
            options = [] if png else [cv2.IMWRITE_JPEG_QUALITY, 98]
            color = cv2.imencode(".png" if png else ".jpg", rgb[..., ::-1], options)[1].tobytes()
        depth = units.tobytes()
        return color, zlib.compress(depth) if self.depth_code == 1 else depth

    def frame(self, index: int) -> bytes:
        color, depth = self.images(index)
        matrix = struct.pack("<16f", *self.camera_to_world(index).ravel())
        times = struct.pack("<QQ", 1000 * index, 1000 * index + 7)
        return matrix + times + struct.pack("<QQ", len(color), len(depth)) + color + depth

    def tail(self) -> bytes:
        record = struct.pack("<15d", *range(15)) + struct.pack("<Q", 5)
        return struct.pack("<Q", self.num_imu) + record * self.num_imu

    def bytes(self) -> bytes:
        frames = [self.frame(index) for index in range(self.num_frames)]
        return self.header() + b"".join(frames) + self.tail()
