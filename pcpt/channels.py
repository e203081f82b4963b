"""Channels of features that are to be of one scale: used by methods on what a teacher says, and by
probes on what a student does."""

import torch
from torch import Tensor

_LEAST = 1e-6


def channel_scale(mean: Tensor, deviation: Tensor) -> Tensor:
    """What to multiply centred channels by, so that their deviation is 1; 0 for dead ones.

    Dead is what varies by less than a millionth: of 1, or of the largest deviation where all are
    small; and of the channel's own mean, below which there is only rounding. Scaled up, it would
    drown the others as soon as it varies after all.

    Args:
        mean: (C,) floating, C >= 1.
        deviation: (C,).

    Returns:
        (C,), one over ``deviation`` or 0.
    """
    floor = _LEAST * torch.maximum(mean.abs(), deviation.max().clamp(max=1.0))
    return torch.where(deviation > floor, deviation.reciprocal(), 0.0)
