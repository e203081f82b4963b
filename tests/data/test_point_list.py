"""Lists of labelled points: three formats, and files that must be refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcpt.data.point_list import read_point_list

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
POINTS = {"scene0000_00": [5, 0, 7], "scene0001_00": [], "scene0001_01": [2, 2]}


def _arrays(dtype: Any = np.int64) -> dict[str, np.ndarray]:
    return {name: np.array(index, dtype=dtype) for name, index in POINTS.items()}


def _check(path: Path) -> None:
    found = read_point_list(path)
    assert {name: index.tolist() for name, index in found.items()} == POINTS
    assert all(index.dtype == np.int64 for index in found.values())


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("# ours\nscene0000_00 5 0\t7\n\nscene0001_00 # none\nscene0001_01 2 2\n")
    _check(path)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    np.savez(path, **_arrays(np.int32))  # type: ignore[arg-type]
    _check(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, ">i8"])
def test_what_torch_saves_of_arrays(tmp_path: Path, dtype: Any, zipped: bool) -> None:
    path = tmp_path / "points20"
    torch.save(_arrays(dtype), path, _use_new_zipfile_serialization=zipped)
    _check(path)


def test_names_of_old_and_new_numpy(tmp_path: Path) -> None:
    """NumPy 1 called the module numpy.core, NumPy 2 calls it numpy._core."""
    path = tmp_path / "points20"
    torch.save(_arrays(), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert b"numpy._core.multiarray" in data
    path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    _check(path)


@pytest.mark.parametrize("convert", [torch.tensor, list])
def test_what_torch_saves_of_tensors_and_lists(tmp_path: Path, convert: Any) -> None:
    path = tmp_path / "points20"
    torch.save({name: convert(index) for name, index in POINTS.items()}, path)
    _check(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("a 1\n")
    first = read_point_list(path)
    assert read_point_list(path) is first
    path.write_text("a 1 2\n")
    os.utime(path, (1, 1))
    assert read_point_list(path)["a"].tolist() == [1, 2]


class _Touch:
    """Pickles as a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_is_run(tmp_path: Path, zipped: bool) -> None:
    path, made = tmp_path / "points20", tmp_path / "made"
    torch.save({"a": _Touch(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="Unsupported global"):
        read_point_list(path)
    path.write_bytes(pickle.dumps({"a": _Touch(made)}))
    with pytest.raises(ValueError, match="neither text nor npz"):
        read_point_list(path)
    assert not made.exists()


class _Huge:
    """Pickles as an array of a trillion elements without their bytes."""

    def __reduce__(self) -> tuple:
        make = np.zeros(1).__reduce__()[0]
        state = (1, (1 << 40,), np.dtype(np.int64), False, b"12345678")
        return (make, (np.ndarray, (1 << 40,), b"b"), state)


def test_announced_sizes_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "points20"
    torch.save({"a": _Huge()}, path)
    with pytest.raises(ValueError, match="not an array of whole numbers"):
        read_point_list(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.zeros((2, 2), dtype=np.int64)}, "not an array of whole numbers"),
        ({"a": np.zeros(3)}, "not an array of whole numbers"),
        ({"a": np.array(["x"], dtype=object)}, "not an array of whole numbers|Unpickler"),
        ({"a": torch.zeros(3)}, "expected whole numbers"),
        ({"a": torch.zeros(2, 2, dtype=torch.int64)}, "expected whole numbers"),
        ({"a": [-1]}, "holds -1"),
        ({"a": ["x"]}, "expected whole numbers"),
        ({"a": [[1], [1, 2]]}, "scene 'a'"),
        ({"a": {"b": 1}}, "expected whole numbers"),
        ({"../a": [1]}, "no scene name"),
        ({3: [1]}, "no scene name"),
        ({}, "is empty"),
        ([1, 2], "holds a list"),
    ],
)
def test_other_content(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "points20"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        read_point_list(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("a 1\na 2\n", "line 2: a comes twice"),
        ("a 1 x\n", "line 1: expected"),
        ("a 1.5\n", "line 1: expected"),
        ("a 99999999999999999999999\n", "line 1: expected"),
        ("a -4\n", "holds -4"),
        ("../a 1\n", "no scene name"),
    ],
)
def test_other_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_point_list(path)


def test_other_npz(tmp_path: Path) -> None:
    path = tmp_path / "points.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match="expected whole numbers"):
        read_point_list(path)
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="broken npz"):
        read_point_list(path)


def test_damaged_files_are_value_errors(tmp_path: Path) -> None:
    path = tmp_path / "points20"
    random = np.random.default_rng(0)
    for save in (
        lambda: torch.save(_arrays(), path),
        lambda: torch.save(_arrays(), path, _use_new_zipfile_serialization=False),
        lambda: np.savez(path.open("wb"), **_arrays()),  # type: ignore[arg-type]
    ):
        save()
        data = path.read_bytes()
        for _ in range(100):
            broken = bytearray(data[: random.integers(1, len(data) + 1)])
            for place in random.integers(0, len(broken), 3):
                broken[place] = random.integers(256)
            path.write_bytes(broken)
            try:
                found = read_point_list(path)
            except ValueError:
                continue
            assert all(index.dtype == np.int64 and index.ndim == 1 for index in found.values())


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pcpt.data.point_list.MAX_BYTES", 100)
    path = tmp_path / "points.txt"
    path.write_text("a " + "1 " * 100)
    with pytest.raises(ValueError, match="it is no list"):
        read_point_list(path)
    np.savez_compressed(path.open("wb"), a=np.zeros(1000, dtype=np.int64))
    monkeypatch.setattr("pcpt.data.point_list.MAX_BYTES", 2000)
    assert path.stat().st_size < 2000
    with pytest.raises(ValueError, match="it is no list"):
        read_point_list(path)
