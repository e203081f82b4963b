"""Shapes whose class shows in their place, and a network small enough for tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pcpt.data.shape import Shape, ShapeSet
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.registry import register
from pcpt.students.point_features import PointFeatures
from pcpt.students.pretrained import Pretrained

OPENED: list[str] = []  # splits that somebody opened, in order


@register("students", "tiny_points")
class TinyPoints(Pretrained):
    """One layer with a batch norm and dropout; a shape's embedding is the maximum over points."""

    @dataclass
    class Config:
        name: str = "tiny_points"
        width: int = 8
        dropout: float = 0.0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.point_channels = self.pooled_channels = config.width
        self.linear = nn.Linear(3, config.width)
        self.norm = nn.BatchNorm1d(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.calls = 0

    def forward(self, points: Tensor, normals: Tensor | None = None) -> PointFeatures:
        self.calls += 1
        rows = self.norm(self.linear(points).flatten(0, 1)).view(*points.shape[:2], -1)
        point = self.dropout(torch.nn.functional.elu(rows))
        return PointFeatures(point, point.amax(1))


def tiny_points(**keys: Any) -> TinyPoints:
    torch.manual_seed(0)
    return TinyPoints(TinyPoints.Config(**keys))


class PlacedShapes(ShapeSet):
    """Shape number i of class c is a small cloud around place c of a triangle."""

    def __init__(self, config: Any) -> None:
        OPENED.append(config.split)
        labels = config.test_labels if config.split == "test" else config.labels
        self.names = [f"{config.split}_{i}" for i in range(len(labels))]
        self._labels = dict(zip(self.names, labels, strict=True))
        self.classes = tuple(config.classes)
        self.part_names = tuple(f"part{i}" for i in range(config.num_parts))
        if self.part_names:
            self.parts_of_class = tuple((2 * i, 2 * i + 1) for i in range(len(self.classes)))
        self._config = config

    def label_of(self, name: str) -> int:
        return self._labels[name]

    def load(self, name: str) -> Shape:
        label = self._labels[name]
        generator = torch.Generator().manual_seed(sum(name.encode()) * 1000 + len(name))
        spread = torch.randn(self._config.points, 3, generator=generator)
        center = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]])[label % 4]
        points = center + self._config.noise * spread
        parts = None
        if self.part_names:
            parts = 2 * max(label, 0) + (spread[:, 0] > 0).long()
            parts[0] += self._config.part_shift
        return Shape(name, points, label=label, parts=parts)


@register("datasets", "placed_shapes")
class PlacedSource:
    @dataclass
    class Config:
        name: str = "placed_shapes"
        split: str = "train"
        classes: list[str] = field(default_factory=lambda: ["ant", "bee", "cat"])
        labels: list[int] = field(default_factory=lambda: [0, 1, 2] * 10)
        test_labels: list[int] = field(default_factory=lambda: [0, 1, 2] * 4)
        num_parts: int = 0
        part_shift: int = 0
        points: int = 6
        noise: float = 0.3

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> PlacedShapes:
        return PlacedShapes(self.config)


def placed_data(*, val_fraction: float = 0.3, limit: float = 1.0, **keys: Any) -> ShapeDataConfig:
    """Data of ``placed_shapes``, not normalised, so that the place stays."""
    return ShapeDataConfig(
        source=PlacedSource.Config(**keys),
        val_fraction=val_fraction,
        num_points=0,
        normalise="none",
        limit=limit,
    )


def batches(task: Any, data: ShapeDataConfig, split: str) -> list[ShapeBatch]:
    """Every shape of a split, one a batch."""
    shapes = task.evaluation_set(data, split)
    return [task.collate([shapes[number]]) for number in range(len(shapes))]


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_state(module: nn.Module, state: dict[str, Tensor]) -> bool:
    own = module.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[n], v) for n, v in state.items())


def run_steps(task: Any, data: ShapeDataConfig, steps: int, lr: float = 0.05) -> list[float]:
    """Plain training; the losses."""
    dataset = task.make_dataset(data, "train", 0)
    optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], lr=lr)
    task.train()
    losses = []
    for step in range(steps):
        picked: Sequence[int] = range(8 * step, 8 * step + 8)
        loss = task(task.collate([dataset[number] for number in picked])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
