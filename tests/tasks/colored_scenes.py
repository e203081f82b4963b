"""Scenes so small and plain that a probe of an untrained student can tell their classes: clouds of
points in a few blocks, whose colour says the class."""

from dataclasses import dataclass
from typing import Any

import torch

from pcpt.config import RunConfig, make_config
from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Scene, SceneSet
from pcpt.registry import register

COLORS = torch.tensor([[230, 20, 20], [20, 230, 20], [20, 20, 230]])


class ColoredScenes(SceneSet):
    def __init__(self, config: Any) -> None:
        self.config = config
        self.names = [f"{config.split}{number}" for number in range(config.scenes)]
        self.label_set = LabelSet(
            "colors",
            (1, 2, 3),
            ("red", "green", "blue"),
            ((230, 20, 20), (20, 230, 20), (20, 20, 230)),
        )

    def load(self, name: str) -> Scene:
        generator = torch.Generator().manual_seed(sum(map(ord, name)))
        blocks, each = 6, self.config.points // 6
        label = torch.randint(3, (blocks,), generator=generator).repeat_interleave(each)
        middle = torch.rand(blocks, 3, generator=generator) * 2
        points = middle.repeat_interleave(each, 0) + 0.3 * torch.rand(
            len(label), 3, generator=generator
        )
        colors = (COLORS[label] + torch.randint(-15, 16, (len(label), 3), generator=generator)).to(
            torch.uint8
        )
        semantic = label.clone()
        semantic[:: self.config.unlabelled_every] = -1
        if self.config.unlabelled_every == 1:
            semantic[:] = -1
        return Scene(name, points, semantic, torch.full_like(label, -1), colors=colors)


@register("datasets", "colored_scenes")
class Source:
    @dataclass
    class Config:
        name: str = "colored_scenes"
        split: str = "train"
        scenes: int = 6
        points: int = 600
        unlabelled_every: int = 7

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> ColoredScenes:
        return ColoredScenes(self.config)


def colored_run(folder: Any, task: dict[str, Any], **sections: dict[str, Any]) -> RunConfig:
    """A run of a task on these scenes with a tiny student; ``sections`` add keys."""
    defaults: dict[str, dict[str, Any]] = {
        "student": {
            "name": "sparse_unet",
            "planes": [8] * 8,
            "blocks": [1] * 8,
            "stem_channels": 8,
            "out_channels": 0,
            "voxel_size": 0.1,
        },
        "data": {
            "source": {"name": "colored_scenes"},
            "splits": {"train": {}, "val": {"split": "val", "scenes": 3}},
        },
        "optim": {"name": "adamw", "lr": 0.02, "schedule": "cosine"},
        "train": {"steps": 60, "batch_size": 3, "log_every": 20, "checkpoint_every": 1000},
    }
    values: dict[str, Any] = {"run": str(folder), "device": "cpu", "task": task}
    for name, keys in defaults.items():
        values[name] = keys | sections.get(name, {})
    return make_config(values)
