"""The bytes of PLY files: header, and columns of one element, read without trusting either.

Sizes are compared with the file's before anything is allocated, binary files are mapped rather than
read, and text is parsed in pieces, so that memory stays near that of the columns asked for.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAX_HEADER = 1 << 16
MAX_LINE = 1 << 16
CHUNK_LINES, CHUNK_BYTES = 1 << 14, 1 << 20
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class PlyError(ValueError):
    """A PLY file that cannot be read; the message names the file, the place and the remedy."""


@dataclass(frozen=True)
class Property:
    """One property: ``kind`` is its numpy type without byte order; ``count_kind`` that of a list's
    length, empty for a single number."""

    name: str
    kind: str
    count_kind: str = ""


@dataclass(frozen=True)
class Element:
    """One element, such as vertex: ``count`` rows of ``properties``."""

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def names(self) -> list[str]:
        """Of the properties, in order."""
        return [each.name for each in self.properties]

    def find(self, name: str) -> Property | None:
        """The property of that name."""
        return next((each for each in self.properties if each.name == name), None)


@dataclass(frozen=True)
class PlyFile:
    """A PLY file whose header was read.

    Attributes:
        path: of the file.
        byte_order: "<" or ">"; empty for text.
        elements: in the order of the file.
        start: byte at which the first element begins.
        size: of the file in bytes.
    """

    path: Path
    byte_order: str
    elements: tuple[Element, ...]
    start: int
    size: int

    def find(self, name: str) -> Element | None:
        """The element of that name."""
        return next((each for each in self.elements if each.name == name), None)

    def error(self, what: str) -> PlyError:
        """An error of a file that is not whole or not a PLY."""
        return PlyError(f"{self.path} is not a whole PLY file ({what}); copy or export it again")


def open_ply(path: Path) -> PlyFile:
    """Reads the header of a PLY file.

    Raises:
        FileNotFoundError: no such file.
        PlyError: not a PLY, or elements that do not fit into the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such PLY file: {path}")
    size = path.stat().st_size
    with path.open("rb") as file:
        empty = PlyFile(path, "", (), 0, size)
        lines = _header_lines(file, empty)
        byte_order, elements = _parse(lines, empty)
        ply = PlyFile(path, byte_order, elements, file.tell(), size)
    _check_sizes(ply)
    return ply


