"""Labelled scenes small enough to learn in seconds."""

from dataclasses import dataclass, replace

import torch

from pcpt.data.label_set import LabelSet
from pcpt.data.scannet_classes import LABEL_SETS
from pcpt.data.scene import Scene, SceneSet
from pcpt.registry import register

LABELS = LabelSet(
    "tiny",
    (1, 2, 3),
    ("floor", "chair", "table"),
    ((0, 0, 0), (255, 0, 0), (0, 0, 255)),
)


def box(center, size, generator, num_points=400):
    """Points on the faces of a box."""
    points = torch.rand(num_points, 3, generator=generator) - 0.5
    axis = torch.randint(3, (num_points, 1), generator=generator)
    side = torch.randint(2, (num_points, 1), generator=generator) - 0.5
    return points.scatter(1, axis, side) * torch.tensor(size) + torch.tensor(center)


def furnished(seed, *, labelled=True, objects=True):
    """A floor with a table and three chairs in a row, two of them touching; some points have no
    label, and one object is of no class of the set."""
    generator = torch.Generator().manual_seed(seed)
    floor = torch.rand(1500, 3, generator=generator) * torch.tensor([3.0, 2.0, 0.02])
    parts = [(0, -1, floor, (90, 90, 90))]
    if objects:
        places = ((0.5, 0.5), (0.92, 0.5), (1.8, 0.6))
        for number, (x, y) in enumerate(places):
            cloud = box((x, y, 0.25), (0.4, 0.4, 0.4), generator)
            parts.append((1, number, cloud, (220, 40, 40)))
        parts.append((2, 3, box((1.3, 1.4, 0.4), (1.0, 0.6, 0.7), generator, 900), (40, 40, 220)))
        parts.append((-1, 4, box((2.6, 1.5, 0.2), (0.3, 0.3, 0.3), generator, 200), (40, 220, 40)))
    points = torch.cat([part[2] for part in parts])
    semantic = torch.cat([torch.full((len(p),), label) for label, _, p, _ in parts])
    instances = torch.cat([torch.full((len(p),), number) for _, number, p, _ in parts])
    colors = torch.cat([torch.tensor([c]).expand(len(p), 3) for _, _, p, c in parts])
    if not labelled:
        semantic, instances = torch.full_like(semantic, -1), torch.full_like(instances, -1)
    return Scene(
        f"tiny_{seed}", points, semantic, instances, colors=colors.to(torch.uint8).contiguous()
    )


class TinyScenes(SceneSet):
    """What ``Tiny`` opens: scene N is furnished with seed N."""

    def __init__(self, count, scannet):
        self.names = [f"tiny_{seed}" for seed in range(count)]
        self.label_set = LABEL_SETS["scannet20"] if scannet else LABELS

    def load(self, name):
        scene = furnished(int(name.removeprefix("tiny_")))
        if self.label_set is LABELS:
            return scene
        places = [self.label_set.names.index(name) for name in LABELS.names]
        return replace(scene, semantic=torch.tensor([*places, -1])[scene.semantic])


@register("datasets", "tiny_scenes")
class Tiny:
    """Scenes made up on the spot."""

    @dataclass
    class Config:
        name: str = "tiny_scenes"
        count: int = 1
        scannet: bool = False

    def __init__(self, config):
        self.config = config

    def open(self):
        return TinyScenes(self.config.count, self.config.scannet)
