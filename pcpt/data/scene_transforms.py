"""Random changes of labelled scenes; boxes move along with the points."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pcpt.choices import check_minimum
from pcpt.data.scene import Boxes
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.transforms import elastic_distortion, rotation_about, uniform


@dataclass
class SceneAugmentConfig:
    """Random changes of a training scene; each can be set to its neutral value.

    Attributes:
        flip: probability of mirroring x, and apart from that of mirroring y.
        rotate: largest rotation about the vertical, degrees.
        tilt: largest rotation about each horizontal axis, degrees. Boxes cannot follow it.
        scale: range of the factor of size.
        scale_axes: draw one factor for each axis rather than one for all; boxes cannot follow it.
        translate: largest shift along each axis, metres: voxels begin elsewhere.
        elastic: probability of elastic distortion, which boxes cannot follow.
        elastic_levels: pairs (granularity, magnitude) in metres, applied one after the other.
        drop_points: largest share of points left out.
        color_contrast: probability of stretching each channel to its whole range, blended with the
            original by a random weight.
        color_shift: largest shift of each channel, of all points together.
        color_jitter: standard deviation of noise on each point's channels.
        color_drop: probability that all colours are withheld, which means mid-grey.
    """

    flip: float = 0.5
    rotate: float = 180.0
    tilt: float = 0.0
    scale: list[float] = field(default_factory=lambda: [0.9, 1.1])
    scale_axes: bool = False
    translate: float = 1.0
    elastic: float = 0.0
    elastic_levels: list[list[float]] = field(default_factory=lambda: [[0.2, 0.4], [0.8, 1.6]])
    drop_points: float = 0.0
    color_contrast: float = 0.0
    color_shift: float = 0.0
    color_jitter: float = 0.0
    color_drop: float = 0.0

    def __post_init__(self) -> None:
        for key in ("flip", "rotate", "tilt", "translate", "elastic", "drop_points"):
            check_minimum(f"data.augment.{key}", getattr(self, key), 0)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"data.augment.scale is {list(self.scale)}, expected [low, high] above 0"
            )

    def keeps_boxes(self) -> bool:
        """Whether boxes still fit their objects after these changes."""
        return self.tilt == 0 and self.elastic == 0 and not self.scale_axes


def augment_scene(
    sample: SceneBatch, config: SceneAugmentConfig, generator: torch.Generator
) -> SceneBatch:
    """A randomly changed copy of a sample; ``original`` stays as it is."""
    sample = _drop_points(sample, config.drop_points, generator)
    points = sample.points
    if uniform(0, 1, generator) < config.elastic:
        for granularity, magnitude in config.elastic_levels:
            points = elastic_distortion(points, granularity, magnitude, generator)
    mirror = [-1.0 if uniform(0, 1, generator) < config.flip else 1.0 for _ in range(2)]
    turn, tilt_x, tilt_y = (
        math.radians(uniform(-limit, limit, generator))
        for limit in (config.rotate, config.tilt, config.tilt)
    )
    factors = [uniform(config.scale[0], config.scale[1], generator) for _ in range(3)]
    if not config.scale_axes:
        factors = factors[:1] * 3
    shift = torch.tensor([uniform(-1, 1, generator) * config.translate for _ in range(3)])
    matrix = rotation_about(2, turn) @ rotation_about(1, tilt_y) @ rotation_about(0, tilt_x)
    matrix = (
        matrix
        @ torch.diag(torch.tensor([*mirror, 1.0], dtype=torch.float64))
        * torch.tensor(factors, dtype=torch.float64)[:, None]
    )
    return replace(
        sample,
        points=points @ matrix.T.to(points.dtype) + shift,
        colors=_augment_colors(sample.colors, config, generator),
        boxes=[_move(b, matrix, shift, mirror, turn, factors[0]) for b in sample.boxes],
    )


def _move(
    boxes: Boxes, matrix: Tensor, shift: Tensor, mirror: list[float], turn: float, factor: float
) -> Boxes:
    headings = boxes.headings * (mirror[0] * mirror[1])  # mirroring turns the sense of rotation
    if mirror[0] < 0:  # and what faced along x faces the other way
        headings = headings + math.pi
    return replace(
        boxes,
        centers=boxes.centers @ matrix.T.to(boxes.centers.dtype) + shift,
        sizes=boxes.sizes * factor,
        headings=headings + turn,
    )


def _drop_points(sample: SceneBatch, most: float, generator: torch.Generator) -> SceneBatch:
    share = uniform(0, most, generator)
    if share <= 0:
        return sample
    return keep_points(sample, torch.rand(len(sample.points), generator=generator) >= share)


def keep_points(sample: SceneBatch, keep: Tensor) -> SceneBatch:
    """The sample with only the points of a mask (N,) bool or index (K,) int64."""
    names = ("points", "original", "colors", "batch_index", "semantic", "instances", "point_number")
    return replace(sample, **{name: getattr(sample, name)[keep] for name in names})


def _augment_colors(
    colors: Tensor, config: SceneAugmentConfig, generator: torch.Generator
) -> Tensor:
    if uniform(0, 1, generator) < config.color_contrast and len(colors):
        low, high = colors.amin(0), colors.amax(0)
        stretched = (colors - low) / (high - low).clamp(min=1e-3)
        blend = uniform(0, 1, generator)
        colors = colors * (1 - blend) + stretched * blend
    if config.color_shift > 0:
        move = torch.tensor([uniform(-1, 1, generator) for _ in range(3)], dtype=colors.dtype)
        colors = colors + move * config.color_shift
    if config.color_jitter > 0:
        colors = colors + torch.randn(colors.shape, generator=generator) * config.color_jitter
    if uniform(0, 1, generator) < config.color_drop:
        colors = torch.full_like(colors, 0.5)
    return colors.clamp(0, 1)
