"""Classification of single shapes: fine-tuning with few labels or all."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.order import generator_for
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.methods.base import Output
from pcpt.metrics.classification import classification_figures
from pcpt.metrics.segmentation import confusion_matrix
from pcpt.registry import register
from pcpt.students.adapters import check_tune, hold_untrained, tune_student
from pcpt.tasks.objects import (
    POOLINGS,
    ObjectTask,
    count_labels,
    embed_batch,
    embedding_channels,
    joined,
)
from pcpt.tasks.shape_head import check_head, shape_head

BALANCES = ("none", "inverse")


@register("tasks", "classification")
class Classification(ObjectTask):
    """A head on a shape's embedding, trained together with the network.

    I2P-MAE (arXiv 2212.06785) and its predecessors fine-tune so, with label smoothing 0.2 on
    ModelNet40. Voting, which they report beside, is off; with ``votes`` its figures stand beside
    the others and never in their place.
    """

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            pooling: pooled, the network's embedding of the shape; or pooled_and_mean, that beside
                the mean of its points' embeddings.
            hidden: widths of the head's layers; none makes it linear.
            dropout: in the head.
            label_smoothing: of the cross-entropy.
            balance: none; or inverse, classes weigh by one over their labelled training shapes.
            tune: what of the network is trained: all; head, nothing of it; or bias_and_norm.
            votes: copies of each shape, scaled at random, whose mean probability is scored as well;
                0 does not vote.
            vote_scale: range of the factor of size of these copies.
        """

        name: str = "classification"
        pooling: str = "pooled"
        hidden: list[int] = field(default_factory=lambda: [256, 256])
        dropout: float = 0.5
        label_smoothing: float = 0.0
        balance: str = "none"
        tune: str = "all"
        votes: int = 0
        vote_scale: list[float] = field(default_factory=lambda: [0.8, 1.25])

        def __post_init__(self) -> None:
            check_choice("task.pooling", self.pooling, POOLINGS)
            check_choice("task.balance", self.balance, BALANCES)
            check_head(self.hidden, self.dropout)
            check_minimum("task.votes", self.votes, 0)
            if not 0 <= self.label_smoothing < 1:
                raise ValueError(
                    f"task.label_smoothing is {self.label_smoothing}, expected a share below 1"
                )
            if len(self.vote_scale) != 2 or not 0 < self.vote_scale[0] <= self.vote_scale[1]:
                raise ValueError(
                    f"task.vote_scale is {list(self.vote_scale)}, expected [low, high] above 0"
                )
            check_tune(self.tune, 1)

    selected_by = "accuracy"
    class_weight: Tensor

    def __init__(self, config: Config, student: Any, data: ShapeDataConfig) -> None:
        super().__init__(config, student, data)
        tune_student(student, config.tune)
        channels = embedding_channels(student, config.pooling)
        self.head = shape_head(channels, config.hidden, len(self.classes), config.dropout)
        counts = count_labels(data, self.classes)
        weight = torch.ones(len(self.classes))
        if config.balance == "inverse":
            # of mean 1 over the training shapes; a class without any does not count
            share = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1))
            weight = torch.where(counts > 0, share, 0.0).float()
        # not saved: a run that starts from this one has labels of its own
        self.register_buffer("class_weight", weight, persistent=False)

    def train(self, mode: bool = True) -> "Classification":
        """As ``nn.Module.train``, but what is not trained stays in eval mode."""
        super().train(mode)
        hold_untrained(self.student, self.config.tune)
        return self

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        text = "accuracy of single shapes, one pass of each as it is, no voting"
        if self.config.votes:
            low, high = self.config.vote_scale
            text += (
                f"; voted/...: mean probability of {self.config.votes} copies of each shape, the "
                f"first as it is, the others scaled by a random factor of {low:g} to {high:g}"
            )
        return text

    def predict(self, batch: ShapeBatch) -> Tensor:
        """(B, C) class scores."""
        return self.head(embed_batch(self.student, batch, self.config.pooling))

    def classify(self, batch: ShapeBatch) -> Tensor:
        """(B,) int64 classes."""
        return self.predict(batch).argmax(1)

    def forward(self, batch: ShapeBatch) -> Output:
        """Cross-entropy over the batch's labelled shapes; zero where it has none."""
        logits = self.predict(self.checked(batch)).float()
        labelled = batch.label >= 0
        logits, target = logits[labelled], batch.label[labelled]
        loss = logits.sum() * 0
        if len(target):
            loss = F.cross_entropy(
                logits, target, self.class_weight, label_smoothing=self.config.label_smoothing
            )
        accuracy = (logits.argmax(1) == target).float().sum() / max(1, len(target))
        return Output(loss, {"accuracy": accuracy, "num_labelled": float(len(target))})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, Any]:
        """``accuracy``, ``class_accuracy`` (mean over classes), ``accuracy/CLASS`` and
        ``confusion``, counts of (true, predicted); with ``votes`` the same as ``voted/...``."""
        was_training = self.training
        self.eval()
        classes = len(self.classes)
        counts = {"": torch.zeros(classes, classes + 1, dtype=torch.int64)}
        if self.config.votes:
            counts["voted/"] = counts[""].clone()
        shapes = 0
        for batch in joined(batches):
            logits = self.predict(self.checked(batch))
            said = {"": logits}
            if self.config.votes:
                said["voted/"] = self._vote(batch, logits)
            for kind, scores in said.items():
                counts[kind] += confusion_matrix(batch.label, scores.argmax(1), classes).cpu()
            shapes += batch.num_samples
        self.train(was_training)
        figures: dict[str, Any] = {"num_shapes": shapes}
        for kind, confusion in counts.items():
            of_kind = classification_figures(confusion, self.classes)
            figures |= {f"{kind}{key}": value for key, value in of_kind.items()}
        return figures | {"confusion": counts[""].tolist()}

    def _vote(self, batch: ShapeBatch, first: Tensor) -> Tensor:
        """(B, C) mean probabilities; a shape's copies follow from its number alone."""
        low, high = self.config.vote_scale
        total = first.float().softmax(1)
        for vote in range(1, self.config.votes):
            drawn = [
                torch.rand((), generator=generator_for(vote, number))
                for number in batch.number.tolist()
            ]
            factor = (low + (high - low) * torch.stack(drawn)).to(batch.points)
            copy = replace(batch, points=batch.points * factor[:, None, None])
            total = total + self.predict(copy).float().softmax(1)
        return total / self.config.votes
