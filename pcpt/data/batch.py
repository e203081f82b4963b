"""Samples of posed frames and the batch they join into."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcpt.data.movable import Movable


@dataclass
class Batch(Movable):
    """Clouds, the images that see them, and the pairs between the two.

    A sample is a batch of one cloud. Clouds and images of different samples are concatenated;
    images of a batch have one size.

    Attributes:
        images: (V, 3, H, W) uint8, RGB.
        points: (N, 3) float32, metres, augmented: the student's input.
        world: (N, 3) float32, metres: the same points as measured.
        colors: (N, 3) float32 in [0, 1].
        batch_index: (N,) int64, the cloud of each point.
        view_batch: (V,) int64, the cloud of each image.
        point_index: (M,) int64, the point of each pair.
        view_index: (M,) int64, the image of each pair.
        pixel: (M, 2) float32, the pixel (u, v) of each pair in its image.
        names: of the clouds.
        skipped: (scan, reason) of every broken frame met on the way.
        number: (number of clouds,) int64, the global sample numbers.
    """

    images: Tensor
    points: Tensor
    world: Tensor
    colors: Tensor
    batch_index: Tensor
    view_batch: Tensor
    point_index: Tensor
    view_index: Tensor
    pixel: Tensor
    number: Tensor
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def num_pairs(self) -> int:
        """Number of (point, pixel) pairs."""
        return self.point_index.numel()


def collate(samples: Sequence[Batch]) -> Batch:
    """Joins samples (or batches) into one, shifting their indices.

    Raises:
        ValueError: no samples, or images of different sizes.
    """
    if not samples:
        raise ValueError("collate needs at least one sample")
    sizes = {tuple(s.images.shape[2:]) for s in samples}
    if len(sizes) > 1:
        raise ValueError(
            f"images of one batch must have one size, got {sorted(sizes)}; set data.image_size"
        )
    num_points = num_views = num_clouds = 0
    shifted: dict[str, list[Tensor]] = {
        name: [] for name in ("batch_index", "view_batch", "point_index", "view_index")
    }
    for sample in samples:
        shifted["batch_index"].append(sample.batch_index + num_clouds)
        shifted["view_batch"].append(sample.view_batch + num_clouds)
        shifted["point_index"].append(sample.point_index + num_points)
        shifted["view_index"].append(sample.view_index + num_views)
        num_points += sample.points.shape[0]
        num_views += sample.images.shape[0]
        num_clouds += sample.num_samples
    plain = ("images", "points", "world", "colors", "pixel", "number")
    return Batch(
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in plain},
        **{name: torch.cat(parts) for name, parts in shifted.items()},
        names=[name for s in samples for name in s.names],
        skipped=[line for s in samples for line in s.skipped],
    )
