"""How well shapes are told apart: overall accuracy, and that of each class."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_recall(confusion: Tensor) -> Tensor:
    """(C, C + 1) counts -> (C,) float64 share of each class that was recognised; NaN for classes
    that no target has."""
    hits, present = confusion.diagonal().double(), confusion.sum(1).double()
    return torch.where(present > 0, hits / present.clamp(min=1), torch.nan)


def classification_figures(confusion: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Figures by name, shares of 1: ``accuracy`` of all shapes ("OA"), ``class_accuracy``, the mean
    over the classes that occur ("mAcc"), and ``accuracy/CLASS``. NaN where there is nothing to
    count.

    Args:
        confusion: (C, C + 1) as ``confusion_matrix`` gives them.
        names: of the C classes.
    """
    recall = class_recall(confusion)
    hits, total = float(confusion.diagonal().sum()), float(confusion.sum())
    figures = {
        "accuracy": hits / total if total else float("nan"),
        "class_accuracy": recall.nanmean().item(),
    }
    return figures | {f"accuracy/{name}": value for name, value in zip(names, recall.tolist())}
