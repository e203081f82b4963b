"""What ``pcpt rooms`` may be told."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class RoomsConfig:
    """Attributes:
        seed: everything is drawn from it and the number of the room.
        frames: of each scan.
        depth_size: (height, width) of depth images.
        color_size: (height, width) of colour images. If it is not ``depth_size`` the two cameras
            have intrinsics of their own (and stand in one place, as in ScanNet's releases).
        spacing: metres between neighbouring vertices of the meshes, about.
        drift: metres by which tracking is off at the end of a scan, see ``path.drifted``; the mesh
            stays where the room is.
        label_images: also write ``label-filt`` and ``instance-filt`` for every frame.

    Raises:
        ValueError: a value that cannot be.
    """

    seed: int = 0
    frames: int = 48
    depth_size: tuple[int, int] = (240, 320)
    color_size: tuple[int, int] = (240, 320)
    spacing: float = 0.02
    drift: float = 0.0
    label_images: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")
        if not 1 <= self.frames <= 100_000:
            raise ValueError(f"frames is {self.frames}, expected 1 to 100000")
        for name in ("depth_size", "color_size"):
            size = getattr(self, name)
            if len(size) != 2 or not all(16 <= side <= 4096 for side in size):
                raise ValueError(f"{name} is {size}, expected (height, width), 16 to 4096 pixels")
        if not 0.005 <= self.spacing <= 0.2:
            raise ValueError(f"spacing is {self.spacing}, expected 0.005 to 0.2 metres")
        if not (math.isfinite(self.drift) and self.drift >= 0):
            raise ValueError(f"drift is {self.drift}, expected 0 or more metres")
