"""The terms of VoteNet's loss (Qi et al., ICCV 2019, arXiv 1904.09664), on rows of all scenes.

Each is a mean over the rows that have a target and zero, with gradient, where none has.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECT_WEIGHTS = (0.2, 0.8)  # of "nothing" and "an object" in the objectness loss


def vote_loss(votes: Tensor, members: Tensor, centers: Tensor) -> Tensor:
    """Distance (sum of absolute differences) of votes to the centre of the object they lie on.

    Args:
        votes: (S, 3) metres.
        members: (S, B) bool, which objects a seed lies on; of several the nearest centre counts.
            (The authors list at most three.)
        centers: (B, 3) metres.

    Returns:
        Scalar mean over seeds that lie on an object.
    """
    row = members.any(1).nonzero()[:, 0]
    if not len(row):
        return votes.sum() * 0
    distance = (votes[row, None] - centers).abs().sum(-1)
    return torch.where(members[row], distance, torch.inf).amin(1).mean()


def objectness_labels(distance: Tensor, near: float = 0.3, far: float = 0.6) -> Tensor:
    """(P,) int64: 1 for proposals nearer than ``near`` to an object's centre, 0 beyond ``far``,
    -1 between.

    Args:
        distance: (P,) metres to the nearest centre of the scene, inf where it has no object.
        near, far: metres.
    """
    return torch.where(distance < near, 1, torch.where(distance > far, 0, -1))


def objectness_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of (P, 2) logits, "an object" weighing four times "nothing", which is the mean
    over the (P,) int64 labels that are not -1. Weights do not enter the count, as in the authors'
    code."""
    known = labels >= 0
    if not bool(known.any()):
        return logits.sum() * 0
    weights = logits.new_tensor(OBJECT_WEIGHTS)
    return F.cross_entropy(logits[known], labels[known], weights, reduction="sum") / known.sum()


def center_loss(centers: Tensor, positive: Tensor, targets: Tensor, same_scene: Tensor) -> Tensor:
    """Squared distances of positive proposals to their nearest object and of objects to their
    nearest proposal, whichever: the mean of each, added.

    Args:
        centers: (P, 3) metres, predicted.
        positive: (P,) bool.
        targets: (B, 3) metres.
        same_scene: (P, B) bool.
    """
    if not len(targets) or not len(centers):
        return centers.sum() * 0
    squared = (centers[:, None] - targets).square().sum(-1)
    squared = torch.where(same_scene, squared, torch.inf)
    to_target = _mean(squared.amin(1)[positive])
    reached = same_scene.any(0)  # a scene without a point has objects and no proposal
    return to_target + _mean(squared.amin(0)[reached])


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.sum()
