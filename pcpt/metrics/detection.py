"""Average precision of boxes, by VoteNet's protocol: what ScanNet and SUN RGB-D tables report.

Within a class, detections of all scenes are gone through by score. A detection looks only at the
target of its scene and class that it overlaps most: if their IoU is above the threshold and no
better detection has taken that target, it is right, otherwise wrong. So a target counts once, and a
second detection of it is an error even where another target lies near. AP is the area under the
precision-recall curve after precision has been made to fall nowhere to the left (PASCAL VOC from
2010 on: every point of the curve, not eleven). mAP is the mean over the classes that have a target
in the evaluated scenes; the AP of others is nan.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.geometry.boxes import box_iou

THRESHOLDS = (0.25, 0.5)


class SceneBoxes(NamedTuple):
    """Boxes found in a scene and those that are there.

    Attributes:
        boxes: (D, 7) floating ``[cx, cy, cz, dx, dy, dz, yaw]``.
        scores: (D,) floating, the higher the surer; any scale.
        labels: (D,) int64.
        target_boxes: (T, 7) floating.
        target_labels: (T,) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    target_boxes: Tensor
    target_labels: Tensor


def evaluate_boxes(
    scenes: Sequence[SceneBoxes],
    class_names: Sequence[str],
    *,
    oriented: bool,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[str, float]:
    """Average precision over scenes; the protocol stands at the top of this file.

    Args:
        scenes: detections, already suppressed, and targets.
        class_names: C names; labels are places in them.
        oriented: boxes are turned by their yaw; otherwise they lie along the axes.
        thresholds: of IoU; a detection is right above them.

    Returns:
        For every threshold, such as .25: ``mAP@.25``; ``mAR@.25``, the mean share of a class's
        targets that any detection found; ``AP@.25/NAME`` for every class. nan where there are no
        targets. ``num_scenes``, ``num_targets`` and ``num_detections``.

    Raises:
        ValueError: shapes, or labels, that do not fit; as ``rotated_iou``.
    """
    figures: dict[str, float] = {}
    matched = [_match(scene, len(class_names), oriented, thresholds) for scene in scenes]
    scores = _join([scene.scores.detach().double().cpu() for scene in scenes])
    labels = _join([scene.labels.cpu() for scene in scenes]).long()
    targets = _join([scene.target_labels.cpu() for scene in scenes]).long()
    num_targets = torch.bincount(targets, minlength=len(class_names)).tolist()
    for place, threshold in enumerate(thresholds):
        right = _join([correct[place].cpu() for correct in matched]).bool()
        tag = f"@{threshold:g}".replace("@0.", "@.")
        precisions, recalls = {}, {}
        for label, name in enumerate(class_names):
            mine = labels == label
            count = num_targets[label]
            precisions[name] = average_precision(scores[mine], right[mine], count)
            recalls[name] = float(right[mine].sum()) / count if count else math.nan
        figures[f"mAP{tag}"] = _mean(precisions.values())
        figures[f"mAR{tag}"] = _mean(recalls.values())
        figures |= {f"AP{tag}/{name}": value for name, value in precisions.items()}
    figures["num_scenes"] = float(len(scenes))
    figures["num_targets"] = float(len(targets))
    figures["num_detections"] = float(len(labels))
    return figures


def average_precision(scores: Tensor, correct: Tensor, num_targets: int) -> float:
    """Area under the precision-recall curve of one class.

    Args:
        scores: (D,) floating; of equal scores the earlier row comes first.
        correct: (D,) bool, at most ``num_targets`` of them True.
        num_targets: how many there were to find.

    Returns:
        In [0, 1]; nan where there were none to find.
    """
    if num_targets == 0:
        return math.nan
    correct = correct[scores.argsort(descending=True, stable=True)].double()
    found = correct.cumsum(0)
    precision = found / torch.arange(1, len(correct) + 1, device=correct.device)
    best_from_here = precision.flip(0).cummax(0).values.flip(0) if len(correct) else precision
    return float((best_from_here * correct).sum()) / num_targets  # recall rises where one is right


def _match(
    scene: SceneBoxes, num_classes: int, oriented: bool, thresholds: Sequence[float]
) -> list[Tensor]:
    """(D,) bool for every threshold: which detections of a scene are right."""
    _check(scene, num_classes)
    num_targets = len(scene.target_labels)
    count = len(scene.labels)
    if not count or not num_targets:
        return [torch.zeros(count, dtype=torch.bool) for _ in thresholds]
    iou = box_iou(
        scene.boxes.detach().double(), scene.target_boxes.detach().double(), oriented=oriented
    )
    iou = torch.where(scene.labels[:, None] == scene.target_labels, iou, -1.0)
    overlap, target = iou.max(dim=1)
    order = scene.scores.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(count, device=order.device)
    results = []
    for threshold in thresholds:
        above = overlap > threshold
        first = torch.full((num_targets,), count, device=order.device)
        first.scatter_reduce_(0, target[above], rank[above], "amin")
        results.append(above & (first[target] == rank))
    return results


def _check(scene: SceneBoxes, num_classes: int) -> None:
    for kind, boxes, labels in (
        ("detections", scene.boxes, scene.labels),
        ("targets", scene.target_boxes, scene.target_labels),
    ):
        if tuple(boxes.shape) != (len(labels), 7) or labels.dim() != 1:
            raise ValueError(
                f"{kind}: boxes are {tuple(boxes.shape)}, labels {tuple(labels.shape)}; expected "
                "(N, 7) and (N,)"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
            raise ValueError(
                f"{kind}: labels reach from {int(labels.min())} to {int(labels.max())}, expected "
                f"0..{num_classes - 1}"
            )
    if scene.scores.shape != scene.labels.shape:
        raise ValueError(
            f"detections: {tuple(scene.scores.shape)} scores for {len(scene.labels)} boxes"
        )
    if not bool(scene.scores.isfinite().all()):
        raise ValueError("detections: scores are not all finite; the network has diverged")


def _join(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if parts else torch.zeros(0)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
