"""The one contract between RGB-D data on disk and everything else: a Scan hands out Frames."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pcpt.geometry.camera import Camera


class BrokenFrame(Exception):
    """A frame that cannot be used; the message names the file, the value and the reason."""


@dataclass(frozen=True)
class Frame:
    """One posed RGB-D image; colour and depth are two cameras, which may coincide.

    Attributes:
        name: unique within its scan.
        image: (3, H, W) uint8, RGB.
        depth: (h, w) float32, z in metres; 0 where nothing was measured.
        color_camera: of ``image``; ``camera_to_world`` in the scan's world frame.
        depth_camera: of ``depth``.
    """

    name: str
    image: Tensor
    depth: Tensor
    color_camera: Camera
    depth_camera: Camera


class Scan:
    """A posed RGB-D recording of one place.

    A source subclasses it, fills the attributes and implements ``load``. ``names`` holds every frame
    listed on disk, broken or not, in recording order.

    Attributes:
        name: unique within its dataset.
        names: frame names in recording order.
        held_out: names of frames that must not be trained on, where the source marks some.
        up: (3,) unit vector against gravity in the world frame, or None where unknown.
    """

    name: str
    names: Sequence[str]
    held_out: frozenset[str] = frozenset()
    up: Tensor | None = None

    def load(self, name: str) -> Frame:
        """Reads one frame; raises BrokenFrame when it cannot be used."""
        raise BrokenFrame(f"{type(self).__name__} does not implement load()")
