"""Damaged tar shards: each is read or refused by name, soon, and in little memory."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from pcpt.cli import main
from pcpt.data.frame import BrokenFrame
from pcpt.data.sources.shards import Shards
from pcpt.data.tar_index import LISTING
from tests.data import tiny_scans
from tests.fuzz.bounded import assert_all_pass, damaged, read_all

NUM_DAMAGED = 100
ODD = (None, 0, -1, 1e400, 2**70, "", "x" * 300, [], {}, [[]], True, [1, 2, 3], "../../x")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A shard of three frames."""
    folder = tmp_path_factory.mktemp("shard")
    tiny_scans.write_folder(folder / "in")
    words = ["folder", str(folder / "in"), str(folder / "out"), "--no-doctor", "--shards", "1"]
    assert main(["prepare", *words]) == 0
    return (folder / "out" / "shards" / "000000.tar").read_bytes()


def read(path: Path) -> None:
    for scan in Shards(Shards.Config(roots=[str(path)])).open():
        for name in scan.names:
            try:
                scan.load(name)
            except BrokenFrame as error:
                assert path.name in str(error)


def check(tmp_path: Path, contents: list[bytes], refused: int) -> None:
    paths = []
    for number, data in enumerate(contents):
        paths.append(tmp_path / f"{number:06d}.tar")
        paths[-1].write_bytes(data)
    outcomes = read_all(paths, read, lambda path: path.stat().st_size)
    assert_all_pass(outcomes, paths, refused=refused)


def test_damaged_files(tmp_path: Path, shard: bytes) -> None:
    check(tmp_path, [damaged(shard, seed) for seed in range(NUM_DAMAGED)], NUM_DAMAGED // 3)


def test_every_kind_of_truncation(tmp_path: Path, shard: bytes) -> None:
    sizes = range(0, len(shard) - 10_240, 171)
    check(tmp_path, [shard[:size] for size in sizes], len(sizes) - 2)


def test_bits_of_headers(tmp_path: Path, shard: bytes) -> None:
    contents = []
    for bit in range(0, 512 * 8, 29):
        data = bytearray(shard)
        data[bit // 8] ^= 1 << bit % 8
        contents.append(bytes(data))
    check(tmp_path, contents, len(contents) - 10)


def variants(value: object) -> list[object]:
    """The value with each part of it replaced by odd things in turn, or missing."""
    found: list[object] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [{**value, key: odd} for odd in ODD]
            found.append({k: v for k, v in value.items() if k != key})
            found += [{**value, key: each} for each in variants(inner)]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        found += [[each, *value[1:]] for each in variants(value[0])]
        found += [[odd, *value[1:]] for odd in ODD]
    return found


def packed(files: dict[str, bytes]) -> bytes:
    """A tar file of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("member", [LISTING, "tiny/000000.json"])
def test_json_of_the_wrong_shape(tmp_path: Path, shard: bytes, member: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        files = {info.name: tar.extractfile(info) for info in tar}
        data = {name: file.read() for name, file in files.items() if file is not None}
    values = [json.dumps(value).encode() for value in variants(json.loads(data[member]))]
    assert len(values) > 100
    contents = [packed(data | {member: value}) for value in [*values, b"[" * 60_000]]
    check(tmp_path, contents, len(contents) // 2 if member == LISTING else 0)
