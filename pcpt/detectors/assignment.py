"""Which location of a one-stage detector answers for which box."""

import torch
from torch import Tensor

from pcpt.detectors.detections import Targets
from pcpt.geometry.boxes import points_in_boxes


def box_levels(boxes: Tensor, limits: list[float]) -> Tensor:
    """(B,) int64 level of each box: how many of the limits (metres) its longest side exceeds."""
    longest = boxes[:, 3:6].amax(1)
    return (longest[:, None] > longest.new_tensor(limits)).sum(1)


def nearest_locations(
    locations: Tensor,
    batch_index: Tensor,
    targets: Targets,
    num: int,
    margin: float,
) -> Tensor:
    """The box that each location of one level answers for (TR3D, Rukhovich et al. 2023, arXiv
    2302.02858): each box takes the locations nearest to its centre, a location wanted by several
    boxes goes to the one whose centre is nearest.

    Args:
        locations: (N, 3) floating, centres of occupied voxels, metres.
        batch_index: (N,) int64, the scene of each.
        targets: (B) boxes of that level.
        num: locations of a box at most.
        margin: metres by which a location may lie outside its box; farther ones see something else.

    Returns:
        (N,) int64 rows of ``targets``, -1 for background.
    """
    count = len(targets.boxes)
    if not count or not len(locations):
        return torch.full((len(locations),), -1, device=locations.device)
    distance = torch.cdist(
        locations, targets.boxes[:, :3], compute_mode="donot_use_mm_for_euclid_dist"
    )
    may = points_in_boxes(locations, targets.boxes, margin=margin)
    may &= batch_index[:, None] == targets.batch_index
    distance = torch.where(may, distance, torch.inf)
    nearest = distance.topk(min(num, len(locations)), dim=0, largest=False).indices
    wanted = torch.zeros_like(may).scatter_(0, nearest, True) & may
    best, owner = torch.where(wanted, distance, torch.inf).min(dim=1)
    return torch.where(best < torch.inf, owner, -1)
