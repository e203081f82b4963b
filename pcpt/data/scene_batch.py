"""Samples of labelled scenes and the batch they join into."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcpt.data.movable import Movable
from pcpt.data.scene import Boxes


@dataclass
class SceneBatch(Movable):
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
        skipped: (scene, reason) of every broken scene that was passed over on the way.
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
