"""Benchmark files: written and read back, and what the reader refuses."""

import pytest
import torch

from pcpt.data.label_set import LabelSet
from pcpt.data.predicted_instances import PredictedInstances
from pcpt.data.scannet_classes import LABEL_SETS
from pcpt.data.scannet_export import (
    read_instances,
    read_semantic,
    write_instances,
    write_semantic,
)

SCANNET20 = LABEL_SETS["scannet20"]
NAME = "scene0011_00"


def some_instances(num_points=9, count=3):
    generator = torch.Generator().manual_seed(num_points + count)
    masks = torch.rand(count, num_points, generator=generator) < 0.5
    masks[:, :1] = True
    return PredictedInstances.sorted(
        masks,
        torch.randint(2, 20, (count,), generator=generator),
        torch.rand(count, generator=generator),
    )


@pytest.mark.parametrize("label_set", LABEL_SETS.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("count", [0, 1, 33])
def test_semantic_labels_come_back(tmp_path, label_set, count):
    labels = torch.arange(count) % (len(label_set) + 1) - 1
    path = write_semantic(tmp_path / "new", NAME, labels, label_set)
    assert path == tmp_path / "new" / f"{NAME}.txt"
    assert torch.equal(read_semantic(path, count, label_set), labels)


def test_semantic_file_by_hand(tmp_path):
    path = write_semantic(tmp_path, NAME, torch.tensor([0, -1, 19, 14]), SCANNET20)
    assert path.read_text() == "1\n0\n39\n24\n"


@pytest.mark.parametrize(("num_points", "count"), [(9, 3), (1, 1), (5, 0), (0, 0), (2000, 12)])
def test_instances_come_back_to_the_last_bit(tmp_path, num_points, count):
    predicted = some_instances(num_points, count)
    path = write_instances(tmp_path / "new", NAME, predicted, SCANNET20)
    found = read_instances(path, num_points, SCANNET20)
    assert torch.equal(found.masks, predicted.masks)
    assert torch.equal(found.labels, predicted.labels)
    assert torch.equal(found.scores, predicted.scores)


def test_instance_files_by_hand(tmp_path):
    predicted = PredictedInstances(
        torch.tensor([[True, False, True], [False, False, False], [False, True, False]]),
        torch.tensor([4, 5, 2]),
        torch.tensor([0.75, 0.7, 0.5]),
    )
    path = write_instances(tmp_path, NAME, predicted, SCANNET20)
    assert path.read_text() == (
        f"predicted_masks/{NAME}_000.txt 5 0.75\npredicted_masks/{NAME}_001.txt 3 0.5\n"
    )
    masks = tmp_path / "predicted_masks"
    assert (masks / f"{NAME}_000.txt").read_text() == "1\n0\n1\n"
    assert (masks / f"{NAME}_001.txt").read_text() == "0\n1\n0\n"
    assert sorted(p.name for p in masks.iterdir()) == [f"{NAME}_000.txt", f"{NAME}_001.txt"]


def test_another_submission_is_sorted_and_any_number_but_zero_is_inside(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.txt").write_text("0\r\n7\r\n")
    (tmp_path / "masks" / "b.txt").write_text("1\n1")
    (tmp_path / "s.txt").write_text("masks/a.txt 5 0.1\n\nmasks/b.txt 7 1e-1\nmasks/b.txt 7 2")
    found = read_instances(tmp_path / "s.txt", 2, SCANNET20)
    assert found.labels.tolist() == [6, 4, 6]
    assert found.masks.tolist() == [[True, True], [False, True], [True, True]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("predicted_masks/m.txt 5", "line 1 has 2 words"),
        ("predicted_masks/m.txt 1000000000000000000005 0.5", "no class id"),
        ("predicted_masks/m.txt 13 0.5", "'13' is no class id of scannet20"),
        ("predicted_masks/m.txt -5 0.5", "no class id"),
        ("predicted_masks/m.txt 5 nan", "no finite number"),
        ("predicted_masks/m.txt 5 1e60", "no finite number"),
        ("predicted_masks/m.txt 5 high", "no finite number"),
        ("../m.txt 5 0.5", "must lie in a folder beside the index"),
        ("/etc/passwd 5 0.5", "must lie in a folder beside the index"),
        ("m.txt 5 0.5", "must lie in a folder beside the index"),
        ("predicted_masks/short.txt 5 0.5", "has 2 lines, but the mesh has 3 vertices"),
        ("predicted_masks/long.txt 5 0.5", "bytes, expected at most"),
        ("predicted_masks/words.txt 5 0.5", "line 3 holds b'no', expected whole"),
    ],
)
def test_bad_submissions_are_refused(tmp_path, text, problem):
    masks = tmp_path / "predicted_masks"
    masks.mkdir()
    (masks / "m.txt").write_text("1\n0\n1\n")
    (masks / "short.txt").write_text("1\n0\n")
    (masks / "long.txt").write_text("1\n" * 1000)
    (masks / "words.txt").write_text("1\n0\nno\n")
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_instances(tmp_path / "s.txt", 3, SCANNET20)


def test_a_mask_behind_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "m.txt").write_text("1\n")
    (tmp_path / "out" / "masks").symlink_to(tmp_path)
    (tmp_path / "out" / "s.txt").write_text("masks/m.txt 5 0.5\n")
    with pytest.raises(ValueError, match="must lie in a folder"):
        read_instances(tmp_path / "out" / "s.txt", 1, SCANNET20)


def test_files_that_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="prediction file"):
        read_semantic(tmp_path / "s.txt", 3, SCANNET20)
    (tmp_path / "s.txt").write_text("predicted_masks/m.txt 5 0.5")
    with pytest.raises(FileNotFoundError, match=r"m\.txt"):
        read_instances(tmp_path / "s.txt", 3, SCANNET20)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1\n2\n", "has 2 lines"),
        ("1\n" * 99, "bytes, expected at most"),
        ("1\n2\n13\n", "line 3: id 13 is no class"),
        ("1\n2\nx\n", "expected whole numbers"),
        ("1\n2\n-1\n", "whole"),
        ("1\n2\n1234567\n", "whole"),
    ],
)
def test_bad_semantic_files_are_refused(tmp_path, text, problem):
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_semantic(tmp_path / "s.txt", 3, SCANNET20)


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no file name"):
        write_semantic(tmp_path, "../scene", torch.zeros(1, dtype=torch.int64), SCANNET20)
    with pytest.raises(ValueError, match="labels reach"):
        write_semantic(tmp_path, NAME, torch.tensor([20]), SCANNET20)
    with pytest.raises(ValueError, match="label 19, expected below 18"):
        masks = torch.ones(1, 2, dtype=torch.bool)
        predicted = PredictedInstances(masks, torch.tensor([19]), torch.tensor([0.5]))
        write_instances(tmp_path, NAME, predicted, LABEL_SETS["scannet18"])
    other = LabelSet("s3dis", (0,), ("ceiling",), ((0, 0, 0),))
    with pytest.raises(ValueError, match="label set s3dis has ids of its own"):
        write_semantic(tmp_path, NAME, torch.tensor([0]), other)
    assert not list(tmp_path.iterdir())
