"""A small made-up scene with everything a network may say about it."""

import math

import torch

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Boxes
from pcpt.viz.scene_result import SceneResult

CLASSES = LabelSet(
    "three", (0, 1, 2), ("floor", "chair", "lamp"), ((90, 160, 90), (200, 60, 60), (60, 90, 210))
)


def boxes(*centers: tuple[float, float, float], heading: float = 0.0, label: int = 1) -> Boxes:
    """Boxes of 0.6 m."""
    count = len(centers)
    return Boxes(
        torch.tensor(centers, dtype=torch.float32).view(count, 3),
        torch.full((count, 3), 0.6),
        torch.full((count,), heading),
        torch.full((count,), label, dtype=torch.int64),
        torch.full((count,), -1, dtype=torch.int64),
    )


def scene_result(name: str = "scene", label_set: LabelSet = CLASSES) -> SceneResult:
    """A floor of 3 x 3 m with two solid cubes: a chair at (-0.7, 0, 0.3), predicted rightly, and a
    lamp at (0.7, 0, 0.3), taken for a chair. Features are one direction a true class."""
    generator = torch.Generator().manual_seed(0)
    floor = (torch.rand(6000, 3, generator=generator) - 0.5) * torch.tensor([3.0, 3.0, 0.0])
    cubes = [
        (torch.rand(2000, 3, generator=generator) - 0.5) * 0.6 + torch.tensor([x, 0.0, 0.3])
        for x in (-0.7, 0.7)
    ]
    points = torch.cat((floor, *cubes))
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([6000, 2000, 2000]))
    labels[:500] = -1
    features = torch.eye(8)[labels.clamp(min=0)] + 0.02 * torch.rand(10000, 8, generator=generator)
    return SceneResult(
        name,
        points,
        colors=torch.rand(10000, 3, generator=generator),
        label_set=label_set,
        labels=labels,
        prediction=labels.clamp(0, 1),
        instances=(labels - 1).clamp(min=-1),
        predicted_instances=(labels - 1).clamp(-1, 0),
        features=features,
        boxes=boxes((-0.7, 0.0, 0.3)),
        predicted_boxes=boxes((-0.7, 0.0, 0.3), (0.7, 0.0, 0.3), heading=math.pi / 4),
        scores=torch.tensor([0.9, 0.2]),
        facts={"mIoU": "66.7"},
    )
