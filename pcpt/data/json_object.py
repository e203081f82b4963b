"""Reads JSON written by others, key by key, and says what is wrong with it in its own terms: the
file, the key, the value and what was expected."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

MAX_WHOLE = (1 << 31) - 1  # counts and sizes; Python's own have no end, and no float holds them
MAX_BYTES = 1 << 26  # parsed JSON takes many times its size in memory; 64 MiB is 60,000 frames


def read_json(path: Path) -> Any:
    """The value in a JSON file; a key that comes twice in one object is refused.

    Raises:
        ValueError: not JSON, or larger than 64 MiB.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} is of {size} bytes, expected JSON of at most {MAX_BYTES}")
    return parse_json(path.read_bytes(), path)


def parse_json(data: bytes, origin: Path) -> Any:
    """As ``read_json``, from bytes that lie in memory; ``origin`` is what messages call them."""
    try:
        return json.loads(data, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{origin} is not valid JSON: {error}") from error


def stays_inside(value: str) -> bool:
    """Whether a path from a file by others is relative and never leaves the folder it starts in,
    and is no longer than file systems allow."""
    path, windows = PurePosixPath(value), PureWindowsPath(value)
    escapes = ".." in path.parts or ".." in windows.parts
    too_long = len(value) > 4096 or any(len(part) > 255 for part in path.parts)
    return not (
        escapes or too_long or path.is_absolute() or windows.drive or windows.root or "\0" in value
    )


def _without_repetition(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} appears twice in one object")
        result[key] = value
    return result


class JsonObject:
    """One JSON object, read key by key.

    Args:
        value: what was read; anything but an object raises ValueError.
        path: its file, for messages.
        where: its place in the file, for messages; empty for the whole.
    """

    def __init__(self, value: Any, path: Path, where: str) -> None:
        self.path, self.where = path, where
        if not isinstance(value, dict):
            raise ValueError(
                f"{path}: {where or 'the file'} is {_short(value)}, expected an object"
            )
        self.fields: dict[str, Any] = value

    def key(self, key: str) -> str:
        """The key with its place in the file, such as ``frames[3].image``."""
        return f"{self.where}.{key}" if self.where else key

    def error(self, key: str, value: Any, expected: str) -> ValueError:
        """The error to raise for a value that is not what was ``expected``."""
        return ValueError(f"{self.path}: {self.key(key)} is {_short(value)}, expected {expected}")

    def allow(self, *keys: str) -> None:
        """Refuses every other key, with the nearest known one."""
        for key in self.fields:
            if key not in keys:
                inside = [known for known in keys if known in key or key in known]
                near = inside or difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
                raise ValueError(f"{self.path}: unknown key {self.key(key)!r}; {hint}")

    def get(self, key: str) -> Any:
        """The value, whatever it is; a missing key raises ValueError."""
        if key not in self.fields:
            raise ValueError(f"{self.path}: {self.key(key)} is missing (docs/data_layout.md)")
        return self.fields[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, value, "a text that is not empty")
        return value

    def flag(self, key: str) -> bool:
        value = self.fields.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def file(self, key: str) -> str:
        """A path below the scan's folder, with forward slashes."""
        value = self.text(key)
        if not stays_inside(value):
            raise self.error(key, value, "a path inside the scan's folder, relative to it")
        return value

    def numbers(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """A number or (nested) list of numbers of that shape, float64."""
        value = self.get(key)
        layout = "x".join(map(str, shape)) + " numbers" if shape else "a number"
        if not _has_shape(value, shape):
            raise self.error(key, value, layout + (", row by row" if len(shape) > 1 else ""))
        try:
            return torch.tensor(value, dtype=torch.float64)
        except (RuntimeError, OverflowError) as error:  # an integer of more than 64 bits
            raise self.error(key, value, layout) from error

    def positive(self, key: str) -> float:
        value = float(self.numbers(key, ()))
        if not 0 < value < float("inf"):
            raise self.error(key, self.fields[key], "a number > 0")
        return value

    def whole(self, key: str) -> int:
        """A count or a size, which some writers give as 1920.0."""
        value = self.get(key)
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not whole or isinstance(value, bool) or not 1 <= value <= MAX_WHOLE:
            raise self.error(key, value, f"a whole number from 1 to {MAX_WHOLE}")
        return int(value)


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(_has_shape(item, shape[1:]) for item in value)
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
