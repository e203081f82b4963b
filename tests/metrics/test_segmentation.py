import math

import numpy as np
import pytest
import torch

from pcpt.metrics.segmentation import class_iou, confusion_matrix, segmentation_figures


def test_a_table_worked_by_hand() -> None:
    #         floor             wall          lamp (never in the targets)
    target = torch.tensor([0, 0, 0, 0, 1, 1, -1, -1])
    predicted = torch.tensor([0, 0, 1, 2, 1, -1, 0, 1])
    confusion = confusion_matrix(target, predicted, 3)
    assert confusion.tolist() == [[2, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    iou = class_iou(confusion)
    assert iou[:2].tolist() == [2 / 4, 1 / 3] and math.isnan(iou[2])
    figures = segmentation_figures(confusion, ["floor", "wall", "lamp"])
    assert figures["miou"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert figures["accuracy"] == 3 / 6
    assert figures["class_accuracy"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert figures["iou/wall"] == pytest.approx(1 / 3) and math.isnan(figures["iou/lamp"])


@pytest.mark.parametrize("count", [0, 1, 7, 1023])
def test_against_a_count_point_by_point(count: int) -> None:
    rng = np.random.default_rng(count)
    target, predicted = rng.integers(-1, 5, (2, count))
    confusion = confusion_matrix(torch.from_numpy(target), torch.from_numpy(predicted), 5)
    expected = np.zeros((5, 6), dtype=np.int64)
    for t, p in zip(target, predicted):
        if t >= 0:
            expected[t, p] += 1
    assert confusion.tolist() == expected.tolist()
    for c in range(5):
        hit = sum(t == c and p == c for t, p in zip(target, predicted))
        either = sum(t >= 0 and (t == c or p == c) for t, p in zip(target, predicted))
        value = class_iou(confusion)[c].item()
        assert math.isnan(value) if (target != c).all() else value == pytest.approx(hit / either)


def test_nothing_labelled_is_no_score() -> None:
    none = confusion_matrix(torch.full((4,), -1), torch.zeros(4, dtype=torch.int64), 2)
    assert all(math.isnan(v) for v in segmentation_figures(none, ["a", "b"]).values())


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"target is \(2,\), predicted \(3,\)"):
        confusion_matrix(torch.zeros(2).long(), torch.zeros(3).long(), 2)
    with pytest.raises(ValueError, match="predicted holds classes 0 to 2"):
        confusion_matrix(torch.zeros(2).long(), torch.tensor([0, 2]), 2)
