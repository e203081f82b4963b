"""The order of recording, from the names of files, and files from the names of others."""

import hashlib
import re

LONGEST = 120
_DIGITS = 8  # of the hash that tells two names apart


def natural(name: str) -> list[tuple[int, str]]:
    """A sorting key that takes digits as numbers: ``frame_2`` before ``frame_10``."""
    parts = re.split(r"([0-9]+)", name)
    # of two numbers without leading zeros the longer one is the larger: no limit on digits
    return [
        (len(digits := part.lstrip("0")) + 1, digits) if index % 2 else (0, part)
        for index, part in enumerate(parts)
    ]


def plain(name: str) -> str:
    """``name`` as letters, digits, ``_``, ``-`` and ``.``, none of the last two in front; cut where
    it is long, with a hash of all of it. Two names may become one, and one may become nothing."""
    kept = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-")
    return _hashed(kept, name) if len(kept) > LONGEST else kept


def file_stem(name: str) -> str:
    """``name`` where it is plain, else what is plain of it with a hash of all of it, which tells
    ``K\u00fcche 1`` from ``K che 1``."""
    kept = plain(name)
    return kept if kept == name else _hashed(kept, name)


def _hashed(kept: str, name: str) -> str:
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return f"{kept[: LONGEST - _DIGITS - 1]}_{digest[:_DIGITS]}"
