"""Part segmentation of single shapes: a part for every point, given the shape's class."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum, check_share
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import ShapeDataConfig
from pcpt.methods.base import Output
from pcpt.metrics.parts import ABSENT, part_figures, part_iou
from pcpt.registry import register
from pcpt.students.adapters import check_tune, hold_untrained, tune_student
from pcpt.tasks.objects import (
    POOLINGS,
    ObjectTask,
    check_has_parts,
    count_labels,
    embedding_channels,
    joined,
    shape_embedding,
)
from pcpt.tasks.shape_head import check_head, shape_head

_SLOPE = 0.2  # of the leaky ReLU behind the category vector


@register("tasks", "part_segmentation")
class PartSegmentation(ObjectTask):
    """A head on each point's features beside the shape's embedding and a vector of its class.

    The class is given, as in ShapeNetPart's protocol, and a point is never said to be a part that
    its class does not have.
    """

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            pooling: what of the shape as a whole each point is given, see ``classification``.
            hidden: widths of the head's layers.
            dropout: in the head.
            category_channels: of the vector that stands for the class; 0 leaves it out.
            label_smoothing: of the cross-entropy.
            tune: what of the network is trained: all; head, nothing of it; or bias_and_norm.
            absent: IoU of a part that a shape neither has nor was said to have: one, the
                literature's rule, or skip. The figures of the two do not compare.
        """

        name: str = "part_segmentation"
        pooling: str = "pooled"
        hidden: list[int] = field(default_factory=lambda: [256, 128])
        dropout: float = 0.5
        category_channels: int = 64
        label_smoothing: float = 0.0
        tune: str = "all"
        absent: str = "one"

        def __post_init__(self) -> None:
            check_choice("task.pooling", self.pooling, POOLINGS)
            check_choice("task.absent", self.absent, ABSENT)
            check_head(self.hidden, self.dropout)
            check_minimum("task.category_channels", self.category_channels, 0)
            check_share("task.label_smoothing", self.label_smoothing)
            check_tune(self.tune, 1)

    selected_by = "instance_miou"
    allowed: Tensor

    def __init__(self, config: Config, student: Any, data: ShapeDataConfig) -> None:
        """
        Raises:
            ValueError: a source without parts, or training shapes without any.
        """
        super().__init__(config, student, data)
        if not self.part_names:
            raise ValueError(
                f"data source {data.source.name!r} has no parts; part_segmentation needs one that "
                "does, such as shapenet_part, procedural_shapes, or shape_npz with num_parts"
            )
        count_labels(data, self.classes)
        check_has_parts(data)
        tune_student(student, config.tune)
        self.category = (
            nn.Linear(len(self.classes), config.category_channels)
            if config.category_channels
            else None
        )
        channels = student.point_channels + embedding_channels(student, config.pooling)
        channels += config.category_channels
        self.head = shape_head(channels, config.hidden, len(self.part_names), config.dropout)
        allowed = torch.zeros(len(self.classes), len(self.part_names), dtype=torch.bool)
        for label, parts in enumerate(self.parts_of_class):
            allowed[label, list(parts)] = True
        self.register_buffer("allowed", allowed, persistent=False)

    @property
    def needs_labels(self) -> str:
        """See ``ShapeMethod.needs_labels``."""
        return "parts"

    def train(self, mode: bool = True) -> "PartSegmentation":
        """As ``nn.Module.train``, but what is not trained stays in eval mode."""
        super().train(mode)
        hold_untrained(self.student, self.config.tune)
        return self

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        rule = {
            "one": "counts as IoU 1, as in the literature",
            "skip": "is left out of the mean",
        }[self.config.absent]
        return (
            "IoU on points of single shapes, class given, one pass, no voting; a part that a shape "
            f"neither has nor was said to have {rule}"
        )

    def checked(self, batch: ShapeBatch) -> ShapeBatch:
        """The batch itself, once its labels and parts are known to fit each other.

        Raises:
            ValueError: a shape without a class or with one that there is not, or a part that its
                class does not have.
        """
        super().checked(batch)
        for row in (batch.label < 0).nonzero()[:, 0].tolist():
            raise ValueError(
                f"shape {batch.names[row]} has no class; part_segmentation is told the class of "
                "every shape, so give it one or leave it out"
            )
        high = int(batch.parts.max()) if batch.parts.numel() else -1
        fits = batch.parts < len(self.part_names)
        if high < len(self.part_names):
            fits = self.allowed[batch.label].gather(1, batch.parts.clamp(min=0))
        wrong = ((batch.parts < -1) | ((batch.parts >= 0) & ~fits)).nonzero()
        if len(wrong):
            row, point = wrong[0].tolist()
            label = int(batch.label[row])
            raise ValueError(
                f"shape {batch.names[row]} has part {int(batch.parts[row, point])} at point "
                f"{int(batch.point_number[row, point])}, but class {self.classes[label]} has the "
                f"parts {', '.join(map(str, self.parts_of_class[label]))}"
            )
        return batch

    def scores(self, batch: ShapeBatch) -> Tensor:
        """(B, N, parts) scores of all parts, those of other classes included."""
        features = self.student(batch.points, batch.normals)
        whole = [shape_embedding(features, self.config.pooling)]
        if self.category is not None:
            one_hot = F.one_hot(batch.label, len(self.classes)).to(whole[0].dtype)
            whole.append(F.leaky_relu(self.category(one_hot), _SLOPE))
        shared = torch.cat(whole, dim=1)[:, None].expand(-1, batch.points.shape[1], -1)
        rows = torch.cat([features.point, shared], dim=2)
        return self.head(rows.flatten(0, 1)).view(*rows.shape[:2], -1)

    def predict(self, batch: ShapeBatch) -> Tensor:
        """(B, N) int64: the best part among those of each shape's class."""
        impossible = ~self.allowed[self.checked(batch).label][:, None]
        return self.scores(batch).masked_fill(impossible, -torch.inf).argmax(2)

    def forward(self, batch: ShapeBatch) -> Output:
        """Cross-entropy over all parts on the batch's labelled points; zero where it has none."""
        logits = self.scores(self.checked(batch)).float()
        labelled = batch.parts >= 0
        logits, target = logits[labelled], batch.parts[labelled]
        loss = logits.sum() * 0
        if len(target):
            loss = F.cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
        accuracy = (logits.argmax(1) == target).float().sum() / max(1, len(target))
        return Output(loss, {"accuracy": accuracy, "num_points": float(len(target))})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ShapeBatch]) -> dict[str, Any]:
        """``instance_miou``, ``class_miou``, ``iou/CLASS`` and ``point_accuracy``; shapes without a
        labelled point are left out, ``num_shapes`` says how many count."""
        was_training = self.training
        self.eval()
        means, labels, right, points = [], [], 0, 0
        for batch in joined(batches):
            predicted = self.predict(batch)
            for row, label in enumerate(batch.label.tolist()):
                target = batch.parts[row]
                if not bool((target >= 0).any()):
                    continue
                parts = self.parts_of_class[label]
                iou = part_iou(target, predicted[row], parts, self.config.absent)
                means.append(float(iou.nanmean()))
                labels.append(label)
            right += int((predicted == batch.parts).sum())
            points += int((batch.parts >= 0).sum())
        self.train(was_training)
        if not means:
            raise ValueError("no shape of this split has a point with a part")
        return {
            "num_shapes": len(means),
            **part_figures(means, labels, self.classes),
            "point_accuracy": right / points,
        }
