"""Overall and mean-class accuracy, worked by hand."""

import math

import pytest
import torch

from pcpt.metrics.classification import classification_figures
from pcpt.metrics.segmentation import confusion_matrix


def test_overall_and_mean_of_classes() -> None:
    target = torch.tensor([0, 0, 0, 1, -1])
    said = torch.tensor([0, 0, 1, -1, 0])
    figures = classification_figures(confusion_matrix(target, said, 3), ["a", "b", "c"])
    assert figures["accuracy"] == pytest.approx(2 / 4)
    assert figures["class_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert figures["accuracy/b"] == 0 and math.isnan(figures["accuracy/c"])


def test_nothing_to_count() -> None:
    figures = classification_figures(torch.zeros(2, 3, dtype=torch.int64), ["a", "b"])
    assert all(math.isnan(value) for value in figures.values())
