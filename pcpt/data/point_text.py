"""Clouds as text, one point ``x y z r g b`` a line, read fast and in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

COLUMNS = 6
CHUNK = 1 << 22  # bytes parsed at once: what parsing takes beyond the result is a multiple of this
MAX_LINE = 1 << 16
MAX_DROPPED = 10  # lines, or as many in a thousand: more is not a bad byte but another format
_BLANK = np.isin(np.arange(256), np.frombuffer(b" \t\r\n\v\f", np.uint8))
_ALLOWED = _BLANK | np.isin(np.arange(256), np.frombuffer(b"0123456789+-.eE", np.uint8))


@dataclass
class PointText:
    """The points of a text file, and what was wrong with it.

    Attributes:
        points: (N, 3) float32, in the file's unit.
        colors: (N, 3) uint8.
        mended: lines (from 1) with bytes that belong to no number, which were taken for blanks.
        dropped: lines that then held no six finite numbers, or a colour beyond 0 to 255.
    """

    points: np.ndarray
    colors: np.ndarray
    mended: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)


def read_point_text(path: Path) -> PointText:
    """Reads a cloud; lines that cannot be read are dropped and listed, blank lines are skipped.

    Args:
        path: a text file of lines ``x y z r g b``, colours 0 to 255.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a single point, more than 10 lines and 1% dropped, or a line of more than
            65,536 bytes.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    result = PointText(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    points, colors = [], []
    line = 1
    with path.open("rb") as file:
        for chunk in _chunks(file, path):
            values, num_lines = _parse(chunk, line, result)
            points.append(values[:, :3].copy())
            colors.append(np.round(values[:, 3:]).astype(np.uint8))
            line += num_lines
    if len(result.dropped) > max(MAX_DROPPED, MAX_DROPPED * line // 1000):
        raise ValueError(
            f"{path}: {len(result.dropped)} of {line - 1} lines, the first of them line "
            f"{result.dropped[0]}, hold no x y z r g b; unpack or copy the file again"
        )
    if not sum(map(len, points)):
        raise ValueError(f"{path} holds no points, expected lines of x y z r g b")
    result.points, result.colors = np.concatenate(points), np.concatenate(colors)
    return result


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The file in pieces of whole lines."""
    while chunk := file.read(CHUNK):
        rest = b"" if chunk.endswith(b"\n") else file.readline(MAX_LINE)
        if len(rest) == MAX_LINE:
            raise ValueError(f"{path}: a line is longer than {MAX_LINE} bytes; this is no cloud")
        yield chunk + rest


def _parse(chunk: bytes, first_line: int, report: PointText) -> tuple[np.ndarray, int]:
    """The numbers (N, 6) float32 of a piece, and how many lines it has."""
    text = np.frombuffer(chunk, np.uint8)
    foreign = np.flatnonzero(~_ALLOWED[text])
    num_lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
    if len(foreign):
        line_ends = np.flatnonzero(text == ord("\n"))
        report.mended += (np.unique(np.searchsorted(line_ends, foreign)) + first_line).tolist()
        text = text.copy()
        text[foreign] = ord(" ")
    lines = text.tobytes().decode("ascii").split("\n")
    return _parse_lines(lines, first_line, report), num_lines


def _parse_lines(lines: list[str], first_line: int, report: PointText) -> np.ndarray:
    """The numbers of these lines; where one of them is bad, of both halves, down to that line."""
    if not any(map(str.strip, lines)):
        return np.empty((0, COLUMNS), np.float32)
    try:
        values = np.loadtxt(lines, dtype=np.float32, comments=None, ndmin=2)
        if values.shape[1] == COLUMNS and _valid(values):
            return values
    except ValueError:  # a word that is no number, or lines of different lengths
        pass
    if len(lines) == 1:
        report.dropped.append(first_line)
        return np.empty((0, COLUMNS), np.float32)
    half = len(lines) // 2
    parts = (lines[:half], first_line), (lines[half:], first_line + half)
    return np.concatenate([_parse_lines(part, line, report) for part, line in parts])


def _valid(values: np.ndarray) -> bool:
    """Whether rows (N, 6) are finite and have colours of 8 bits."""
    colors = values[:, 3:]
    return bool(np.isfinite(values).all() and (colors >= 0).all() and (colors <= 255).all())
