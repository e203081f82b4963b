"""Where to look at a room from: with its ceiling taken away, at a slant or straight from above."""

import torch
from torch import Tensor

from pcpt.geometry.camera import Camera
from pcpt.viz.scan import far_camera, level_axes, overlook

CEILING = 2.2  # metres above the floor from which points are taken away


def below_ceiling(points: Tensor, up: Tensor) -> Tensor:
    """(N,) bool: what lies less than 2.2 m above the lowest points but strays.

    Args:
        points: (N, 3) float, metres.
        up: (3,) unit vector against gravity.
    """
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.bool)
    level = points.double() @ up.double()
    floor = float(level.sort().values[int(0.01 * (len(level) - 1))])
    return level < floor + CEILING


def room_camera(points: Tensor, up: Tensor, *, height: int, from_above: bool = False) -> Camera:
    """A camera that frames all points but strays.

    Args:
        points: (N, 3) float, metres, N > 0.
        up: (3,) unit vector against gravity.
        height: of the picture, pixels.
        from_above: look straight down, the longer side across, instead of at a slant.
    """
    up = up.double()
    if from_above:
        _, along = level_axes(points[:: max(1, len(points) // 50_000)], up)
        return far_camera(points.double(), up, along, height)
    corner = torch.tensor([0.8, 0.6, 0.35], dtype=torch.float64)  # along no wall
    return overlook(points, up, toward=corner, height=height, width=round(1.2 * height))
