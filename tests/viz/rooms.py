"""A small labelled room, made of boxes: floor, two walls, a table, two chairs, one unknown."""

import numpy as np
import torch

from pcpt.data.scannet_classes import LABEL_SETS
from pcpt.data.scene import Scene

LABELS = LABEL_SETS["scannet20"]
# class, instance, corner and extent in metres, colour
PARTS = (
    ("floor", 0, (0, 0, -0.02), (4, 3, 0.02), (150, 120, 90)),
    ("wall", 1, (-0.05, 0, 0), (0.05, 3, 2.4), (210, 205, 195)),
    ("wall", 2, (0, 2.95, 0), (4, 0.05, 2.4), (200, 205, 200)),
    ("table", 3, (1.4, 1.2, 0.7), (1.4, 0.8, 0.05), (120, 80, 50)),
    ("chair", 4, (1.6, 0.5, 0.4), (0.45, 0.45, 0.06), (60, 60, 70)),
    ("chair", 5, (2.3, 2.1, 0.4), (0.45, 0.45, 0.06), (60, 60, 70)),
    ("", -1, (3.2, 0.4, 0), (0.4, 0.4, 0.9), (90, 140, 90)),
)


def room(points_per_part: int = 4000) -> Scene:
    random = np.random.default_rng(0)
    points, colors, semantic, instances = [], [], [], []
    for name, instance, corner, extent, color in PARTS:
        count = points_per_part if max(extent) > 1 else points_per_part // 4
        inside = random.random((count, 3)) * extent + corner
        points.append(inside)
        shade = random.normal(0, 8, (count, 1))
        colors.append((np.array(color) + shade).clip(0, 255))
        semantic.append(np.full(count, LABELS.names.index(name) if name else -1))
        instances.append(np.full(count, instance))
    return Scene(
        "room",
        torch.from_numpy(np.concatenate(points)).float(),
        torch.from_numpy(np.concatenate(semantic)),
        torch.from_numpy(np.concatenate(instances)),
        colors=torch.from_numpy(np.concatenate(colors)).to(torch.uint8),
        up=torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
    )
