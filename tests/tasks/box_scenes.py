"""Synthetic scenes with boxes, as a source of their own: a floor and furniture that is coloured by
class, small enough to be learned by heart in seconds."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Boxes, Scene, SceneSet
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.data.scene_transforms import SceneAugmentConfig
from pcpt.registry import register
from pcpt.students.sparse_unet import SparseUNet

LABELS = LabelSet(
    "toys", (0, 1, 2), ("bed", "chair", "table"), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
)
TYPICAL = torch.tensor([[1.6, 1.0, 0.6], [0.5, 0.5, 0.9], [1.2, 0.8, 0.7]])
STILL = SceneAugmentConfig(flip=0.0, rotate=0.0, scale=[1.0, 1.0], translate=0.0)


def surface(size: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count, 3) points on the faces of a box about the origin."""
    points = torch.rand(count, 3, generator=generator) - 0.5
    axis = torch.randint(3, (count,), generator=generator)
    side = torch.randint(2, (count,), generator=generator) - 0.5
    points[torch.arange(count), axis] = side
    return points * size


def toy_scene(name: str, seed: int, *, oriented: bool, known: bool = True) -> Scene:
    """Four things on a floor of 4 m; ``known`` says whether points know their instance."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 1, 2, 1])
    centers = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [-1, 1, 0], [1, 1, 0]])
    sizes = TYPICAL[labels] * (0.85 + 0.3 * torch.rand(4, 1, generator=generator))
    headings = (torch.rand(4, generator=generator) - 0.5) * math.pi if oriented else torch.zeros(4)
    centers[:, 2] = sizes[:, 2] / 2 + 0.05
    parts = [(torch.rand(1500, 3, generator=generator) - 0.5) * torch.tensor([4.0, 4.0, 0.0])]
    for center, size, heading in zip(centers, sizes, headings):
        cos, sin = math.cos(heading), math.sin(heading)
        turn = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        parts.append(surface(size, 500, generator) @ turn.T + center)
    owner = torch.cat([torch.full((len(part),), i - 1) for i, part in enumerate(parts)])
    palette = torch.tensor([*LABELS.colors, (128, 128, 128)], dtype=torch.uint8)
    semantic = torch.where(owner >= 0, labels[owner], -1)
    instances = owner if known else torch.full_like(owner, -1)
    own = torch.arange(4) if known else torch.full((4,), -1)
    return Scene(
        name,
        torch.cat(parts),
        semantic,
        instances,
        boxes=Boxes(centers, sizes, headings, labels, own),
        colors=palette[semantic],
    )


@register("datasets", "toy_boxes")
class ToyBoxes(SceneSet):
    """A few such scenes."""

    @dataclass
    class Config:
        """Attributes: oriented: turned things; known: points know their instance; count."""

        name: str = "toy_boxes"
        oriented: bool = False
        known: bool = True
        count: int = 2

    label_set = LABELS

    def __init__(self, config: Config) -> None:
        self.config = config
        self.names = [f"toy{i}" for i in range(config.count)]

    def open(self) -> "ToyBoxes":
        return self

    def load(self, name: str) -> Scene:
        config = self.config
        return toy_scene(name, int(name[3:]), oriented=config.oriented, known=config.known)


def toy_data(augment: SceneAugmentConfig = STILL, **source: Any) -> SceneDataConfig:
    """Toys for training and validation."""
    return SceneDataConfig(
        source=ToyBoxes.Config(**source), splits={"train": {}, "val": {}}, augment=augment
    )


def toy_student(seed: int = 0) -> SparseUNet:
    """A network of a few thousand weights that sees colours and shape."""
    torch.manual_seed(seed)
    config = SparseUNet.Config(
        planes=[16, 16, 24, 24, 24, 24, 16, 16],
        blocks=[1] * 8,
        stem_channels=16,
        out_channels=0,
        voxel_size=0.1,
        bn_momentum=0.3,
    )
    return SparseUNet(config)


def batch_of(task: Any, data: SceneDataConfig, numbers: list[int] | None = None) -> SceneBatch:
    """Training samples joined."""
    scenes = task.make_dataset(data, "train", 0)
    return task.collate([scenes[n] for n in numbers or range(len(scenes))])


def train(task: Any, data: SceneDataConfig, steps: int, lr: float = 5e-3) -> list[float]:
    """Takes steps on all scenes at once; the losses."""
    torch.manual_seed(0)
    task.prepare(iter([batch_of(task, data)]))
    optimizer = torch.optim.AdamW(task.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    losses = []
    scenes = task.make_dataset(data, "train", 0)
    for step in range(steps):
        batch = task.collate([scenes[step * len(scenes) + n] for n in range(len(scenes))])
        loss = task.train()(batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def evaluate(task: Any, data: SceneDataConfig, split: str = "val") -> dict[str, Any]:
    """Figures on whole scenes."""
    scenes = task.evaluation_set(data, split)
    return task.evaluate(task.collate([scenes[n]]) for n in range(len(scenes)))
