"""Damaged files of single shapes: each is read or refused by name, soon, and in little memory."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from pcpt.data.h5_arrays import read_h5
from pcpt.data.off import read_off
from pcpt.data.shape_files import read_npy, read_npz, read_table
from tests.data.shape_writers import clouds, off_text, write_npz_split
from tests.fuzz.bounded import assert_all_pass, damaged, read_all

NUM_DAMAGED = 40


def _off(path: Path) -> None:
    path.write_text(off_text(glued=True, squares=True))


def _npy(path: Path) -> None:
    np.save(path.with_suffix(".npy"), clouds(1, 20)[0])
    path.with_suffix(".npy").rename(path)


def _npz(path: Path) -> None:
    (write_npz_split(path.parent / "npz") / "train.npz").rename(path)


def _h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=clouds(3, 20), compression="gzip")
        file.create_dataset("label", data=np.zeros((3, 1), "u1"))


def _table(path: Path) -> None:
    np.savetxt(path, clouds(2, 20).reshape(20, 6), fmt="%.6f", delimiter=",")


KINDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object], int]] = {
    "off": (_off, read_off, 10),
    "npy": (_npy, lambda path: read_npy(path, "f", 2), 8),
    "npz": (
        _npz,
        lambda path: read_npz(path, {"points": ("f", 3), "label": ("iu", 1), "name": ("U", 1)}),
        10,
    ),
    "h5": (_h5, lambda path: read_h5(path, {"data": ("f", 3), "label": ("iu", 2)}), 5),
    "table": (_table, lambda path: read_table(path, 6, delimiter=","), 10),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(tmp_path: Path, kind: str) -> None:
    write, read, refused = KINDS[kind]
    whole = tmp_path / "whole"
    write(whole)
    read(whole)
    paths = []
    for seed in range(NUM_DAMAGED):
        paths.append(tmp_path / f"damaged{seed}")
        paths[-1].write_bytes(damaged(whole.read_bytes(), seed))
    outcomes = read_all(paths, read, lambda path: path.stat().st_size)
    assert_all_pass(outcomes, paths, refused=refused)
