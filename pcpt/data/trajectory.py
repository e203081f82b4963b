"""Text files of time and values, one line each, and what belongs together by time."""

import heapq
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_LINE = 1 << 16  # split into words, a line takes many times its size in memory


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Values over time; rows in order of time, each time once (the last line that gives it).

    Attributes:
        path: the file.
        times: (N,) float64, seconds.
        values: (N, C) float64; a row of nan where the line could not be read.
        lines: (N,) int64, line numbers from 1.
    """

    path: Path
    times: np.ndarray
    values: np.ndarray
    lines: np.ndarray

    def nearest(self, time: float, tolerance: float) -> int | None:
        """The row nearest in time, or None if it is not less than ``tolerance`` seconds away."""
        after = int(np.searchsorted(self.times, time))
        rows = [row for row in (after - 1, after) if 0 <= row < len(self.times)]
        row = min(rows, key=lambda row: abs(self.times[row] - time))
        return row if abs(self.times[row] - time) < tolerance else None

    def origin(self, row: int) -> str:
        """The file and line of a row, for messages."""
        return f"{self.path} line {int(self.lines[row])}"


def data_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and words of each line that is neither empty nor a comment (``#``).

    Words are separated by blanks, tabs or commas, as the tools of the TUM benchmark read them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of more than 65,536 characters, which no such file has.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; see docs/data_layout.md for the files")
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), start=1):
            if len(line) == MAX_LINE:
                raise ValueError(f"{path} line {number} is longer than {MAX_LINE} characters")
            words = line.replace(",", " ").split()
            if words and not words[0].startswith("#"):
                yield number, words


def read_time(path: Path, line: int, word: str) -> float:
    """A time stamp in seconds; anything else raises ValueError with file and line."""
    try:
        time = float(word)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise ValueError(f"{path} line {line}: {word[:40]!r} is no time in seconds")
    return time


def read_file_list(path: Path) -> dict[float, str]:
    """File names by time, from lines ``time name``; of lines with the same time the last counts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line without a time or a name, or no lines.
    """
    files: dict[float, str] = {}
    for line, words in data_lines(path):
        time = read_time(path, line, words[0])
        if len(words) < 2:
            raise ValueError(f"{path} line {line} holds only a time, expected a time and a file")
        files[time] = words[1]
    if not files:
        raise ValueError(f"{path} lists no files, expected lines of a time and a file name")
    return files


def read_trajectory(path: Path, columns: int) -> Trajectory:
    """Lines of a time and ``columns`` numbers.

    A line whose time is readable and whose numbers are not becomes a row of nan: it spoils its own
    frames, not the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line without a time, or no lines.
    """
    times, values, numbers = array("d"), array("d"), array("q")
    for line, words in data_lines(path):
        times.append(read_time(path, line, words[0]))
        values.extend(_numbers(words[1:], columns))
        numbers.append(line)
    if not times:
        raise ValueError(f"{path} holds no lines of a time and {columns} numbers")
    time = np.frombuffer(times)[::-1]
    unique, index = np.unique(time, return_index=True)  # the first here is the last in the file
    rows = len(time) - 1 - index
    table = np.frombuffer(values).reshape(-1, columns)
    return Trajectory(path, unique, table[rows], np.frombuffer(numbers, np.int64)[rows])


def _numbers(words: Sequence[str], columns: int) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    return numbers if len(numbers) == columns else [math.nan] * columns


def associate(
    first: Sequence[float], second: Sequence[float], max_difference: float
) -> list[tuple[int, int]]:
    """Pairs of times that belong together: the closest two first, each used at most once.

    This is what ``associate.py`` of the TUM RGB-D benchmark (Sturm et al., IROS 2012) gives, which
    compares all with all. The closest of all remaining pairs are always neighbours in time, so a
    queue of neighbours finds the same pairs in O(n log n).

    Args:
        first, second: times in seconds, each without repetition.
        max_difference: pairs must be closer than this.

    Returns:
        (index into first, index into second), in order of the first's times.
    """
    merged = sorted(
        [(time, 0, i) for i, time in enumerate(first)]
        + [(time, 1, i) for i, time in enumerate(second)]
    )
    left = list(range(-1, len(merged) - 1))
    right = list(range(1, len(merged) + 1))
    queue: list[tuple[float, float, float, int, int]] = []

    def offer(a: int, b: int) -> None:
        if a < 0 or b >= len(merged) or merged[a][1] == merged[b][1]:
            return
        one, other = sorted((merged[a], merged[b]), key=lambda item: item[1])
        difference = abs(one[0] - other[0])
        if difference < max_difference:
            heapq.heappush(queue, (difference, one[0], other[0], a, b))

    for position in range(len(merged) - 1):
        offer(position, position + 1)
    used = [False] * len(merged)
    pairs = []
    while queue:
        *_, a, b = heapq.heappop(queue)
        if used[a] or used[b]:
            continue
        used[a] = used[b] = True
        pair = {merged[a][1]: merged[a][2], merged[b][1]: merged[b][2]}
        pairs.append((pair[0], pair[1]))
        before, after = left[a], right[b]
        if before >= 0:
            right[before] = after
        if after < len(merged):
            left[after] = before
        offer(before, after)
    return sorted(pairs, key=lambda pair: first[pair[0]])
