"""What a detector finds in a scene, and what it should have found."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.data.scene import Boxes
from pcpt.geometry.boxes import enclosing_boxes, suppress_boxes


class Detections(NamedTuple):
    """Boxes found in one scene, best first.

    Attributes:
        boxes: (D, 7) float32 ``[cx, cy, cz, dx, dy, dz, yaw]`` in the frame of the batch's points.
        scores: (D,) float32 in [0, 1].
        labels: (D,) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Targets(NamedTuple):
    """The boxes of all scenes of a batch, usable ones only.

    Attributes:
        boxes: (B, 7) float32 ``[cx, cy, cz, dx, dy, dz, yaw]``.
        labels: (B,) int64.
        instances: (B,) int64, the object within its scene, -1 unknown.
        batch_index: (B,) int64, the scene of each box.
        num_dropped: boxes left out: of no size, not finite, or without a class.
    """

    boxes: Tensor
    labels: Tensor
    instances: Tensor
    batch_index: Tensor
    num_dropped: int

    def select(self, rows: Tensor) -> "Targets":
        """Those of rows (K,) int64; none is counted as dropped."""
        boxes, labels = self.boxes[rows], self.labels[rows]
        return Targets(boxes, labels, self.instances[rows], self.batch_index[rows], 0)


def box_rows(boxes: Boxes, *, oriented: bool) -> Tensor:
    """(B, 7) rows of a scene's boxes; those along the axes around them unless ``oriented``."""
    rows = torch.cat((boxes.centers, boxes.sizes, boxes.headings[:, None]), dim=1)
    return rows if oriented else enclosing_boxes(rows)


def make_targets(scenes: Sequence[Boxes], num_classes: int, *, oriented: bool) -> Targets:
    """Joins the boxes of a batch's scenes, without those that nothing can be learned from.

    Args:
        scenes: boxes of each scene.
        num_classes: C; other labels are left out.
        oriented: keep headings; otherwise boxes along the axes stand in for turned ones.
    """
    rows = torch.cat([box_rows(boxes, oriented=oriented) for boxes in scenes])
    labels = torch.cat([boxes.labels for boxes in scenes])
    counts = torch.tensor([len(boxes) for boxes in scenes], device=labels.device)
    batch_index = torch.arange(len(scenes), device=labels.device).repeat_interleave(counts)
    good = rows.isfinite().all(1) & (rows[:, 3:6] > 0).all(1)
    good &= (labels >= 0) & (labels < num_classes)
    instances = torch.cat([boxes.instances for boxes in scenes])
    return Targets(rows[good], labels[good], instances[good], batch_index[good], int((~good).sum()))


def best_detections(
    boxes: Tensor,
    scores: Tensor,
    *,
    oriented: bool,
    min_score: float,
    overlap: float,
    most: int,
) -> Detections:
    """The detections of one scene: every class of every box, suppressed within classes.

    Args:
        boxes: (N, 7).
        scores: (N, C) of each class, in [0, 1].
        oriented: see ``box_iou``.
        min_score: lowest score of a detection.
        overlap: largest IoU of two detections of a class.
        most: (box, class) pairs that enter the suppression, the best ones.
    """
    row, label = (scores > min_score).nonzero().unbind(1)
    score = scores[row, label]
    order = score.argsort(descending=True, stable=True)[:most]
    row, label, score = row[order], label[order], score[order]
    kept = suppress_boxes(boxes[row], score, label, overlap, oriented=oriented)
    return Detections(boxes[row[kept]].float(), score[kept].float(), label[kept])
