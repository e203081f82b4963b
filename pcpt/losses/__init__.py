"""Losses: pure functions on tensors."""

from pcpt.losses.boxes import distance_iou_loss, focal_loss
from pcpt.losses.chamfer import chamfer
from pcpt.losses.gather import gather_with_grad, num_ranks
from pcpt.losses.lovasz import lovasz_softmax
from pcpt.losses.pp_nce import pp_nce

__all__ = [
    "chamfer",
    "distance_iou_loss",
    "focal_loss",
    "gather_with_grad",
    "lovasz_softmax",
    "num_ranks",
    "pp_nce",
]
