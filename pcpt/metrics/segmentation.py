"""How well classes are told apart: confusion matrix, IoU of each class, their mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcpt.metrics.classification import class_recall


def confusion_matrix(target: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Counts of (true class, predicted class).

    Args:
        target: (N,) int64, class or -1, which is left out.
        predicted: (N,) int64, class; -1, nothing predicted, is counted as no class at all, in the
            last column.
        num_classes: C.

    Returns:
        (C, C + 1) int64.

    Raises:
        ValueError: shapes that differ, or classes outside [-1, C).
    """
    if target.shape != predicted.shape or target.ndim != 1:
        raise ValueError(
            f"target is {tuple(target.shape)}, predicted {tuple(predicted.shape)}, expected (N,)"
        )
    for name, values in (("target", target), ("predicted", predicted)):
        if len(values) and not (int(values.min()) >= -1 and int(values.max()) < num_classes):
            raise ValueError(
                f"{name} holds classes {int(values.min())} to {int(values.max())}, expected -1 to "
                f"{num_classes - 1}"
            )
    labelled = target >= 0
    columns = num_classes + 1
    predicted = predicted[labelled] % columns  # -1 becomes the last column
    index = target[labelled] * columns + predicted
    return torch.bincount(index, minlength=num_classes * columns).view(num_classes, columns)


def class_iou(confusion: Tensor) -> Tensor:
    """(C, C + 1) counts -> (C,) float64 intersection over union; NaN for classes that no target
    has, so that a class which is only ever predicted wrongly counts against the others alone."""
    confusion = confusion.double()
    hits = confusion.diagonal()
    present = confusion.sum(1)
    union = present + confusion[:, :-1].sum(0) - hits
    return torch.where(present > 0, hits / union.clamp(min=1), torch.nan)


def segmentation_figures(confusion: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Figures by name: ``miou`` (mean IoU over the classes that occur in the targets), ``accuracy``
    (of all points), ``class_accuracy`` (mean over classes) and ``iou/CLASS``; shares of 1.

    Without any labelled point all are NaN.
    """
    iou = class_iou(confusion)
    hits, present = confusion.diagonal().sum().double(), confusion.sum().double()
    figures = {
        "miou": iou.nanmean().item(),
        "accuracy": (hits / present).item() if present > 0 else float("nan"),
        "class_accuracy": class_recall(confusion).nanmean().item(),
    }
    return figures | {f"iou/{name}": value for name, value in zip(names, iou.tolist())}
