"""Names of prepared scans: they become folders, and come from files of others."""

from pathlib import Path

from pcpt.data.names import plain

RESERVED = ("shards", "index.json", "report.json", "settings.json")  # what else lies in OUT


def safe_name(name: str) -> str:
    """A folder's name made of ``name``: letters, digits, ``_``, ``-`` and ``.``, none in front."""
    kept = plain(name)
    return kept if kept and kept.lower() not in RESERVED else f"scan_{kept}"


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
