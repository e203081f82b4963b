"""Part segmentation of single shapes: IoU of each part of each shape, and its means."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcpt.choices import check_choice

ABSENT = ("one", "skip")


def part_iou(target: Tensor, predicted: Tensor, parts: Sequence[int], absent: str) -> Tensor:
    """Intersection over union of each part of one shape.

    Args:
        target: (N,) int64, part of each point; points of -1 are left out.
        predicted: (N,) int64.
        parts: that shapes of its class may have.
        absent: what a part counts as that the shape neither has nor was said to have: ``one``, IoU
            1, as the literature does since PointNet (arXiv 1612.00593); or ``skip``, NaN. A part
            that was predicted where the shape has none is 0 either way.

    Returns:
        (len(parts),) float64.

    Raises:
        ValueError: another rule for absent parts.
    """
    check_choice("absent", absent, ABSENT)
    labelled = target >= 0
    target, predicted = target[labelled], predicted[labelled]
    own = torch.as_tensor(list(parts), device=target.device)[:, None]
    true, said = target == own, predicted == own
    union = (true | said).sum(1).double()
    shared = (true & said).sum(1).double()
    of_absent = 1.0 if absent == "one" else torch.nan
    return torch.where(union > 0, shared / union.clamp(min=1), of_absent)


def part_figures(
    shape_miou: Sequence[float], labels: Sequence[int], classes: Sequence[str]
) -> dict[str, float]:
    """Figures by name, shares of 1: ``instance_miou``, the mean over shapes; ``class_miou``, the
    mean over the classes that occur of the mean over their shapes; and ``iou/CLASS``.

    Args:
        shape_miou: of each shape, the mean over its parts; NaN is left out.
        labels: class of each.
        classes: names of the classes.
    """
    values = torch.tensor(list(shape_miou), dtype=torch.float64)
    of = torch.tensor(list(labels), dtype=torch.int64)
    by_class = torch.stack([values[of == label].nanmean() for label in range(len(classes))])
    figures = {
        "instance_miou": values.nanmean().item(),
        "class_miou": by_class.nanmean().item(),
    }
    return figures | {f"iou/{name}": value for name, value in zip(classes, by_class.tolist())}
