"""Damaged PLY files: each is read or refused by name, soon, and in little memory."""

from pathlib import Path

import pytest

from pcpt.data.ply import read_mesh, read_ply
from tests.data.test_mesh_ply import KINDS, arrays, write_scannet_mesh
from tests.fuzz.bounded import assert_all_pass, damaged, read_all

NUM_DAMAGED = 20  # of each kind
EDITS = [
    (b"element vertex 7", b"element vertex 8"),
    (b"element vertex 7", b"element vertex 1000000000"),
    (b"element vertex 7", b"element vertex 999999999999999999"),
    (b"element vertex 7", b"element vertex 99999999999999999999999999"),
    (b"element vertex 7", b"element vertex -1"),
    (b"element vertex 7", b"element vertex 7 7"),
    (b"element face 5", b"element face 6"),
    (b"element face 5", b"element face 4000000000"),
    (b"property float x", b"property double x"),
    (b"property float x", b"property list uint float x"),
    (b"property float x", b"property float y"),
    (b"property list uchar int vertex_indices", b"property list float int vertex_indices"),
    (b"property list uchar int vertex_indices", b"property list int int vertex_indices"),
    (b"property list uchar int vertex_indices", b"property int vertex_indices"),
    (b"property ushort label", b"property float label"),
    (b"end_header\n", b""),
    (b"format", b"element empty 1000000000000\nformat"),
    (b"format", b"comment " + b"x" * 70_000 + b"\nformat"),
    (b"element vertex", b"property float w\nelement vertex"),
    (b"1.0", b"2.0"),
]


def read(path: Path) -> None:
    read_mesh(path)
    read_ply(path)


def read_both(paths: list[Path], refused: int) -> None:
    assert_all_pass(read_all(paths, read, lambda path: path.stat().st_size), paths, refused=refused)


@pytest.mark.parametrize("text, byte_order", KINDS)
def test_damaged_files(tmp_path: Path, text: bool, byte_order: str) -> None:
    whole = write_scannet_mesh(tmp_path / "whole.ply", arrays(), text, byte_order).read_bytes()
    paths = []
    for seed in range(NUM_DAMAGED):
        paths.append(tmp_path / f"damaged{seed}.ply")
        paths[-1].write_bytes(damaged(whole, seed))
    read_both(paths, refused=NUM_DAMAGED // 3)


@pytest.mark.parametrize("text, byte_order", KINDS)
def test_lying_headers(tmp_path: Path, text: bool, byte_order: str) -> None:
    whole = write_scannet_mesh(tmp_path / "whole.ply", arrays(), text, byte_order).read_bytes()
    paths = []
    for number, (old, new) in enumerate(EDITS):
        assert old in whole
        paths.append(tmp_path / f"lie{number}.ply")
        paths[-1].write_bytes(whole.replace(old, new, 1))
    read_both(paths, refused=len(EDITS) - 2)
