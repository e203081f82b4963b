"""Training shapes of which some have labels: two streams of samples in a fixed proportion."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch.utils.data import Dataset

from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes


class PartlyLabelled(Dataset[ShapeBatch]):
    """Samples by global number: a share of them drawn from all training shapes, with their labels
    taken away, the rest from those that ``limit`` leaves, with theirs.

    The streams are interleaved evenly, so that every batch has its share of both, however few
    shapes are labelled.

    Args:
        config: whose ``limit`` says which shapes have labels.
        seed: of order, choice of points and augmentation.
        unlabelled: share of samples without label, in [0, 1).

    Attributes:
        labelled: the shapes with labels.
        every: all training shapes.
        names: of all training shapes.
        classes: names of the classes.
    """

    def __init__(self, config: ShapeDataConfig, seed: int, unlabelled: float) -> None:
        """Raises ``ValueError`` for a share out of range."""
        if not 0 <= unlabelled < 1:
            raise ValueError(f"unlabelled is {unlabelled}, expected a share from 0, below 1")
        self.labelled = Shapes(config, "train", seed)
        # another seed: where both streams have the same shapes, not in the same order
        self.every = Shapes(replace(config, limit=1.0), "train", seed + 2**32)
        self.share = Fraction(unlabelled).limit_denominator(1000)
        if self.share in (0, 1):  # neither stream may vanish by rounding
            self.share = Fraction(unlabelled)
        self.names, self.classes = self.every.names, self.every.classes

    def __len__(self) -> int:
        return len(self.every)

    def scan_folders(self) -> dict[str, Path | None]:
        """See ``Shapes.scan_folders``."""
        return self.every.scan_folders()

    def __getitem__(self, number: int) -> ShapeBatch:
        before, after = int(number * self.share), int((number + 1) * self.share)
        if after == before:
            sample = self.labelled[number - before]
            return replace(sample, number=torch.tensor([number]))
        sample = self.every[before]
        return replace(
            sample,
            number=torch.tensor([number]),
            label=torch.full_like(sample.label, -1),
            parts=torch.full_like(sample.parts, -1),
        )