def read_columns(ply: PlyFile, element: Element, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of an element by the names of their properties.

    Returns:
        (N,) in the file's type and byte order for a number, (N, K) for lists, all of one length K.
        Columns of a binary file are views of the mapped file: copy what is kept.

    Raises:
        PlyError: cut short, text that is no number, or lists of different lengths.
    """
    if not ply.byte_order:
        return _read_text(ply, element, names)
    offset = ply.start
    for before in ply.elements[: ply.elements.index(element)]:
        rows = _map(ply, before, offset)
        offset = _walk(ply, before, offset) if rows is None else offset + rows.nbytes
    rows = _map(ply, element, offset)
    if rows is None:
        _walk(ply, element, offset)  # says so if the file ends too early
        raise _unequal(ply, element)
    return {name: rows[name] for name in names}


def _header_lines(file: BinaryIO, ply: PlyFile) -> list[list[str]]:
    lines: list[list[str]] = []
    while True:
        line = file.readline(MAX_LINE)
        if not lines and line.strip() != b"ply":
            raise ply.error(f"it begins with {line[:12]!r}, expected 'ply'")
        if not line.endswith(b"\n") or file.tell() > MAX_HEADER:
            raise ply.error(f"no end_header up to byte {file.tell()}")
        words = line.decode("ascii", errors="replace").split()
        lines.append(words)
        if words == ["end_header"]:
            return lines[1:-1]


def _parse(lines: list[list[str]], ply: PlyFile) -> tuple[str, tuple[Element, ...]]:
    byte_order: str | None = None
    elements: dict[str, tuple[int, list[Property]]] = {}
    for number, words in enumerate(lines, 2):
        where = f"line {number} of its header is {' '.join(words)[:60]!r}"
        match words:
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case ["format", kind, "1.0"] if kind in FORMATS and byte_order is None:
                byte_order = FORMATS[kind]
            case ["element", name, count] if count.isdecimal() and name not in elements:
                if len(count) > 18:
                    raise ply.error(f"{where}: more rows than any file holds")
                elements[name] = (int(count), [])
            case ["property", "list", count, kind, name] if elements and _list_of(count, kind):
                _last(elements).append(Property(name, TYPES[kind], TYPES[count]))
            case ["property", kind, name] if elements and kind in TYPES:
                _last(elements).append(Property(name, TYPES[kind]))
            case _:
                raise ply.error(f"{where}, which is no header line of PLY 1.0 in this place")
    if byte_order is None:
        raise ply.error("its header has no line 'format'")
    for name, (_, properties) in elements.items():
        names = [each.name for each in properties]
        if len(set(names)) < len(names):
            raise ply.error(f"element {name!r} has two properties of one name")
    found = (Element(name, count, tuple(each)) for name, (count, each) in elements.items())
    return byte_order, tuple(found)


def _list_of(count: str, kind: str) -> bool:
    return TYPES.get(count, "f")[0] in "iu" and kind in TYPES


def _last(elements: dict[str, tuple[int, list[Property]]]) -> list[Property]:
    return elements[next(reversed(elements))][1]


def _check_sizes(ply: PlyFile) -> None:
    """The fewest bytes that the announced rows can take must be there."""
    left = ply.size - ply.start
    for element in ply.elements:
        if not element.properties and element.count:
            raise ply.error(f"element {element.name!r} has {element.count} rows of no property")
        if ply.byte_order:
            row = sum(_width(each.count_kind or each.kind) for each in element.properties)
        else:
            row = 2 * len(element.properties)
        needed = element.count * row - (0 if ply.byte_order else 1)
        if needed > left:
            raise ply.error(
                f"element {element.name!r} announces {element.count} rows of at least {row} bytes, "
                f"but {max(left, 0)} bytes are left: early end-of-file"
            )
        left -= needed


def _width(kind: str) -> int:
    return int(kind[1:])


def _map(ply: PlyFile, element: Element, offset: int) -> np.ndarray | None:
    """Rows of a binary element as a view of the file; None if its lists differ in length."""
    lengths = _first_lengths(ply, element, offset)
    fields: list[tuple[Any, ...]] = []
    for each in element.properties:
        if each.count_kind:
            fields.append((f"{each.name}#", ply.byte_order + each.count_kind))
        shape = (lengths[each.name],) if each.count_kind else ()
        fields.append((each.name, ply.byte_order + each.kind, shape))
    try:
        dtype = np.dtype(fields)
    except ValueError as error:  # rows of 2 GiB
        raise ply.error(f"element {element.name!r}: {error}") from error
    if offset + element.count * dtype.itemsize > ply.size:
        if lengths:
            return None  # the first list may be longer than the others
        raise _ends(ply, element)
    if not element.count or not dtype.itemsize:
        return np.zeros(element.count, dtype)
    rows = np.memmap(ply.path, dtype, "r", offset, (element.count,))
    same = all((rows[f"{name}#"] == length).all() for name, length in lengths.items())
    return rows if same else None


def _first_lengths(ply: PlyFile, element: Element, offset: int) -> dict[str, int]:
    """The length of each list in the first row of a binary element."""
    lengths: dict[str, int] = {}
    if not any(each.count_kind for each in element.properties):
        return lengths
    if not element.count:
        return {each.name: 0 for each in element.properties if each.count_kind}
    with ply.path.open("rb") as file:
        _skip_row(ply, element, file, offset, lengths)
    return lengths


def _walk(ply: PlyFile, element: Element, offset: int) -> int:
    """The byte after a binary element whose lists differ in length."""
    with ply.path.open("rb") as file:
        for _ in range(element.count):
            offset = _skip_row(ply, element, file, offset, {})
    return offset


def _skip_row(
    ply: PlyFile, element: Element, file: BinaryIO, offset: int, lengths: dict[str, int]
) -> int:
    for each in element.properties:
        count = 1
        if each.count_kind:
            width = _width(each.count_kind)
            file.seek(offset)
            data = file.read(width)
            if len(data) < width:
                raise _ends(ply, element)
            count = int(np.frombuffer(data, ply.byte_order + each.count_kind)[0])
            lengths[each.name] = count
            offset += width
        offset += count * _width(each.kind)
        if count < 0 or offset > ply.size:
            raise ply.error(
                f"a list {each.name!r} of element {element.name!r} announces {count} numbers, "
                "beyond the end of the file"
            )
    return offset


def _ends(ply: PlyFile, element: Element) -> PlyError:
    return ply.error(f"element {element.name!r}: early end-of-file")


def _unequal(ply: PlyFile, element: Element) -> PlyError:
    return PlyError(
        f"{ply.path}: lists of element {element.name!r} differ in length; triangulate its faces"
    )


def _read_text(ply: PlyFile, element: Element, names: Sequence[str]) -> dict[str, np.ndarray]:
    """One row a line, as every writer of text has it."""
    before = sum(each.count for each in ply.elements[: ply.elements.index(element)])
    parts: list[dict[str, np.ndarray]] = []
    with ply.path.open("rb") as file:
        file.seek(ply.start)
        for _ in range(before):
            if not file.readline(MAX_LINE).endswith(b"\n"):
                raise _ends(ply, element)
        done = 0
        while done < element.count:
            lines = _some_lines(file, element.count - done)
            if not lines:
                raise _ends(ply, element)
            parts.append(_parse_lines(ply, element, lines, done, names))
            done += len(lines)
    if not parts:
        return {name: _empty(element, name) for name in names}
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
    except ValueError as error:
        raise _unequal(ply, element) from error


def _some_lines(file: BinaryIO, most: int) -> list[bytes]:
    lines: list[bytes] = []
    size = 0
    while len(lines) < min(most, CHUNK_LINES) and size < CHUNK_BYTES:
        line = file.readline(MAX_LINE)
        if not line:
            break
        lines.append(line)
        size += len(line)
    return lines


def _empty(element: Element, name: str) -> np.ndarray:
    found = element.find(name)
    assert found is not None
    return np.zeros((0, 0) if found.count_kind else 0, found.kind)


def _parse_lines(
    ply: PlyFile, element: Element, lines: list[bytes], done: int, names: Sequence[str]
) -> dict[str, np.ndarray]:
    what = f"rows {done} to {done + len(lines) - 1} of element {element.name!r}"
    has_lists = any(each.count_kind for each in element.properties)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no data at all is a warning only
            table = np.loadtxt(
                [line.decode("ascii", errors="replace") for line in lines],
                dtype=np.float64,
                comments=None,
                ndmin=2,
            )
    except (ValueError, UserWarning) as error:
        if has_lists and len({len(line.split()) for line in lines}) > 1:
            raise _unequal(ply, element) from error
        raise ply.error(f"{what}: malformed input: {error}") from error
    columns: dict[str, np.ndarray] = {}
    place = 0
    for each in element.properties:
        length = 1
        if each.count_kind:
            if place >= table.shape[1] or (table[:, place] != table[0, place]).any():
                raise _unequal(ply, element)
            length = int(table[0, place])
            place += 1
        block = table[:, place : place + length]
        if length < 0 or block.shape != (len(lines), length):
            raise ply.error(f"{what}: malformed input: {table.shape[1]} numbers a line")
        place += length
        if each.name in names:
            columns[each.name] = _cast(ply, block if each.count_kind else block[:, 0], each, what)
    if place != table.shape[1]:
        raise ply.error(f"{what}: malformed input: {table.shape[1]} numbers a line")
    return columns


def _cast(ply: PlyFile, values: np.ndarray, each: Property, what: str) -> np.ndarray:
    if each.kind[0] in "iu":
        limits = np.iinfo(each.kind)
        if not ((values >= limits.min) & (values <= limits.max) & (values % 1 == 0)).all():
            raise ply.error(f"{what}: malformed input: {each.name!r} is no {each.kind}")
    return values.astype(each.kind)
