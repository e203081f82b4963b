"""Names of prepared scans: they become folders, and come from files of others."""

import hashlib
import re
from pathlib import Path

RESERVED = ("shards", "index.json", "report.json", "settings.json")  # what else lies in OUT
LONGEST = 120
_DIGITS = 8  # of the hash that tells two long names apart


def safe_name(name: str) -> str:
    """A folder's name made of ``name``: letters, digits, ``_``, ``-`` and ``.``, none in front."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-")
    if len(plain) > LONGEST:
        digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
        plain = f"{plain[: LONGEST - _DIGITS - 1]}_{digest[:_DIGITS]}"
    if not plain or plain.lower() in RESERVED:
        plain = f"scan_{plain}"
    return plain


def name_below(base: Path, folder: Path, own: str) -> str:
    """The name of a scan: a function of where it lies and what it is called, so that it stays the
    same whatever else is found there or is broken.

    Args:
        base: where recordings were looked for.
        folder: of the scan, at or below ``base``.
        own: what its source calls it. It is put at the end, unless it is made of the path's end.

    Example:
        >>> name_below(Path("/in"), Path("/in/chess/seq-01"), "seq-01")
        'chess_seq-01'
    """
    parts = folder.relative_to(base).parts
    if own not in _ends(folder) | _ends(folder.resolve()):
        parts = (*parts, own)
    return safe_name("_".join(parts or (folder.name,)))


def _ends(path: Path) -> set[str]:
    """What sources make of a path: its last part, its last two parts, and so on."""
    return {"_".join(path.parts[start:]) for start in range(len(path.parts))}
