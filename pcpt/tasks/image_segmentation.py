"""Semantic segmentation of images: how a 2D teacher is made from 2D labels, as the PPKT paper's was
from ADE20K (arXiv 2104.04687). The exported run is the teacher ``segmenter``."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_minimum, check_share
from pcpt.data.image_dataset import (
    ImageBatch,
    ImageDataConfig,
    LabelledImages,
    collate_images,
    label_set_of,
)
from pcpt.data.splits import check_same_names
from pcpt.methods.base import Method, Output
from pcpt.metrics.segmentation import confusion_matrix, segmentation_figures
from pcpt.ops import sample_pixels
from pcpt.registry import register


@register("tasks", "image_segmentation")
class ImageSegmentation(Method):
    """A class for every pixel: scores at the cells of an image network, upsampled bilinearly.

    Args:
        config: see ``Config``.
        student: image network with ``out_channels``, ``stride`` and ``load_trunk``.
        data: its training split says what the classes are.
    """

    Data = ImageDataConfig

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            weights: of the network's trunk at the start: "" for those of the pip package, a file,
                or "random".
            pixels: labelled pixels of each image that the loss looks at, drawn at random: close-by
                pixels say the same, and scores of all are costly. 0 takes all.
            dropout: on the features below the scores.
        """

        name: str = "image_segmentation"
        weights: str = ""
        pixels: int = 8192
        dropout: float = 0.1

        def __post_init__(self) -> None:
            check_minimum("task.pixels", self.pixels, 0)
            check_share("task.dropout", self.dropout)

    def __init__(self, config: Config, student: Any, data: ImageDataConfig) -> None:
        """
        Raises:
            ValueError: a student that takes no images, a source without label images.
            FileNotFoundError: weights that are not there.
        """
        super().__init__()
        if not hasattr(student, "load_trunk"):
            raise ValueError(
                f"task image_segmentation needs a network on images such as image_pyramid, but "
                f"student is {type(student).__name__}"
            )
        if config.weights != "random":
            student.load_trunk(config.weights)
        self.config = config
        self.student = student
        self.label_set = label_set_of(data)
        self.head = nn.Conv2d(student.out_channels, len(self.label_set), 1)

    def make_dataset(self, config: ImageDataConfig, split: str, seed: int) -> LabelledImages:
        """Samples of a split: those of "train" shuffled and augmented."""
        return self.checked_split(LabelledImages(config, split, seed))

    def evaluation_set(self, config: ImageDataConfig, split: str) -> LabelledImages:
        """Every image of a split, unchanged but for its size."""
        return self.checked_split(LabelledImages(config, split, 0, training=False))

    def checked_split(self, images: LabelledImages) -> LabelledImages:
        """The images themselves, once their labels are known to mean what those of "train" mean.

        Raises:
            ValueError: other classes than "train" has.
        """
        check_same_names(images.split, "class", self.label_set.names, images.label_set.names)
        return images

    def collate(self, samples: list[Any]) -> ImageBatch:
        """Joins samples into a batch."""
        return collate_images(samples)

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "all labelled pixels of whole images at data.image_size"

    def export(self, batch: ImageBatch, folder: Path) -> None:
        """Raises ``ValueError``: there is no benchmark format of these predictions here."""
        raise ValueError(f"{type(self).__name__} has no benchmark format to export to {folder}")

    def logits(self, images: Tensor) -> Tensor:
        """(B, classes, ceil(H / stride), ceil(W / stride)): scores of each cell."""
        features = self.student(images)
        return self.head(F.dropout2d(features, self.config.dropout, self.training))

    def forward(self, batch: ImageBatch) -> Output:
        """Cross-entropy on labelled pixels; zero where a batch has none."""
        logits = self.logits(batch.images)
        view, row, column = self._pixels(batch.labels)
        target = batch.labels[view, row, column]
        pixel = torch.stack([column, row], 1).float()
        scores = sample_pixels(logits, view, pixel, self._covered(logits)).float()
        loss = F.cross_entropy(scores, target) if len(target) else logits.sum() * 0
        right = (scores.argmax(1) == target).float().sum()
        return Output(
            loss, {"accuracy": right / max(1, len(target)), "num_pixels": float(len(target))}
        )

    def _covered(self, logits: Tensor) -> tuple[int, int]:
        """(height, width) that the cells cover, which padding may make more than the image."""
        return logits.shape[2] * self.student.stride, logits.shape[3] * self.student.stride

    def _pixels(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image, row and column of the pixels that the loss looks at, sorted by image."""
        labelled = labels >= 0
        if self.config.pixels:
            count = labelled.sum((1, 2), keepdim=True).clamp(min=1)
            labelled &= torch.rand(labels.shape, device=labels.device) < self.config.pixels / count
        view, row, column = labelled.nonzero().unbind(1)
        return view, row, column

    @torch.no_grad()
    def predict(self, batch: ImageBatch) -> Tensor:
        """(B, H, W) int64, the class of each pixel."""
        logits = self.logits(batch.images)
        scores = F.interpolate(logits, size=self._covered(logits), mode="bilinear")
        height, width = batch.images.shape[2:]
        return scores[:, :, :height, :width].argmax(1)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ImageBatch]) -> dict[str, Any]:
        """Figures on all labelled pixels of all images: ``pixels/miou``, ``pixels/iou/CLASS`` and
        so on, and ``pixels/confusion``, counts of (true, predicted)."""
        was_training = self.training
        self.eval()
        classes = len(self.label_set)
        confusion = torch.zeros(classes, classes + 1, dtype=torch.int64)
        images = 0
        for batch in batches:
            predicted = self.predict(batch).flatten()
            confusion += confusion_matrix(batch.labels.flatten(), predicted, classes).cpu()
            images += batch.num_samples
        self.train(was_training)
        figures = segmentation_figures(confusion, self.label_set.names)
        return {
            "num_images": images,
            **{f"pixels/{name}": value for name, value in figures.items()},
            "pixels/confusion": confusion.tolist(),
        }
