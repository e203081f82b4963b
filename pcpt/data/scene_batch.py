"""Samples of labelled scenes and the batch they join into."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from pcpt.data.scene import Boxes


@dataclass
class SceneBatch:
    """Labelled clouds. A sample is a batch of one.

    Attributes:
        points: (N, 3) float32, metres, z up, augmented: the student's input.
        original: (N, 3) float32, metres: the same points in the scene's own frame.
        colors: (N, 3) float32 in [0, 1]; mid-grey where a scene has none.
        batch_index: (N,) int64, the scene of each point.
        semantic: (N,) int64, class index; -1 is no label.
        instances: (N,) int64, object within its scene; -1 belongs to none.
        boxes: of each scene, moved along with ``points``.
        number: (number of scenes,) int64, the global sample numbers.
        names: of the scenes.
        point_number: (N,) int64, each point's place in its scene: crops leave points out.
        skipped: (scene, reason) of every scene that could not be read.
        world_to_scene: (number of scenes, 4, 4) float64, from the frame of the recording's poses to
            that of ``original``.
    """

    points: Tensor
    original: Tensor
    colors: Tensor
    batch_index: Tensor
    semantic: Tensor
    instances: Tensor
    point_number: Tensor
    number: Tensor
    boxes: list[Boxes]
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    world_to_scene: Tensor = field(default_factory=lambda: torch.eye(4, dtype=torch.float64)[None])

    @property
    def num_samples(self) -> int:
        """Number of scenes."""
        return len(self.names)

    def to(self, device: torch.device | str) -> "SceneBatch":
        """A copy with every tensor on ``device``."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "SceneBatch":
        """A copy in page-locked memory, for faster transfer to a GPU."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "SceneBatch":
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = change(value)
        values["boxes"] = [
            replace(boxes, **{f.name: change(getattr(boxes, f.name)) for f in fields(boxes)})
            for boxes in self.boxes
        ]
        return SceneBatch(**values)


def collate_scenes(samples: Sequence[SceneBatch]) -> SceneBatch:
    """Joins samples (or batches) into one, shifting ``batch_index``.

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("collate_scenes needs at least one sample")
    scenes = 0
    batch_index = []
    for sample in samples:
        batch_index.append(sample.batch_index + scenes)
        scenes += sample.num_samples
    plain = (
        "points", "original", "colors", "semantic", "instances", "point_number", "number",
        "world_to_scene",
    )  # fmt: skip
    return SceneBatch(
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in plain},
        batch_index=torch.cat(batch_index),
        boxes=[boxes for s in samples for boxes in s.boxes],
        names=[name for s in samples for name in s.names],
        skipped=[line for s in samples for line in s.skipped],
    )
