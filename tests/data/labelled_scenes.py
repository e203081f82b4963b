"""A source of labelled scenes made in memory: coloured boxes on a floor."""

from dataclasses import dataclass

import torch

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Boxes, Scene, SceneSet
from pcpt.registry import register

LABELS = LabelSet(
    "blocks",
    (1, 2, 3),
    ("floor", "red", "blue"),
    ((128, 128, 128), (255, 0, 0), (0, 0, 255)),
)


def blocks(name: str, seed: int, *, points: int = 1500) -> Scene:
    """A 2 x 2 m floor with one red and one blue cube, a share of its labels missing."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    floor = torch.cat([draw(points, 2) * 2, torch.zeros(points, 1)], 1)
    parts, semantic, instances, centers = [floor], [torch.zeros(points)], [-torch.ones(points)], []
    for label in (1, 2):
        center = torch.tensor([*(0.4 + 1.2 * draw(2)).tolist(), 0.25])
        centers.append(center)
        parts.append(center + (draw(points // 2, 3) - 0.5) * 0.5)
        semantic.append(torch.full((points // 2,), float(label)))
        instances.append(torch.full((points // 2,), float(label - 1)))
    labels = torch.cat(semantic).long()
    hidden = draw(len(labels)) < 0.1
    colors = torch.tensor(LABELS.colors, dtype=torch.uint8)[labels]
    return Scene(
        name=name,
        points=torch.cat(parts),
        semantic=labels.masked_fill(hidden, -1),
        instances=torch.cat(instances).long(),
        colors=colors,
        up=torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
        boxes=Boxes(
            centers=torch.stack(centers),
            sizes=torch.full((2, 3), 0.5),
            headings=torch.zeros(2),
            labels=torch.tensor([1, 2]),
            instances=torch.tensor([0, 1]),
        ),
    )


class BlockSet(SceneSet):
    """``count`` scenes; those of different ``first`` differ."""

    def __init__(self, first: int, count: int, points: int) -> None:
        self.names = [f"blocks{first + i:03d}" for i in range(count)]
        self.label_set = LABELS
        self._points = points

    def load(self, name: str) -> Scene:
        return blocks(name, int(name.removeprefix("blocks")), points=self._points)


@register("datasets", "toy_blocks")
class Blocks:
    """Registered by importing this file, as ``imports`` of a config does."""

    @dataclass
    class Config:
        name: str = "toy_blocks"
        first: int = 0
        count: int = 4
        points: int = 1500

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> BlockSet:
        return BlockSet(self.config.first, self.config.count, self.config.points)
