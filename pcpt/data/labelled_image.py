"""The contract between images with a label for every pixel and the 2D networks trained on them: a
LabelledImageSet hands out LabelledImages."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image and what its pixels show.

    Attributes:
        name: unique within its set.
        image: (3, H, W) uint8, RGB.
        labels: (H, W) int64, place of a class in the label set, or -1: none, or outside the set.

    Raises:
        ValueError: a dtype or shape that differs from the above.
    """

    name: str
    image: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        size = tuple(self.image.shape[1:])
        for field, tensor, dtype, shape in (
            ("image", self.image, torch.uint8, (3, *size)),
            ("labels", self.labels, torch.int64, size),
        ):
            if tensor.dtype != dtype or tuple(tensor.shape) != shape or len(size) != 2:
                raise ValueError(
                    f"image {self.name}: {field} is {tensor.dtype} {tuple(tensor.shape)}, expected "
                    f"{dtype} {shape}"
                )


class LabelledImageSet(ABC):
    """Labelled images, read one at a time.

    A source subclasses it, fills the attributes and implements ``load``.

    Attributes:
        names: of the images, grouped by recording.
        label_set: the classes that labels are places in.
    """

    names: Sequence[str]
    label_set: LabelSet

    def __len__(self) -> int:
        return len(self.names)

    def scan_folders(self) -> dict[str, Path | None]:
        """The folder of every recording, by its name; none where images belong to none."""
        return {}

    @abstractmethod
    def load(self, name: str) -> LabelledImage:
        """Reads one image.

        Args:
            name: one of ``names``.

        Raises:
            BrokenFrame: this image or its labels cannot be used; others may.
            ValueError: something that is wrong with all of them, such as the label table.
        """


class LabelledImageSource(ABC):
    """Base of data sources of labelled images: registered under "datasets", made from a Config.

    Attributes:
        label_set: the classes that labels are places in; known before anything is opened.
    """

    @property
    @abstractmethod
    def label_set(self) -> LabelSet: ...

    @abstractmethod
    def open(self) -> LabelledImageSet:
        """The images; none is read yet.

        Raises:
            FileNotFoundError, ValueError: what is not there, or cannot be used.
        """
