"""Which recording a scan is, wherever it lies: a name, and a fingerprint where one can be taken.

Names alone do not tell: rooms made from two seeds share theirs. What recordings in ScanNet's format
have of their own beside both frames and labelled mesh is the file ``NAME.txt``, with the lens and
the axes of the scan in six digits.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FINGERPRINT_DIGITS = 16
_MAX_BYTES = 1 << 20
# ScanNet's scans of one place differ behind the underscore alone.
_PLACE = re.compile(r"(scene\d{4})_\d\d")


def scan_identity(name: str, folder: Path | None = None) -> str:
    """``NAME@FINGERPRINT`` of a scan, or its name where nothing beside it tells it apart.

    Args:
        name: of the scan.
        folder: with its files; None where they are in no folder of their own. With a fingerprint
            its name counts: ``name`` may have been made longer to differ from another root's.
    """
    paths = [folder / f"{own}.txt" for own in (name, folder.name)] if folder is not None else []
    for path in paths:
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            return f"{path.stem}@{digest[:_FINGERPRINT_DIGITS]}"
    return name


def identities_hash(identities: Iterable[str]) -> str:
    """sha256 over scans, whatever their order: 64 hex digits."""
    return hashlib.sha256("\n".join(sorted(set(identities))).encode()).hexdigest()


@dataclass(frozen=True)
class Overlap:
    """Whether data that was seen holds scans to be scored on.

    Attributes:
        verdict: "no"; "yes", some scans are the same; "possible", some have the same name, and one
            of the two has no fingerprint, or are of one place.
        scans: identities, among those to be scored on, to which that applies.
    """

    verdict: str
    scans: tuple[str, ...] = ()


def find_overlap(seen: Iterable[str], scored: Iterable[str]) -> Overlap:
    """Compares what weights have seen with what they are scored on.

    Args:
        seen: identities.
        scored: identities.
    """
    by_name: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    for identity in seen:
        name, _, fingerprint = identity.partition("@")
        by_name.setdefault(name, set()).add(fingerprint)
        places.setdefault(_place(name), set()).add(name)
    same, possible = [], []
    for identity in sorted(set(scored)):
        name, _, fingerprint = identity.partition("@")
        others = by_name.get(name, set())
        if fingerprint in others:  # also where neither has a fingerprint: names are all there is
            same.append(identity)
        elif (others and ("" in others or not fingerprint)) or places.get(_place(name), {name}) - {
            name
        }:
            possible.append(identity)
    if same:
        return Overlap("yes", tuple(same))
    return Overlap("possible", tuple(possible)) if possible else Overlap("no")


def _place(name: str) -> str:
    match = _PLACE.fullmatch(name)
    return match[1] if match else name
