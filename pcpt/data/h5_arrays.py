"""Arrays in HDF5 files of others: looked at before they are read."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from pcpt.data.shape_files import DEFLATE, MAX_ARRAY_BYTES


def read_h5(path: Path, wanted: dict[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Arrays of an HDF5 file; those that it does not hold are left out.

    Data sets that point to other files (links, external storage, virtual ones) are refused, and so
    is a shape that the stored bytes cannot fill.

    Args:
        path: of the file.
        wanted: by name the letters of ``dtype.kind`` that are allowed, and the dimensions.

    Raises:
        ModuleNotFoundError: h5py is not installed.
        FileNotFoundError: no such file.
        ValueError: no HDF5 file, or an array that cannot be used.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            return {
                name: _read(h5py, path, file, name, kinds, dimensions)
                for name, (kinds, dimensions) in wanted.items()
                if name in file
            }
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    except (OSError, KeyError, RuntimeError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged or no HDF5 file: {error}") from error


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "HDF5 files need the package h5py: pip install 'pcpt[objects]'"
        ) from error


def _read(h5py: Any, path: Path, file: Any, name: str, kinds: str, dimensions: int) -> np.ndarray:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{path}: {name} is a link to somewhere else, expected a data set")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{path}: {name} is a group, expected a data set")
    dtype, shape = data.dtype, data.shape
    if shape is None or dtype.kind not in kinds or len(shape) != dimensions:
        raise ValueError(
            f"{path}: {name} is {dtype} {shape}, expected {dimensions} dimensions of kind {kinds}"
        )
    if data.external or data.is_virtual:
        raise ValueError(f"{path}: {name} has its data in other files, which is not read")
    size, stored = data.nbytes, data.id.get_storage_size()
    if size > MAX_ARRAY_BYTES or size > DEFLATE * stored or stored > path.stat().st_size:
        raise ValueError(
            f"{path}: {name} is {dtype} {shape}, but {stored} bytes are stored of it; the file is "
            "damaged or larger than expected"
        )
    return np.asarray(data[()])
