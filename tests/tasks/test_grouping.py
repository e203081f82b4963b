"""Grouping of voxels into objects, on cases that can be checked by eye."""

import pytest
import torch

from pcpt.tasks.grouping import group_instances

FLOOR, CHAIR, TABLE = range(3)
THINGS = torch.tensor([False, True, True])


def line(first, last, label, centre=None, sure=0.8):
    """Voxels a metre apart along x: points, offsets to the centre, probabilities."""
    x = torch.arange(first, last + 1, dtype=torch.float32)
    points = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], 1)
    offsets = torch.zeros_like(points)
    if centre is not None:
        offsets[:, 0] = centre - x
    probabilities = torch.full((len(x), 3), (1 - sure) / 2)
    probabilities[:, label] = sure
    return points, offsets, probabilities


def group(*parts, **options):
    points, offsets, probabilities = (torch.cat(tensors) for tensors in zip(*parts))
    num_points = options.pop("num_points", torch.ones(len(points), dtype=torch.int64))
    options = {"radius": 1.2, "min_points": 2} | options
    found = group_instances(points, offsets, probabilities, num_points, THINGS, **options)
    return found, [
        (int(label), mask.nonzero()[:, 0].tolist())
        for label, mask in zip(found.labels, found.masks)
    ]


def test_classes_and_gaps_part_objects_and_stuff_has_none():
    parts = [line(0, 3, CHAIR), line(4, 6, TABLE), line(7, 9, FLOOR), line(10, 12, CHAIR)]
    found, objects = group(*parts, coordinates=["original"], score="probability")
    expected = [(CHAIR, [0, 1, 2, 3]), (TABLE, [4, 5, 6]), (CHAIR, [10, 11, 12])]
    assert sorted(objects, key=lambda o: o[1]) == expected
    assert torch.allclose(found.scores, torch.tensor(0.8))


def test_offsets_part_objects_that_touch():
    parts = [line(0, 4, CHAIR, 2.0), line(5, 9, CHAIR, 7.0)]
    _, apart = group(*parts, coordinates=["shifted"])
    assert sorted(o[1] for o in apart) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    _, merged = group(*parts, coordinates=["original"])
    assert merged == [(CHAIR, list(range(10)))]
    # of both, agreement prefers the two whose voxels point to one centre
    found, both = group(*parts)
    assert sorted(o[1] for o in both) == sorted(o[1] for o in apart)
    # mean distance to the mean: 1.2 before, 0 after
    assert torch.allclose(found.scores, torch.tensor(0.8 * 1.2 / (1.2 + 2 * 1.2)))


def test_agreement_by_hand():
    # distances to the mean before: 1.5 0.5 0.5 1.5; the offsets halve them
    points, offsets, probabilities = line(0, 3, TABLE)
    offsets[:, 0] = (1.5 - points[:, 0]) / 2
    found, _ = group((points, offsets, probabilities), coordinates=["original"])
    assert found.scores.tolist() == pytest.approx([0.8 * (1 - 0.5) / (1 + 2 * 1.2)])


def test_a_fragment_scores_less_than_the_whole():
    fragments = [line(0, 6, CHAIR, 5.0), line(9, 11, CHAIR, 5.0)]
    found, objects = group(*fragments, max_iou=1.0)
    assert objects[0] == (CHAIR, list(range(10))) and (found.scores.diff() < 0).all()


def test_sizes_count_points_and_not_voxels():
    parts = [line(0, 1, CHAIR), line(5, 6, CHAIR)]
    weights = torch.tensor([1, 1, 30, 20])
    found, objects = group(*parts, min_points=50, num_points=weights, score="probability")
    assert objects == [(CHAIR, [2, 3])] and len(found) == 1


def test_the_surer_of_two_overlapping_objects_stays():
    parts = [line(0, 4, CHAIR, 2.0), line(5, 9, CHAIR, 7.0)]
    _, objects = group(*parts, max_iou=1.0)
    assert len(objects) == 3 and objects[2] == (CHAIR, list(range(10)))


@pytest.mark.parametrize("label", [FLOOR, CHAIR])
def test_nothing_to_group(label):
    points, offsets, probabilities = line(0, 5, label)
    found, _ = group((points, offsets, probabilities), min_points=7)
    assert found.masks.shape == (0, 6) and len(found.labels) == 0
    empty = group_instances(
        torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3),
        torch.zeros(0, dtype=torch.int64), THINGS, radius=1.0, min_points=1,
    )  # fmt: skip
    assert empty.masks.shape == (0, 0)
