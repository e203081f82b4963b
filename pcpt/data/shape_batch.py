"""Samples of single shapes and the batch they join into."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from pcpt.data.movable import Movable


@dataclass
class ShapeBatch(Movable):
    """Clouds of equally many points. A sample is a batch of one.

    Where nothing jitters, ``points = plain @ turn.T + shift`` with the normalised, unaugmented
    points ``plain`` of the same shape: cameras around the plain shape follow by the same map.

    Attributes:
        points: (B, N, 3) float32, z up, normalised and augmented: the network's input.
        normals: (B, N, 3) float32, turned along, or None.
        label: (B,) int64, class index; -1 is no label.
        parts: (B, N) int64, global part index; -1 is no label.
        point_number: (B, N) int64, each point's place in its shape; a place may come twice.
        number: (B,) int64, the global sample numbers.
        turn: (B, 3, 3) float64, linear map of the augmentation: rotation, then scale.
        shift: (B, 3) float64, its translation.
        names: of the shapes.
        skipped: as in other batches; empty, because a shape that cannot be read is an error.
        plain: (B, N, 3) float32, the points before augmentation; None where nothing changed them.
        splits: that each shape is of, since names are unique within a split alone; "" where it is
            not known.
    """

    points: Tensor
    normals: Tensor | None
    label: Tensor
    parts: Tensor
    point_number: Tensor
    number: Tensor
    turn: Tensor
    shift: Tensor
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    plain: Tensor | None = None
    splits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.splits = self.splits or [""] * len(self.names)

    def plain_points(self) -> Tensor:
        """(B, N, 3) float32: the points before augmentation, bit for bit where they were kept."""
        if self.plain is not None:
            return self.plain
        inverse = torch.linalg.inv(self.turn).to(self.points.dtype)
        return (self.points - self.shift[:, None].to(self.points.dtype)) @ inverse.mT

    def rows(self, chosen: slice | Tensor) -> "ShapeBatch":
        """Some of the shapes, in the order of ``chosen``: a slice or (M,) int64 places."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor):
                values[name] = value[chosen]
        places = torch.arange(self.num_samples)[chosen].tolist()
        for name in ("names", "splits"):
            values[name] = [values[name][place] for place in places]
        return ShapeBatch(**values)


def collate_shapes(samples: Sequence[ShapeBatch]) -> ShapeBatch:
    """Joins samples (or batches) into one; normals only where all samples have them.

    Raises:
        ValueError: no samples, or shapes of different numbers of points.
    """
    if not samples:
        raise ValueError("collate_shapes needs at least one sample")
    sizes = sorted({sample.points.shape[1] for sample in samples})
    if len(sizes) > 1:
        raise ValueError(
            f"shapes of {sizes[0]} and of {sizes[-1]} points do not join into one batch; give "
            "data.num_points a number"
        )
    plain = ("points", "label", "parts", "point_number", "number", "turn", "shift")
    normals = [s.normals for s in samples if s.normals is not None]
    changed = any(s.plain is not None for s in samples)
    return ShapeBatch(
        **{name: torch.cat([getattr(s, name) for s in samples]) for name in plain},
        normals=torch.cat(normals) if len(normals) == len(samples) else None,
        names=[name for s in samples for name in s.names],
        skipped=[line for s in samples for line in s.skipped],
        plain=torch.cat([s.plain_points() for s in samples]) if changed else None,
        splits=[split for s in samples for split in s.splits],
    )
