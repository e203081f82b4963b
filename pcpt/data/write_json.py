"""Writes text, and JSON that every reader takes, whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Writes a value; numbers that are not finite become null, as JSON has no NaN.

    Args:
        path: of the file; what was there is replaced in one go, or left alone if writing fails.
        value: of what ``json`` takes.
    """
    write_text(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text.

    Args:
        path: of the file; what was there is replaced in one go, or left alone if writing fails.
        text: in UTF-8.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def finite(value: Any) -> Any:
    """A copy with None for every number that is not finite."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {key: finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [finite(inner) for inner in value]
    return value
