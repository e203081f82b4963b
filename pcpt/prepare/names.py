"""Names of prepared scans: they become folders, and come from files of others."""

import re
from collections.abc import Sequence

RESERVED = ("shards",)
LONGEST = 120


def safe_name(name: str) -> str:
    """A folder's name made of ``name``: letters, digits, ``_``, ``-`` and ``.``, none in front."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-")[:LONGEST]
    if not plain or plain.lower() in RESERVED:
        plain = f"scan_{plain}"
    return plain


def unique_names(named: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Safe and different names, whatever upper and lower case mean to the file system.

    Args:
        named: name of each scan, and the parts of its path, which are put in front, as many as are
            needed, where two names are alike.

    Raises:
        ValueError: two scans of one name at one path.
    """
    longest = max((len(parts) for _, parts in named), default=0)
    for count in range(longest + 1):
        alike: dict[str, int] = {}
        plain = [safe_name(name) for name, _ in named]
        for name in plain:
            alike[name.lower()] = alike.get(name.lower(), 0) + 1
        names = [
            safe_name("_".join([*parts[len(parts) - count :], name])) if count and twice else plain
            for (name, parts), plain, twice in zip(
                named, plain, (alike[name.lower()] > 1 for name in plain)
            )
        ]
        if len({name.lower() for name in names}) == len(names):
            return names
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise ValueError(f"two scans are named {name}; rename one, or prepare them apart")
        seen.add(name.lower())
    return names
