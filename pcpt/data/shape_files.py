"""The files that sources of single shapes have in common: folders, tables of numbers, NumPy arrays.
All of them come from others: sizes are looked at before memory is taken, and nothing unpickled."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

MAX_TABLE_BYTES = 1 << 28
MAX_ARRAY_BYTES = 1 << 32
MAX_HEADER_BYTES = 10_000
DEFLATE = 1100  # no stream unpacks to more times its size


def root_folder(source: str, root: str) -> Path:
    """The folder that the key ``root`` of a source names; raises FileNotFoundError if none."""
    path = Path(root).expanduser()
    if not root or not path.is_dir():
        raise FileNotFoundError(
            f"{source}: root is {root!r}, which is no folder; relative paths start at {Path.cwd()}"
        )
    return path


def class_of(path: Path, shape: str, class_name: str, classes: dict[str, int]) -> int:
    """The index of the class of a listed shape; raises ValueError where there is no such class."""
    if class_name not in classes:
        raise ValueError(
            f"{path} lists {shape}, whose class {class_name!r} is none of the {len(classes)}"
        )
    return classes[class_name]


def read_table(path: Path, columns: int, *, delimiter: str | None = None) -> np.ndarray:
    """The numbers of a text file, a line a row.

    Args:
        path: of a file of at most 256 MiB.
        columns: numbers on every line.
        delimiter: between them; None is blanks.

    Returns:
        (N, columns) float64, N >= 1, finite.

    Raises:
        FileNotFoundError: no such file.
        ValueError: too large, empty, a line of other length, or something that is no finite number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise ValueError(f"{path} is of {size} bytes, expected at most {MAX_TABLE_BYTES}")
    lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    return parse_table(path, [line for line in lines if line.strip()], columns, delimiter)


def parse_table(
    path: Path, lines: list[str], columns: int, delimiter: str | None = None
) -> np.ndarray:
    """As ``read_table``, of lines in memory, none of them blank."""
    layout = f"lines of {columns} numbers" + (f" with {delimiter!r} between" if delimiter else "")
    if not lines:
        raise ValueError(f"{path} is empty, expected {layout}")
    try:
        table = np.loadtxt(lines, delimiter=delimiter, comments=None, ndmin=2, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path} is cut short or damaged, expected {layout}: {error}") from None
    if table.shape[1] != columns:
        raise ValueError(f"{path} holds lines of {table.shape[1]} numbers, expected {layout}")
    finite = (np.abs(table) <= np.finfo(np.float32).max).all(1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"{path} row {row + 1}: {lines[row].strip()[:80]!r} holds a value that is not finite "
            f"({int((~finite).sum())} such rows); mend or delete the file"
        )
    return table


def read_npy(path: Path, kinds: str, dimensions: int) -> np.ndarray:
    """An array of a .npy file, whose header is looked at before its data.

    Args:
        path: of the file.
        kinds: letters of ``dtype.kind`` that are allowed, such as "f" or "iu".
        dimensions: of the array.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of array, or a file that is longer or shorter than its header says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
    with path.open("rb") as file:
        return _read_array(str(path), file, path.stat().st_size, kinds, dimensions)


def read_npz(path: Path, wanted: dict[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Arrays of a .npz file; those that it does not hold are left out.

    Args:
        path: of the file.
        wanted: by name the kinds and dimensions, as ``read_npy``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such archive, or an array that cannot be used.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            found = {}
            for name, (kinds, dimensions) in wanted.items():
                info = members.get(f"{name}.npy")
                if info is None:
                    continue
                where = f"{path}: {name}"
                if info.file_size > DEFLATE * info.compress_size + 1024:
                    raise ValueError(f"{where} claims more bytes than its packed data can hold")
                with archive.open(info) as member:
                    found[name] = _read_array(where, member, info.file_size, kinds, dimensions)
            return found
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or no .npz file: {error}") from error
    except Exception as error:  # zlib.error, and what zipfile lets through of broken directories
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _read_array(where: str, file: IO[bytes], size: int, kinds: str, dimensions: int) -> np.ndarray:
    """An array in NumPy's format of ``size`` bytes in all, from a file at its beginning."""
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format version {version}, expected 1.0 or 2.0")
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file, max_header_size=MAX_HEADER_BYTES)  # type: ignore[arg-type]
    except Exception as error:  # a damaged header fails in many ways, even in the tokenizer
        raise ValueError(f"{where} has no readable NumPy header: {error}") from error
    if dtype.hasobject or dtype.kind not in kinds or dtype.subdtype or len(shape) != dimensions:
        raise ValueError(
            f"{where} is {dtype} {shape}, expected {dimensions} dimensions of kind {kinds}"
        )
    count = 1
    for extent in shape:
        count *= int(extent)
    expected = count * dtype.itemsize
    if expected > MAX_ARRAY_BYTES or not 0 <= size - expected <= MAX_HEADER_BYTES + 16:
        raise ValueError(f"{where} is of {size} bytes, but its header says {dtype} {shape}")
    data = file.read(expected)
    if len(data) != expected or file.read(1):
        raise ValueError(f"{where} is of another length than its header says, {dtype} {shape}")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
