"""Broken frames are skipped, named once in the log, counted and summed up; a scan that consists of
nothing else is an error."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.scene import BrokenScene

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SkipLog:
    """Remembers which frames were skipped, and why.

    Example:
        >>> skips = SkipLog()
        >>> skips.add("office", "depth/00003.png: all pixels are 0")
        >>> skips.add("office", "depth/00003.png: all pixels are 0")  # met again an epoch later
        >>> skips.count, skips.summary()
        (1, 'skipped 1 broken frame: 1 in office')
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], None] = {}

    def add(self, scan: str, reason: BrokenFrame | str) -> None:
        """Counts a broken frame and logs it at warning level, the first time it is met.

        Args:
            scan: name of the scan.
            reason: what ``Scan.load`` raised, or its message. It names the file, which makes it
                the identity of the frame.
        """
        key = (scan, str(reason))
        if key not in self._seen:
            self._seen[key] = None
            logger.warning("skipping a broken frame of %s: %s", scan, reason)

    @property
    def count(self) -> int:
        """Number of different broken frames met so far."""
        return len(self._seen)

    @property
    def reasons(self) -> list[str]:
        """Their messages in the order met, each led by the name of its scan."""
        return [f"{scan}: {reason}" for scan, reason in self._seen]

    def summary(self) -> str:
        """One line for the end of a run, such as ``skipped 3 broken frames: 2 in a, 1 in b``."""
        if not self._seen:
            return "no broken frames"
        by_scan = Counter(scan for scan, _ in self._seen).most_common()
        parts = ", ".join(f"{count} in {scan}" for scan, count in by_scan)
        return f"skipped {self.count} broken frame{'s' if self.count > 1 else ''}: {parts}"


def load_or_next(
    names: Sequence[str],
    index: int,
    load: Callable[[str], T],
    skipped: list[tuple[str, str]],
    what: str,
) -> T:
    """What a name loads, or the first one after it that is not broken.

    Args:
        names: of frames, as ``SCAN/FRAME``, or of scenes.
        index: of the name.
        load: raises ``BrokenFrame`` or ``BrokenScene`` for what cannot be used though others may.
        skipped: takes (scan, reason) of what was passed over.
        what: the names are, for the message.

    Raises:
        ValueError: all of them are broken.
    """
    for place in (*range(index, len(names)), *range(index)):
        try:
            return load(names[place])
        except (BrokenFrame, BrokenScene) as error:
            skipped.append((names[place].rpartition("/")[0] or names[place], str(error)))
    raise ValueError(
        f"none of the {len(names)} {what} can be used; the first is refused because of "
        f"{skipped[0][1]}"
    )


def first_valid(scan: Scan, skips: SkipLog | None = None) -> Frame:
    """The first frame of a scan that can be used: a check of the whole set-up before a run begins.

    Args:
        scan: any scan.
        skips: takes the broken frames met on the way.

    Raises:
        ValueError: there is none; the message holds the reason of the first one.
    """
    reason = "it lists no frames"
    for index, name in enumerate(scan.names):
        try:
            return scan.load(name)
        except BrokenFrame as error:
            if index == 0:
                reason = f"the first is refused because of {error}"
            if skips is not None:
                skips.add(scan.name, error)
    raise ValueError(
        f"scan {scan.name}: none of its {len(scan.names)} frames can be used; {reason}. "
        "Mend the scan or take it out of roots"
    )
