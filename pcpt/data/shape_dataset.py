"""Samples of single shapes: of a split, limited, normalised, reduced and augmented."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcpt import registry
from pcpt.choices import check_choice, check_minimum
from pcpt.data.order import EpochOrder, generator_for
from pcpt.data.shape import Shape, ShapeSet
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_transforms import (
    NORMALISATIONS,
    SAMPLINGS,
    ShapeAugmentConfig,
    augment_shape,
    choose_points,
    sphere_of,
    unit_normals,
)
from pcpt.data.splits import SPLITS, check_splits, split_source
from pcpt.data.transforms import rotation_to_z


@dataclass
class ShapeDataConfig:
    """Where shapes come from and what a sample is made of.

    Attributes:
        source: of shapes; ``source.name`` is one of ``pcpt.list("datasets")``.
        splits: for "train", "val" and "test" the keys of ``source`` that differ there, such as
            ``test: {split: test}``. A split that is not named is that of the same name of the
            source, but see ``val_fraction``.
        val_fraction: where ``splits`` names no "val", the share of the training shapes of each
            class that is kept out of training for it; 0 asks the source for a split "val".
        val_seed: of which they are. Not the run's seed: runs must share their validation shapes.
        num_points: of each sample; 0 takes all.
        sampling: which ones, see ``choose_points``: random, farthest or first.
        normalise: unit_sphere (mean of all the shape's points at the origin, farthest at distance
            1) or none.
        normals: hand normals on; a source without them is then an error.
        limit: share of the training shapes of each class that are used, at least one of each;
            nested: 1% is among the 10%.
        limit_seed: of which they are.
        cache: shapes kept in memory, in each process that loads.
        augment: random changes of training samples; others are never changed.
    """

    source: Any = field(default_factory=lambda: {"name": "procedural_shapes"})
    splits: dict[str, Any] = field(default_factory=dict)
    val_fraction: float = 0.1
    val_seed: int = 0
    num_points: int = 1024
    sampling: str = "random"
    normalise: str = "unit_sphere"
    normals: bool = False
    limit: float = 1.0
    limit_seed: int = 0
    cache: int = 0
    augment: ShapeAugmentConfig = field(default_factory=ShapeAugmentConfig)

    def __post_init__(self) -> None:
        for key in ("num_points", "cache", "val_seed", "limit_seed"):
            check_minimum(f"data.{key}", getattr(self, key), 0)
        check_choice("data.sampling", self.sampling, SAMPLINGS)
        check_choice("data.normalise", self.normalise, NORMALISATIONS)
        check_splits(self.splits)
        if not 0 <= self.val_fraction < 1:
            raise ValueError(
                f"data.val_fraction is {self.val_fraction}, expected at least 0 and below 1"
            )
        if not 0 < self.limit <= 1:
            raise ValueError(f"data.limit is {self.limit}, expected a share above 0 and up to 1.0")

    def cuts_val(self) -> bool:
        """Whether "val" is cut out of the training shapes."""
        return "val" not in self.splits and self.val_fraction > 0


def open_shapes(config: ShapeDataConfig, split: str) -> ShapeSet:
    """The shapes of a split of the source; for a "val" that is cut out of "train", those of both.

    Raises:
        ValueError: an unknown split or key, or a source of something else than shapes.
        FileNotFoundError: what the source raises.
    """
    if split == "val" and config.cuts_val():
        split = "train"
    splits = dict(config.splits)
    if split in SPLITS and split not in splits:
        has_split = any(f.name == "split" for f in fields(config.source))
        splits[split] = {"split": split} if has_split else {}
    source = split_source(config.source, splits, split)
    try:
        shapes = registry.get("datasets", source.name)(source).open()
    except (FileNotFoundError, ValueError) as error:
        if split != "val" or "val" in config.splits:
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(
            f"{error}; data.val_fraction is 0, so that {source.name!r} is asked for a split 'val' "
            "of its own: set data.val_fraction above 0 to cut one out of the training shapes, or "
            "name one in data.splits.val"
        ) from error
    if not isinstance(shapes, ShapeSet):
        raise ValueError(
            f"data source {source.name!r} holds no single shapes; give data.source.name a source "
            "that does, such as procedural_shapes or modelnet_h5"
        )
    if not len(shapes):
        raise ValueError(f"split {split!r} of {source.name!r} holds no shapes")
    return shapes


def share_of_each_class(
    names: Sequence[str], labels: Sequence[int], share: float, seed: int, *, least: int
) -> set[str]:
    """Names drawn from each class alike.

    By a key of its own for each name: other shapes, or another order, change nothing, and a smaller
    share is part of a larger one.

    Args:
        names: of the shapes.
        labels: their classes; -1 is a class like the others.
        share: of each class, rounded down.
        seed: of the draw.
        least: drawn of each class.
    """
    members: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        members.setdefault(label, []).append(name)
    chosen: set[str] = set()
    for group in members.values():
        count = max(least, math.floor(share * len(group) + 1e-9))
        chosen.update(sorted(group, key=lambda name: _digest(seed, name))[:count])
    return chosen


class Shapes(Dataset[ShapeBatch]):
    """Samples by global number: number n is shape ``permutation[n % len]`` of epoch ``n // len``.

    A sample depends on the seed and its number alone. With ``training=False`` shapes come in the
    order of the split's list, unchanged but normalised, with points that are always the same.
    Points are turned z up.

    Args:
        config: see ``ShapeDataConfig``.
        split: train, val or test.
        seed: of order, choice of points and augmentation.
        training: limit, shuffle and augment; by default of the training split alone.
        limited: only the shapes that ``limit`` leaves; by default as ``training``.

    Attributes:
        names: of the shapes, after limiting.
        shape_set: what the source opened.
        classes: names of the classes.

    Raises:
        ValueError: no shapes in the split, no normals where asked for, see also ``open_shapes``.
    """

    def __init__(
        self,
        config: ShapeDataConfig,
        split: str,
        seed: int,
        *,
        training: bool | None = None,
        limited: bool | None = None,
    ) -> None:
        self.config = config
        self.split = split
        self.seed = seed
        self.training = split == "train" if training is None else training
        self.limited = self.training if limited is None else limited
        self.shape_set = open_shapes(config, split)
        self.classes = self.shape_set.classes
        if config.normals and not self.shape_set.has_normals:
            raise ValueError(
                f"data.normals is true, but {config.source.name} has no normals; set it to false, "
                "or take a source with normals such as modelnet_text or modelnet_off"
            )
        self.names = self._names()
        self._up = rotation_to_z(torch.tensor(self.shape_set.up, dtype=torch.float64))
        self._cache: dict[str, Shape] = {}
        self._order = EpochOrder(len(self), seed, shuffled=self.training)

    def _names(self) -> list[str]:
        config, names = self.config, list(self.shape_set.names)
        if config.cuts_val() and self.split != "test":
            held = self._draw(names, config.val_fraction, config.val_seed, least=0)
            names = [name for name in names if (name in held) == (self.split == "val")]
        if not names:
            raise ValueError(
                f"data.val_fraction is {config.val_fraction}, which leaves split {self.split!r} of "
                f"{config.source.name!r} without shapes"
            )
        if self.limited and config.limit < 1:
            chosen = self._draw(names, config.limit, config.limit_seed, least=1, what="limit")
            names = [name for name in names if name in chosen]
        return names

    def _draw(
        self, names: list[str], share: float, seed: int, *, least: int, what: str = "val"
    ) -> set[str]:
        labels = [self.shape_set.label_of(name) for name in names]
        return share_of_each_class(names, labels, share, _seed_for(what, seed), least=least)

    def __len__(self) -> int:
        return len(self.names)

    def scan_folders(self) -> dict[str, Path | None]:
        """Every shape by its name; none has a folder of its own."""
        return dict.fromkeys(self.names)

    def name_of(self, number: int) -> str:
        """The shape of a global sample number."""
        return self.names[self._order.place(number)]

    def load(self, name: str) -> Shape:
        """One shape as read; kept as ``cache`` says."""
        shape = self._cache.pop(name, None) or self.shape_set.load(name)
        if self.config.cache > 0:
            self._cache[name] = shape  # last in, so that the first is the longest unused
            while len(self._cache) > self.config.cache:
                del self._cache[next(iter(self._cache))]
        return shape

    def frame_of(self, name: str) -> tuple[Tensor, Tensor]:
        """The map from a shape's own axes and units to those of samples before augmentation.

        Returns:
            linear: (3, 3) float64; shift: (3,) float64: p goes to ``linear @ p + shift``.
        """
        return self._frame(self.load(name))

    def mesh(self, name: str) -> tuple[Tensor, Tensor]:
        """The surface of a shape, where unaugmented samples lie: vertices (V, 3) float32, faces
        (F, 3) int64; raises ValueError where the source has clouds alone."""
        vertices, faces = self.shape_set.mesh(name)
        linear, shift = self.frame_of(name)
        return (vertices.double() @ linear.T + shift).float(), faces

    def _frame(self, shape: Shape) -> tuple[Tensor, Tensor]:
        if self.config.normalise == "none":
            return self._up, torch.zeros(3, dtype=torch.float64)
        center, radius = sphere_of(shape.points)
        linear = self._up / radius
        return linear, -(linear @ center)

    def __getitem__(self, number: int) -> ShapeBatch:
        shape = self.load(self.name_of(number))
        generator = generator_for(self.seed, number) if self.training else None
        chosen = choose_points(
            shape.points, self.config.num_points, self.config.sampling, generator
        )
        sample = self._to_sample(shape, chosen, number)
        if generator is None:
            if sample.normals is None:
                return sample
            return replace(sample, normals=unit_normals(sample.normals))  # as augmentation does
        return augment_shape(sample, self.config.augment, generator)

    def _to_sample(self, shape: Shape, chosen: Tensor, number: int) -> ShapeBatch:
        linear, shift = self._frame(shape)
        normals = None
        if self.config.normals and shape.normals is not None:
            normals = (shape.normals[chosen].double() @ self._up.T).float()[None]
        parts = shape.parts
        return ShapeBatch(
            points=(shape.points[chosen].double() @ linear.T + shift).float()[None],
            normals=normals,
            label=torch.tensor([shape.label]),
            parts=(torch.full((len(chosen),), -1) if parts is None else parts[chosen])[None],
            point_number=chosen[None],
            number=torch.tensor([number]),
            turn=torch.eye(3, dtype=torch.float64)[None],
            shift=torch.zeros(1, 3, dtype=torch.float64),
            names=[shape.name],
            splits=[self.split],
        )


def _seed_for(what: str, seed: int) -> int:
    """Seeds of one number but two purposes, which must not draw the same shapes."""
    return int.from_bytes(hashlib.sha256(f"{what} {seed}".encode()).digest()[:8], "little")


def _digest(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
