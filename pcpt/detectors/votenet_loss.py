"""What VoteNet's votes and proposals should have been, and the loss that says so."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.detectors.detections import Targets
from pcpt.detectors.votenet import Proposals, Votes, heading_bins
from pcpt.geometry.boxes import points_in_boxes
from pcpt.losses.votenet import (
    center_loss,
    objectness_labels,
    objectness_loss,
    vote_loss,
)

# The authors' weights; their sum is multiplied by 10.
WEIGHTS = {
    "vote": 1.0,
    "objectness": 0.5,
    "center": 1.0,
    "heading_class": 0.1,
    "heading_residual": 1.0,
    "size_class": 0.1,
    "size_residual": 1.0,
    "class": 0.1,
}
SCALE = 10.0


def seed_members(
    positions: Tensor, instances: Tensor, batch_index: Tensor, targets: Targets
) -> Tensor:
    """(S, B) bool, which objects seeds lie on: by instance where a box knows its own, otherwise
    those whose box holds the seed.

    Args:
        positions: (S, 3) metres.
        instances: (S,) int64 within the scene, -1 none.
        batch_index: (S,) int64.
        targets: (B) boxes.
    """
    inside = points_in_boxes(positions, targets.boxes)
    own = instances[:, None] == targets.instances
    members = torch.where(targets.instances >= 0, own, inside)
    return members & (batch_index[:, None] == targets.batch_index)


def votenet_losses(
    votes: Votes,
    proposals: Proposals,
    members: Tensor,
    targets: Targets,
    mean_sizes: Tensor,
    *,
    near: float = 0.3,
    far: float = 0.6,
) -> dict[str, Tensor]:
    """The terms of ``WEIGHTS`` by name, unweighted; those of parts that the head lacks are left
    out. A proposal answers for the object whose centre is nearest to where it gathered its votes.

    Args:
        votes, proposals: of a head.
        members: (S, B) bool, see ``seed_members``.
        targets: (B) boxes.
        mean_sizes: (C, 3) metres.
        near, far: metres, see ``objectness_labels``.
    """
    centers = targets.boxes[:, :3]
    losses = {"vote": vote_loss(votes.positions, members, centers)}
    same = proposals.batch_index[:, None] == targets.batch_index
    distance = torch.cdist(
        proposals.positions.detach(), centers, compute_mode="donot_use_mm_for_euclid_dist"
    )
    distance = torch.where(same, distance, torch.inf)
    if len(centers):
        nearest, owner = distance.min(dim=1)
    else:
        nearest = distance.new_full((len(distance),), torch.inf)
        owner = torch.zeros_like(proposals.batch_index)
    labels = objectness_labels(nearest, near, far)
    losses["objectness"] = objectness_loss(proposals.objectness, labels)
    positive = labels == 1
    losses["center"] = center_loss(proposals.centers, positive, centers, same)
    row = positive.nonzero()[:, 0]
    return losses | _shape_losses(proposals, row, targets, owner[row], mean_sizes)


def _shape_losses(
    proposals: Proposals, row: Tensor, targets: Targets, owner: Tensor, mean_sizes: Tensor
) -> dict[str, Tensor]:
    """Terms of heading, size and class of the positive proposals."""
    wanted, label = targets.boxes[owner], targets.labels[owner]
    losses = {"class": _cross_entropy(proposals.classes[row], label)}
    num_bins = proposals.heading_logits.shape[1]
    if num_bins:
        index, residual = heading_bins(wanted[:, 6], num_bins)
        losses["heading_class"] = _cross_entropy(proposals.heading_logits[row], index)
        losses["heading_residual"] = _mean_huber(proposals.heading_residuals[row, index] - residual)
    if proposals.size_logits.shape[1]:
        losses["size_class"] = _cross_entropy(proposals.size_logits[row], label)
        share = wanted[:, 3:6] / mean_sizes[label] - 1
        losses["size_residual"] = _mean_huber(proposals.sizes[row, label] - share)
    else:
        losses["size_residual"] = _mean_huber(proposals.sizes[row, 0] - wanted[:, 3:6].log())
    return losses


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The weighted sum of the terms."""
    return SCALE * torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return _mean(F.cross_entropy(logits, labels, reduction="none"))


def _mean_huber(error: Tensor) -> Tensor:
    return _mean(F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none"))


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.sum()
