"""Shapes in files that are called alike, classes that a split lacks, and parts without label."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pcpt.data.file_names import names_of_files
from tests.data.shape_writers import clouds, off_text, write_modelnet_off, write_npz_split
from tests.data.test_shape_sources import opened


def test_names_are_stems_unless_several_have_the_same(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a/0.off", "a/1.off", "b/0.off", "2.off")]
    assert names_of_files(tmp_path, files) == ["a/0", "1", "b/0", "2"]
    with pytest.raises(ValueError, match=r"0\.off and .*0\.OFF would both be shape 'a/0'"):
        names_of_files(tmp_path, [*files, tmp_path / "a/0.OFF"])


def write_off(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(off_text())


def test_meshes_of_the_same_name_in_two_classes(tmp_path: Path) -> None:
    for path in ("chair/train/0000.off", "chair/train/0001.off", "table/train/0000.off"):
        write_off(tmp_path / path)
    cache = str(tmp_path / "cache")
    shapes = opened("modelnet_off", tmp_path, surface_points=8, cache=cache)
    assert list(shapes.names) == ["chair/train/0000", "0001", "table/train/0000"]
    assert [shapes.load(name).label for name in shapes.names] == [0, 0, 1]
    again = opened("modelnet_off", tmp_path, surface_points=8, cache=cache)
    first, other = (again.load(again.names[place]).points for place in (0, 2))
    assert torch.equal(first, shapes.load("chair/train/0000").points)
    assert not torch.equal(first, other)


def test_a_class_that_a_split_lacks_does_not_renumber_the_others(tmp_path: Path) -> None:
    root = write_modelnet_off(tmp_path)
    write_off(root / "apple/test/apple_test_0000.off")
    (root / "notes").mkdir()
    train, test = (opened("modelnet_off", root, split=split) for split in ("train", "test"))
    assert train.classes == test.classes == ("apple", "bed", "chair")
    assert train.label_of("bed_train_0000") == test.label_of("bed_test_0000") == 1
    assert len(train) == 6 and len(test) == 5
    with pytest.raises(FileNotFoundError, match="apple/train holds no"):
        opened("modelnet_off", root, classes=["apple", "bed"])
    (root / "apple/train").mkdir()
    with pytest.raises(FileNotFoundError, match="apple/train holds no"):
        opened("modelnet_off", root)


def test_npz_files_of_the_same_name_in_two_folders(tmp_path: Path) -> None:
    for number, folder in enumerate(("cap", "mug")):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "0.npz", points=clouds(1, 5)[0], label=np.uint8(number))
    shapes = opened("shape_npz", tmp_path, files="*/*.npz", classes=["cap", "mug"])
    assert list(shapes.names) == ["cap/0", "mug/0"]
    assert [shapes.load(name).label for name in shapes.names] == [0, 1]


def test_parts_without_label_stay_so_in_every_class(tmp_path: Path) -> None:
    part = np.tile(np.arange(16, dtype="i4") % 3 - 1, (4, 1))
    shapes = opened("shape_npz", write_npz_split(tmp_path / "a", part=part), num_parts=[2, 2])
    parts = [shapes.load(f"{name}_0001").parts for name in ("bathtub", "chair")]
    assert [sorted(set(p.tolist())) for p in parts if p is not None] == [[-1, 0, 1], [-1, 2, 3]]
    with pytest.raises(ValueError, match="part -2"):
        root = write_npz_split(tmp_path / "b", part=part - 1)
        opened("shape_npz", root, num_parts=[2, 2]).load("chair_0001")
    (tmp_path / "c").mkdir()
    np.savez(tmp_path / "c/one.npz", points=clouds(1, 16)[0], label=np.uint8(1), part=part[0])
    options = {"files": "*.npz", "classes": ["bathtub", "chair"], "num_parts": [2, 2]}
    single = opened("shape_npz", tmp_path / "c", **options).load("one")
    assert single.parts is not None and sorted(set(single.parts.tolist())) == [-1, 2, 3]


def test_a_class_may_have_no_parts(tmp_path: Path) -> None:
    part = np.tile(np.arange(16, dtype="i4") % 2, (4, 1))
    part[1] = -1  # a chair
    root = write_npz_split(tmp_path / "a", part=part)
    shapes = opened("shape_npz", root, num_parts=[2, 0])
    assert shapes.parts_of_class == ((0, 1), ())
    parts = shapes.load("chair_0001").parts
    assert parts is not None and set(parts.tolist()) == {-1}
    with pytest.raises(
        ValueError, match=r"row 2: 8 of 16 points have part 0, but class chair has no parts"
    ):
        shapes.load("chair_0002")
    np.savez(root / "one.npz", points=clouds(1, 16)[0], label=np.uint8(1), part=part[1])
    single = opened("shape_npz", root, files="one.npz", num_parts=[2, 0]).load("one")
    assert single.parts is not None and set(single.parts.tolist()) == {-1}
