"""The first stage of PointMCD for classification (arXiv 2207.03128): an image network learns to
tell shapes by their views, and its codewords are distilled afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.data.view_dataset import ViewBatch, ViewDataConfig
from pcpt.methods.base import Output
from pcpt.metrics.classification import classification_figures
from pcpt.metrics.segmentation import confusion_matrix
from pcpt.registry import register
from pcpt.tasks.views import ViewTask


@register("tasks", "view_classification")
class ViewClassification(ViewTask):
    """Cross-entropy with smoothed labels on the maximum of a shape's codewords over its views, and
    on the codeword of each view.

    The paper does not say whether both share their classifier; here they do.
    """

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            weights: of the trunk at the start: "" for ImageNet's, a file or folder, or "random".
            label_smoothing: share of the label spread over all classes.
            view_weight: of the loss of single views beside that of whole shapes.
        """

        name: str = "view_classification"
        weights: str = ""
        label_smoothing: float = 0.2
        view_weight: float = 1.0

        def __post_init__(self) -> None:
            if not 0 <= self.label_smoothing < 1:
                raise ValueError(
                    f"task.label_smoothing is {self.label_smoothing}, expected 0 or more, below 1"
                )

    selected_by = "accuracy"

    def __init__(self, config: Config, student: Any, data: ViewDataConfig) -> None:
        super().__init__(config, student, data)
        self.classifier = nn.Linear(student.codeword_channels, len(self.classes))

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, classes) of shapes and (B, V, classes) of their views."""
        batch, views = images.shape[:2]
        codeword = self.student(images.flatten(0, 1)).codeword.view(batch, views, -1)
        return self.classifier(codeword.amax(1)), self.classifier(codeword)

    def forward(self, batch: ViewBatch) -> Output:
        """Both losses on labelled shapes; zero where a batch has none."""
        whole, single = self.logits(batch.images)
        target = batch.label
        loss = self._loss(whole, target)
        of_views = target[:, None].expand(single.shape[:2]).flatten()
        view_loss = self._loss(single.flatten(0, 1), of_views)
        right = (whole.argmax(1) == target).float().sum() / max(1, int((target >= 0).sum()))
        return Output(
            loss + self.config.view_weight * view_loss,
            {"accuracy": right, "loss_views": view_loss.detach()},
        )

    def _loss(self, logits: Tensor, target: Tensor) -> Tensor:
        if not bool((target >= 0).any()):
            return logits.sum() * 0
        smoothing = self.config.label_smoothing
        return F.cross_entropy(logits, target, ignore_index=-1, label_smoothing=smoothing)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ViewBatch]) -> dict[str, Any]:
        """``accuracy`` of shapes by the maximum over their views, ``class_accuracy`` and
        ``accuracy/CLASS``, ``view_accuracy`` of single views, and ``confusion`` of shapes, counts
        of (true, predicted)."""
        was_training = self.training
        self.eval()
        classes, shapes = len(self.classes), 0
        of_shapes = torch.zeros(classes, classes + 1, dtype=torch.int64)
        of_views = of_shapes.clone()
        for batch in batches:
            whole, single = self.logits(batch.images)
            label = batch.label[:, None].expand(single.shape[:2])
            of_shapes += confusion_matrix(batch.label, whole.argmax(1), classes).cpu()
            guess = single.argmax(2).flatten()
            of_views += confusion_matrix(label.flatten(), guess, classes).cpu()
            shapes += batch.num_samples
        self.train(was_training)
        figures = classification_figures(of_shapes, self.classes)
        views = classification_figures(of_views, self.classes)["accuracy"]
        return {
            "num_shapes": shapes,
            **figures,
            "view_accuracy": views,
            "confusion": of_shapes.tolist(),
        }

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "single shapes by the maximum of the codewords of all views"
