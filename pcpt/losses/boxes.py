"""Losses of detection that any head can use: overlap of boxes, focal classification."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.geometry.boxes import box_iou, enclosing_boxes


def distance_iou_loss(boxes: Tensor, targets: Tensor, *, oriented: bool) -> Tensor:
    r"""DIoU loss in 3D (Zheng et al. 2020, arXiv 1911.08287): overlap, and where there is none
    still a pull towards the target's centre.

    .. math:: L = 1 - IoU + d^2 / c^2

    with d the distance of the centres and c the diagonal of the smallest box along the axes that
    holds both.

    Args:
        boxes: (N, 7) floating ``[cx, cy, cz, dx, dy, dz, yaw]``.
        targets: (N, 7).
        oriented: whether boxes are turned by their yaw; otherwise it is not looked at.

    Returns:
        (N,) in [0, 2].

    Raises:
        ValueError: as ``box_iou``.
    """
    iou = box_iou(boxes, targets, oriented=oriented, aligned=True)
    around = [enclosing_boxes(part) if oriented else part for part in (boxes, targets)]
    low = torch.minimum(*(part[:, :3] - part[:, 3:6] / 2 for part in around))
    high = torch.maximum(*(part[:, :3] + part[:, 3:6] / 2 for part in around))
    diagonal = (high - low).square().sum(1)
    distance = (boxes[:, :3] - targets[:, :3]).square().sum(1)
    return 1 - iou + distance / diagonal.clamp(min=torch.finfo(boxes.dtype).tiny)


def focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    quality: Tensor | None = None,
) -> Tensor:
    r"""Focal loss over independent classes (Lin et al. 2017, arXiv 1708.02002), of which at most
    one is present.

    .. math:: L = \sum_c \alpha_c |y_c - p_c|^\gamma \, BCE(p_c, y_c), \quad p = sigmoid(logits)

    Args:
        logits: (N, C) floating.
        labels: (N,) int64, the class present, -1 for none.
        alpha: weight of the class present; of those absent it is 1 - alpha. Negative: all 1.
        gamma: how far what is easily told counts less.
        quality: (N,) in [0, 1], how well the location fits: the target y of the class present in
            place of 1, as in Generalized Focal Loss (arXiv 2006.04388).

    Returns:
        (N,) sums over classes.

    Raises:
        ValueError: shapes that do not fit, or a label outside -1..C-1.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits are {tuple(logits.shape)}, labels {tuple(labels.shape)}; expected (N, C), (N,)"
        )
    count = logits.shape[1]
    if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) < count:
        raise ValueError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, expected "
            f"-1..{count - 1}"
        )
    present = F.one_hot(labels + 1, count + 1)[:, 1:].to(logits.dtype)
    target = present if quality is None else present * quality[:, None].to(logits.dtype)
    loss = (target - logits.sigmoid()).abs().pow(gamma) * F.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    )
    if alpha >= 0:
        loss = loss * (alpha * present + (1 - alpha) * (1 - present))
    return loss.sum(1)
