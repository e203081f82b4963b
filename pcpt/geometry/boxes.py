"""Boxes as rows ``[cx, cy, cz, dx, dy, dz, yaw]``: overlap, suppression, what lies inside.

Centre and whole sizes in metres, yaw in radians about +z, counter-clockwise, as ``rotated_iou``
takes them. Where ``oriented`` is False boxes lie along the axes and their yaw is not looked at.
"""

import torch
from torch import Tensor

from pcpt.ops import rotated_iou

PAIRS_AT_ONCE = 2**22  # that suppression compares, to bound its memory


def enclosing_boxes(boxes: Tensor) -> Tensor:
    """The smallest boxes along the axes around boxes turned about z: (N, 7), yaw 0.

    A quarter turn only swaps the sizes, without rounding.
    """
    cos, sin = boxes[:, 6].cos().abs(), boxes[:, 6].sin().abs()
    # what is left of cos(pi / 2) would make the other size a few nanometres larger
    cos, sin = (torch.where(part < 1e-6, 0.0, part) for part in (cos, sin))
    length, width, height = boxes[:, 3:6].unbind(1)
    sizes = torch.stack((length * cos + width * sin, length * sin + width * cos, height), dim=1)
    return torch.cat((boxes[:, :3], sizes, torch.zeros_like(boxes[:, 6:])), dim=1)


def box_iou(boxes: Tensor, others: Tensor, *, oriented: bool, aligned: bool = False) -> Tensor:
    """Intersection over union of volumes; differentiable.

    Args:
        boxes: (N, 7) floating.
        others: (M, 7) of the same dtype; with ``aligned`` M is N.
        oriented: boxes are turned by their yaw; otherwise they lie along the axes.
        aligned: compare box i with other i only.

    Returns:
        (N, M), or (N,) with ``aligned``; 0 between boxes without volume.

    Raises:
        ValueError: as ``rotated_iou``.
    """
    if oriented:
        return rotated_iou(boxes, others, aligned=aligned)
    first, second = (boxes, others) if aligned else (boxes[:, None], others[None])
    apart = second[..., :3] - first[..., :3]  # only differences: far away is as exact
    half, other_half = first[..., 3:6] / 2, second[..., 3:6] / 2
    top = torch.minimum(half, apart + other_half)
    bottom = torch.maximum(-half, apart - other_half)
    common = (top - bottom).clamp(min=0).prod(-1)
    union = first[..., 3:6].prod(-1) + second[..., 3:6].prod(-1) - common
    some = (common > 0) & (union > 0)
    return torch.where(some, common / torch.where(some, union, 1.0), 0.0)


@torch.no_grad()
def suppress_boxes(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, *, oriented: bool
) -> Tensor:
    """Non-maximum suppression within each class: of boxes that overlap, the best stays.

    Goes through the boxes by score, of equal scores the earlier row first, and keeps each that
    overlaps no kept box of its class by more than the threshold.

    Args:
        boxes: (N, 7) floating.
        scores: (N,) floating.
        labels: (N,) int64; boxes of different labels leave each other alone.
        threshold: largest IoU of two boxes that both stay.
        oriented: see ``box_iou``.

    Returns:
        (K,) int64 rows kept, best first.

    Raises:
        ValueError: scores or labels that are not one for each box; as ``rotated_iou``.
    """
    if boxes.shape != (len(boxes), 7) or not len(boxes) == len(scores) == len(labels):
        raise ValueError(
            f"boxes are {tuple(boxes.shape)}, scores {tuple(scores.shape)}, labels "
            f"{tuple(labels.shape)}; expected (N, 7), (N,) and (N,)"
        )
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    first, second = _overlapping(boxes, labels, threshold, oriented)
    # A box falls to a better one that stays. Every round settles at least the best box not settled
    # yet, so this ends in the greedy result, after a few rounds in practice.
    keep = torch.ones_like(labels, dtype=torch.bool)
    while True:
        falls = torch.zeros_like(keep).index_put_((second[keep[first]],), keep.new_tensor(True))
        if bool((falls != keep).all()):
            return order[keep]
        keep = ~falls


def _overlapping(
    boxes: Tensor, labels: Tensor, threshold: float, oriented: bool
) -> tuple[Tensor, Tensor]:
    """Rows (P,), (P,) of pairs i < j of one class whose IoU is above the threshold."""
    around = enclosing_boxes(boxes) if oriented else boxes
    rows = torch.arange(len(boxes), device=boxes.device)
    firsts, seconds = [], []
    for part in rows.split(max(1, PAIRS_AT_ONCE // max(1, len(boxes)))):
        iou = box_iou(around[part], around, oriented=False)
        near = iou > (0.0 if oriented else threshold)  # boxes meet only where those around them do
        near &= (labels[part, None] == labels) & (part[:, None] < rows)
        first, second = near.nonzero().unbind(1)
        firsts.append(part[first])
        seconds.append(second)
    first, second = torch.cat(firsts), torch.cat(seconds)
    if oriented:
        iou = rotated_iou(boxes[first], boxes[second], aligned=True)
        first, second = first[iou > threshold], second[iou > threshold]
    return first, second


def points_in_boxes(points: Tensor, boxes: Tensor, *, margin: float = 0.0) -> Tensor:
    """Which points lie in which boxes, faces included.

    Args:
        points: (N, 3) floating, metres.
        boxes: (B, 7) of the same dtype; turned by their yaw.
        margin: metres by which boxes reach farther on every side.

    Returns:
        (N, B) bool.
    """
    x, y, z = (points[:, None] - boxes[None, :, :3]).unbind(-1)
    cos, sin = boxes[:, 6].cos(), boxes[:, 6].sin()
    local = torch.stack((cos * x + sin * y, cos * y - sin * x, z), dim=-1)
    return (local.abs() <= boxes[:, 3:6] / 2 + margin).all(-1)
