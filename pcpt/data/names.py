"""The order of recording, from the names of files."""

import re


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that takes digits as numbers: ``frame_2`` before ``frame_10``."""
    parts = re.split(r"([0-9]+)", name)
    # of two numbers without leading zeros the longer one is the larger: no limit on digits
    return [
        (len(digits := part.lstrip("0")) + 1, digits) if index % 2 else (0, part)
        for index, part in enumerate(parts)
    ]
