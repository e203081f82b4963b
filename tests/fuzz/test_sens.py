"""Damaged .sens files: each is read or refused by name, soon, and in little memory."""

import struct
from pathlib import Path

import pytest

from pcpt.data.frame import BrokenFrame
from pcpt.data.sources.scannet_sens import SensScan
from tests.data.sens_bytes import Sens
from tests.fuzz.bounded import assert_all_pass, damaged, read_all

NUM_DAMAGED = 60
# byte from the start of the last 36 of the header, and how a value there is packed
FIELDS = {
    "color code": (0, "<i"),
    "depth code": (4, "<i"),
    "color width": (8, "<I"),
    "color height": (12, "<I"),
    "depth width": (16, "<I"),
    "depth height": (20, "<I"),
    "shift": (24, "<f"),
    "frames": (28, "<Q"),
}
VALUES = {"<i": (-1, 2**31 - 1), "<I": (0, 8191, 2**32 - 1), "<f": (-1.0, 1e-38, float("inf"))}
VALUES["<Q"] = (0, 4, 2**33, 2**60, 2**64 - 1)


def read(path: Path) -> None:
    scan = SensScan(path)
    for name in scan.names:
        try:
            scan.load(name)
        except BrokenFrame as error:
            assert path.name in str(error)


def lies() -> dict[str, bytes]:
    """Whole files in which one field of the header or of a frame lies."""
    sens = Sens()
    whole, start = sens.bytes(), len(sens.header()) - 36
    found = {}
    for field, (at, kind) in FIELDS.items():
        for value in VALUES[kind]:
            data = bytearray(whole)
            struct.pack_into(kind, data, start + at, value)
            found[f"{field} {value}"] = bytes(data)
    second = len(sens.header()) + len(sens.frame(0))
    for at, field in ((80, "bytes of colour"), (88, "bytes of depth")):
        for value in (0, 1, 2**20, 2**40, 2**64 - 1):
            data = bytearray(whole)
            struct.pack_into("<Q", data, second + at, value)
            found[f"{field} {value}"] = bytes(data)
    return found


@pytest.mark.parametrize("codes", [(2, 1), (1, 1), (0, 0)])
def test_damaged_files(tmp_path: Path, codes: tuple[int, int]) -> None:
    whole = Sens(color_code=codes[0], depth_code=codes[1]).bytes()
    paths = []
    for seed in range(NUM_DAMAGED // 3):
        paths.append(tmp_path / f"damaged{seed}.sens")
        paths[-1].write_bytes(damaged(whole, seed))
    outcomes = read_all(paths, read, lambda path: path.stat().st_size)
    assert_all_pass(outcomes, paths, refused=NUM_DAMAGED // 9)


def test_lying_headers(tmp_path: Path) -> None:
    paths = []
    for number, data in enumerate(lies().values()):
        paths.append(tmp_path / f"lie{number}.sens")
        paths[-1].write_bytes(data)
    assert len(paths) >= 30
    outcomes = read_all(paths, read, lambda path: path.stat().st_size)
    assert_all_pass(outcomes, paths, refused=24)
