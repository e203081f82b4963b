"""Tracking that was lost: frames without a pose, poses that stand still while the view moves, and
links between neighbours that their images contradict."""

from typing import Any

import torch
from torch import Tensor

from pcpt.doctor.agreement import agreement
from pcpt.doctor.observations import Observations

LOST_SHARE = 0.03  # of the frames without a usable pose: fewer are skipped in training, no fault
FROZEN_LINKS = 2  # exactly equal neighbouring poses although the view changes
BROKEN_SHARE = 0.02  # of the links, and
BROKEN_LINKS = 2  # at least so many
# A link is broken if its agreement is below this share of a good link's (the upper quartile),
BROKEN = 0.35
# and neighbouring images are more alike as they stand than as the poses carry them.
STANDSTILL = 0.05
# Where even good links agree less, frames are too far apart to judge links one by one.
GOOD_LINK = 0.45


def find_lost_tracking(observations: Observations) -> tuple[bool, dict[str, Any]]:
    """Whether tracking was lost in a part of the recording, and the evidence either way."""
    looked_at = max(1, observations.num_looked_at)
    first, second = _links(observations)
    carried = _both_ways(observations, first, second)
    still = _both_ways(observations, first, second, standing=True)
    poses = observations.camera_to_world
    equal = (poses[first] == poses[second]).flatten(1).all(1)
    good = float(carried.quantile(0.75)) if len(carried) else 0.0
    frozen = equal & (carried < 0.97 * good)
    broken = (carried < BROKEN * good) & (still > carried + STANDSTILL) & (good > GOOD_LINK)
    evidence = {
        "frames_without_pose": len(observations.lost),
        "frames_looked_at": looked_at,
        "link_agreement_upper_quartile": good,
        "links": len(first),
        "links_frozen": int(frozen.sum()),
        "links_broken": int(broken.sum()),
        "broken_after_frames": [observations.names[i] for i in first[broken].tolist()][:20],
        "frames_without_pose_names": observations.lost[:20],
    }
    lost = (
        len(observations.lost) > LOST_SHARE * looked_at
        or int(frozen.sum()) >= FROZEN_LINKS
        or int(broken.sum()) >= max(BROKEN_LINKS, BROKEN_SHARE * len(first))
    )
    return lost, evidence


def _links(observations: Observations) -> tuple[Tensor, Tensor]:
    """Rows of neighbours in the recording, (L,) each."""
    place, window = observations.place, observations.window
    next_to = (place[1:] - place[:-1] == 1) & (window[1:] == window[:-1])
    first = next_to.nonzero().squeeze(1)
    return first, first + 1


def _both_ways(
    observations: Observations, first: Tensor, second: Tensor, standing: bool = False
) -> Tensor:
    still = torch.eye(4, dtype=torch.float64).expand(len(first), 4, 4) if standing else None
    forth = agreement(observations, first, second, relative=still)
    back = agreement(observations, second, first, relative=still)
    return (forth + back) / 2
