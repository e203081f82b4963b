"""Lists of labelled points, as the ScanNet data-efficient benchmark publishes them, and plain ones.

The published files (``points20``, ``points50``, ``points100``, ``points200``) were written by
``torch.save``: a dict from scene name to a NumPy array of places in the vertex list of that scene's
``_vh_clean_2.ply``. They are pickles. Here none of what a pickle may name is called but the few
names that make up such arrays, and these are answered by classes of this file.
"""

import functools
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcpt.data.scan_list import NAME

MAX_BYTES = 1 << 28  # 1,513 scenes of 20,000 points
_INTEGERS = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


def read_point_list(path: str | os.PathLike[str]) -> Mapping[str, np.ndarray]:
    """Places of the labelled points in each scene's point list; read once while it is unchanged.

    Accepted, told apart by content:

    - text, one scene a line: its name, then whole numbers, all parted by blanks; ``#`` begins a
      comment;
    - ``.npz`` with one array of whole numbers for each scene, by name;
    - what ``torch.save`` makes of a dict from name to array, tensor or list of whole numbers.

    Returns:
        (P,) int64 by scene name; repeated places are kept.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, a name or number that is none, or no scene at all.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"list of points {path} does not exist")
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> Mapping[str, np.ndarray]:
    _check_size(path, size)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        _check_size(path, sum(member.file_size for member in members))
        arrays = all(member.filename.endswith(".npy") for member in members)
        entries = _from_npz(path) if arrays else _from_torch(path)
    else:
        with open(path, "rb") as file:
            binary = b"\0" in file.read(1024)
        entries = _from_torch(path) if binary else _from_text(path)
    if not entries:
        raise ValueError(f"list of points {path} is empty")
    return {name: _as_index(path, name, values) for name, values in entries.items()}


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(
            f"list of points {path} has {size} bytes, more than {MAX_BYTES}: it is no list"
        )


def _from_text(path: Path) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name = words[0]
        if name in entries:
            raise ValueError(f"{path} line {number}: {name} comes twice")
        try:
            entries[name] = np.array([int(word) for word in words[1:]], dtype=np.int64)
        except (ValueError, OverflowError):
            raise ValueError(
                f"{path} line {number}: expected a scene's name and whole numbers, got "
                f"{line.strip()[:60]!r}"
            ) from None
    return entries


def _from_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"list of points {path} is a broken npz file: {error}") from None


class _PickledDtype:
    """Stands for a dtype in a pickle."""

    def __init__(self, code: str = "", *_: object) -> None:
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if len(state) > 1 and state[1] == ">" else "<"


class _PickledArray:
    """Stands for an array in a pickle; ``read`` makes it from its bytes."""

    def __init__(self, *_: object) -> None:  # the shape given here is not the array's
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def read(self) -> np.ndarray:
        """The array; raises ``ValueError`` unless it is one of whole numbers along one axis."""
        match self.state:
            case (_, (int(count),), _PickledDtype() as dtype, _, bytes(data)):
                if dtype.code in _INTEGERS:
                    values = np.frombuffer(data, dtype=dtype.order + dtype.code)
                    if len(values) == count:
                        return values
        raise ValueError("not an array of whole numbers along one axis")


def _no_bytes() -> bytes:
    """Stands for ``bytes``, which pickles call for an array without elements."""
    return b""


# Names in a pickle of arrays -> what answers to them.
_STAND_INS: list[tuple[Any, str]] = [
    (_PickledArray, "numpy.core.multiarray._reconstruct"),
    (_PickledArray, "numpy._core.multiarray._reconstruct"),
    (_PickledArray, "numpy.ndarray"),
    (_PickledDtype, "numpy.dtype"),
    (_no_bytes, "builtins.bytes"),
]


def _from_torch(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_STAND_INS):  # type: ignore[arg-type]
            entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle fails in any way: IndexError, KeyError, ...
        lines = [line for line in str(error).splitlines() if "Unpickler error" in line]
        reason = lines[0].strip() if lines else type(error).__name__
        raise ValueError(
            f"list of points {path} is neither text nor npz, nor a dict of arrays as torch.save "
            f"writes it: {reason.partition('. Please use')[0]}"
        ) from None
    if not isinstance(entries, dict):
        raise ValueError(
            f"list of points {path} holds a {type(entries).__name__}, expected a dict from the "
            "name of a scene to its points"
        )
    return entries


def _as_index(path: Path, name: object, values: Any) -> np.ndarray:
    where = f"list of points {path}: scene {name!r}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{where} is no scene name")
    try:
        values = values.read() if isinstance(values, _PickledArray) else np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{where}: {error}") from None
    if values.size == 0:
        values = values.astype(np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(
            f"{where} holds {values.dtype} {values.shape}, expected whole numbers along one axis"
        )
    index = values.astype(np.int64)
    if len(index) and int(index.min()) < 0:
        raise ValueError(f"{where} holds {int(index.min())}, expected 0 or more")
    return index
