"""The one contract between RGB-D data on disk and everything else: a Scan hands out Frames."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.geometry.camera import Camera


class BrokenFrame(Exception):
    """A frame that cannot be used; the message names the file, the value and the reason.

    Whoever iterates over frames skips it and goes on. Anything wrong with a whole scan (missing
    intrinsics, 8-bit depth) is a ValueError or FileNotFoundError instead and stops the run.
    """


class NoDepth(BrokenFrame):
    """A frame whose depth image holds no measurement at all."""


class LostPose(BrokenFrame):
    """A frame without a usable pose: missing, not finite, or no rigid motion."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One posed RGB-D image; colour and depth are two cameras, which may coincide.

    Attributes:
        name: unique within its scan.
        image: (3, H, W) uint8, RGB.
        depth: (h, w) float32, z in metres; 0 where nothing was measured.
        color_camera: of ``image``; ``camera_to_world`` in the scan's world frame.
        depth_camera: of ``depth``.

    Raises:
        ValueError: a dtype or shape that differs from the above, or from its camera.
    """

    name: str
    image: Tensor
    depth: Tensor
    color_camera: Camera
    depth_camera: Camera

    def __post_init__(self) -> None:
        wanted = (
            ("image", self.image, torch.uint8, (3,), self.color_camera),
            ("depth", self.depth, torch.float32, (), self.depth_camera),
        )
        for field, tensor, dtype, channels, camera in wanted:
            shape = (*channels, camera.height, camera.width)
            if tensor.dtype != dtype or tuple(tensor.shape) != shape:
                raise ValueError(
                    f"frame {self.name}: {field} is {tensor.dtype} {tuple(tensor.shape)}, its "
                    f"camera asks for {dtype} {shape}; convert it or use the camera's resized()"
                )


class Scan(ABC):
    """A posed RGB-D recording of one place.

    A source subclasses it, fills the attributes and implements ``load``. ``names`` holds the frames
    listed on disk, broken or not, in recording order.

    Attributes:
        name: unique within its dataset.
        names: frame names in recording order.
        held_out: names of frames that must not be trained on, where the source marks some.
        up: (3,) float64 unit vector against gravity in the world frame, or None where unknown.
        folder: with the scan's files, and no other scan's; None where there is none.
    """

    name: str
    names: Sequence[str]
    held_out: frozenset[str] = frozenset()
    up: Tensor | None = None
    folder: Path | None = None

    @abstractmethod
    def load(self, name: str) -> Frame:
        """Reads one frame.

        Args:
            name: one of ``names``.

        Raises:
            BrokenFrame: this frame cannot be used; others may.
        """

    def evidence(self) -> Iterator[Any]:
        """What tells this recording from another whose frames have the same names: values of JSON,
        the same wherever the recording lies, found without decoding an image.

        Here they are the files of ``folder`` with their sizes, and nothing where there is none.
        """
        folder = self.folder
        if folder is None:
            return
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield [path.relative_to(folder).as_posix(), path.stat().st_size]
