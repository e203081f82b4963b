"""The small files beside a ScanNet mesh: what its segments are, which objects they make up, what
those are called, and how the scene is turned along its walls.

None of ScanNet's own files was at hand; layouts are those of the README, util.py and util_3d.py of
github.com/ScanNet/ScanNet. Names inside the JSON files (scene, segments file) are never used as
paths.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LABEL_TABLE = "scannetv2-labels.combined.tsv"
# Segments of a mesh of a million vertices take about 8 MB; parsed JSON takes several times as much.
MAX_JSON = 1 << 25
MAX_TEXT = 1 << 22
ROTATION_TOLERANCE = 5e-2


@dataclass(frozen=True, eq=False)
class SegmentGroup:
    """One annotated object.

    Attributes:
        label: its name as the annotator chose it, a raw_category of the label table.
        segments: (S,) int64, values of the segments file.
    """

    label: str
    segments: np.ndarray


def read_label_map(path: Path, column: str) -> dict[str, int]:
    """Raw names to ids, from ``scannetv2-labels.combined.tsv``.

    Args:
        path: of the table, tab-separated with a first line of column names.
        column: that holds the ids, such as "nyu40id", or "id" for ScanNet200.

    Returns:
        Ids by raw_category; rows without an id in that column are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column that is missing, or an id that is no whole number, with its line.
    """
    found: dict[str, int] = {}
    for _, name, number in _table_rows(path, "raw_category", column):
        found.setdefault(name, number)
    return found


def read_id_map(path: Path, id_column: str, column: str) -> dict[int, int]:
    """Ids of label images to ids of a label set, from ``scannetv2-labels.combined.tsv``.

    Args:
        path: of the table.
        id_column: that the images hold: "id" for ScanNet's label-filt, "room_id" for the rooms'.
        column: that the label set's ids are in, such as "nyu40id".

    Returns:
        Ids of the set by ids of the images; 0 where the row has no id in ``column``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: as ``read_label_map``.
    """
    found: dict[int, int] = {}
    for line, text, number in _table_rows(path, id_column, column, keep_empty=True):
        if text:
            found.setdefault(_whole(text, path, line, id_column), number)
    return found


def find_label_table(source: str, folder: Path, given: str) -> Path:
    """The label table that a config names, or that lies in ``folder`` or one folder up.

    Raises:
        FileNotFoundError: none is named and none lies there.
    """
    if given:
        return Path(given).expanduser()
    for place in (folder, folder.resolve().parent):
        if (place / LABEL_TABLE).is_file():
            return place / LABEL_TABLE
    raise FileNotFoundError(
        f"{source}: {LABEL_TABLE} is neither in {folder} nor one folder up; download it "
        "with ScanNet (--label_map) and set label_map to its path"
    )


def table_columns(path: Path) -> list[str]:
    """The column names of a label table; FileNotFoundError where there is none."""
    head = _text(path, "label table").partition("\n")[0]
    return head.rstrip("\r").split("\t")


def _table_rows(
    path: Path, key: str, column: str, *, keep_empty: bool = False
) -> Iterator[tuple[int, str, int]]:
    """Line, text in column ``key`` and id in ``column`` of each row; rows without an id are left
    out, or given 0."""
    rows = csv.reader(
        _text(path, "label table").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE
    )
    try:
        head = next(rows, [])
        for wanted in (key, column):
            if wanted not in head:
                raise ValueError(
                    f"label table {path} has no column {wanted!r}, expected the columns of "
                    f"{LABEL_TABLE}; it has {', '.join(head)[:200]}"
                )
        key_at, id_at = head.index(key), head.index(column)
        for line, row in enumerate(rows, 2):
            if not row:
                continue
            if len(row) <= max(key_at, id_at):
                raise ValueError(
                    f"label table {path} line {line} has {len(row)} columns, expected {len(head)}"
                )
            if row[id_at]:
                yield line, row[key_at], _whole(row[id_at], path, line, column)
            elif keep_empty:
                yield line, row[key_at], 0
    except csv.Error as error:
        raise ValueError(f"label table {path}: {error}") from error


def _whole(text: str, path: Path, line: int, column: str) -> int:
    if not text.isdecimal():
        raise ValueError(
            f"label table {path} line {line}: {column} is {text[:20]!r}, expected a whole number"
        )
    return int(text[:18])


def read_segments(path: Path, num_vertices: int) -> np.ndarray:
    """The segment of each vertex, from ``*_vh_clean_2.0.010000.segs.json``: (N,) int64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other JSON, or not as many segments as the mesh has vertices.
    """
    segments = _whole_numbers(_field(_object(path), "segIndices", path, ""), path, "segIndices")
    if len(segments) != num_vertices:
        raise ValueError(
            f"{path}: segIndices holds {len(segments)} segments, but the mesh has {num_vertices} "
            "vertices; take both from the same release"
        )
    return segments


def read_aggregation(path: Path) -> list[SegmentGroup]:
    """The annotated objects, from ``*.aggregation.json``, in the order of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other JSON; names the file and the field.
    """
    groups = _field(_object(path), "segGroups", path, "")
    if not isinstance(groups, list):
        raise ValueError(f"{path}: segGroups is {_short(groups)}, expected a list")
    found = []
    for index, group in enumerate(groups):
        where = f"segGroups[{index}]"
        if not isinstance(group, dict):
            raise ValueError(f"{path}: {where} is {_short(group)}, expected an object")
        label = _field(group, "label", path, f"{where}.")
        if not isinstance(label, str):
            raise ValueError(f"{path}: {where}.label is {_short(label)}, expected text")
        segments = _field(group, "segments", path, f"{where}.")
        found.append(SegmentGroup(label, _whole_numbers(segments, path, f"{where}.segments")))
    return found


def read_axis_alignment(path: Path) -> np.ndarray:
    """The matrix that turns a scan along its walls, from ``sceneXXXX_YY.txt``.

    Args:
        path: text of lines ``key = value``.

    Returns:
        (4, 4) float64; the identity where there is no line axisAlignment, as in the test scenes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an axisAlignment that is no rotation and translation.
    """
    for number, line in enumerate(_text(path, "scene description").splitlines(), 1):
        key, equals, value = line.partition("=")
        if equals and key.strip() == "axisAlignment":
            return _rigid(value.split(), f"{path} line {number}: axisAlignment")
    return np.eye(4)


def _rigid(words: list[str], what: str) -> np.ndarray:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    if len(numbers) != 16 or not np.isfinite(numbers).all():
        raise ValueError(f"{what} holds {len(numbers)} numbers, expected 16 finite ones")
    matrix = np.array(numbers).reshape(4, 4)
    rotation = matrix[:3, :3]
    off = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if off > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0 or list(matrix[3]) != [0, 0, 0, 1]:
        raise ValueError(f"{what} is no rotation and translation: {matrix.tolist()}")
    return matrix


def _text(path: Path, what: str, limit: int = MAX_TEXT) -> str:
    return _bytes(path, what, limit).decode("utf-8-sig", errors="replace")


def _bytes(path: Path, what: str, limit: int) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{what} {path} does not exist")
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"{what} {path} has {size} bytes, expected at most {limit}; refused")
    return path.read_bytes()


def _object(path: Path) -> dict[str, Any]:
    data = _bytes(path, "label file", MAX_JSON)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}; copy it again") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {_short(value)}, expected an object")
    return value


def _field(fields: dict[str, Any], key: str, path: Path, where: str) -> Any:
    if key not in fields:
        raise ValueError(f"{path}: {where}{key} is missing; it has {', '.join(fields)[:200]}")
    return fields[key]


def _whole_numbers(values: Any, path: Path, where: str) -> np.ndarray:
    if not isinstance(values, list):
        raise ValueError(f"{path}: {where} is {_short(values)}, expected a list of whole numbers")
    odd = next((value for value in values if type(value) is not int), None)  # true is an int too
    if odd is not None or None in values:
        raise ValueError(f"{path}: {where} holds {_short(odd)}, expected whole numbers")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise ValueError(f"{path}: {where} holds a number beyond 64 bits") from error


def _short(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
