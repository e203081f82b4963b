"""What is made of every scan. Two runs with equal settings make equal files."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from pcpt.choices import check_minimum

# Beyond this a 16-bit image of millimetres holds nothing.
FARTHEST = 65.534


@dataclass(frozen=True)
class Settings:
    """Attributes:
        source: one of ``pcpt.list("datasets")`` that reads posed frames, or "auto".
        options: ``key=value`` of the source.
        every: take every Nth frame of those that the source lists.
        size: (H, W) that images are reduced to; None keeps them. Colour is averaged, depth takes
            the nearest pixel, cameras follow. Images with a shorter side are left as they are.
        max_depth: farther measurements are left out, metres; 0 means no limit but that of the files
            (65.5 m).
        jpeg: quality of JPEG colour, 1 to 100; 0 writes PNG, which loses nothing.
        doctor: examine every scan.
        leave_out_ill: scans that the doctor finds ill are not written.

    Raises:
        ValueError: a value out of range.
    """

    source: str
    options: tuple[str, ...] = ()
    every: int = 1
    size: tuple[int, int] | None = None
    max_depth: float = 0.0
    jpeg: int = 0
    doctor: bool = True
    leave_out_ill: bool = False

    def __post_init__(self) -> None:
        check_minimum("--every", self.every, 1)
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"--size is {self.size[0]}x{self.size[1]}, expected pixels >= 1")
        if not 0 <= self.max_depth < float("inf"):
            raise ValueError(f"--max-depth is {self.max_depth}, expected metres, or 0 for no limit")
        if not 0 <= self.jpeg <= 100:
            raise ValueError(f"--jpeg is {self.jpeg}, expected 1 to 100, or 0 for PNG")
        if self.leave_out_ill and not self.doctor:
            raise ValueError("--leave-out-ill needs the doctor; take away --no-doctor")

    @property
    def farthest(self) -> float:
        """Depth beyond which nothing is kept, metres."""
        return min(self.max_depth or FARTHEST, FARTHEST)

    def tree(self) -> dict[str, Any]:
        """As JSON holds it."""
        return json.loads(json.dumps(asdict(self)))

    def digest(self) -> str:
        """SHA-256 of ``tree``."""
        return hashlib.sha256(json.dumps(self.tree(), sort_keys=True).encode()).hexdigest()
