"""Semantic segmentation: a class for every point of a scene."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_minimum, check_share
from pcpt.data.scannet_export import write_semantic
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.losses import lovasz_softmax
from pcpt.methods.base import Output
from pcpt.metrics.segmentation import confusion_matrix, segmentation_figures
from pcpt.registry import register
from pcpt.students.adapters import check_tune, hold_frozen_norms, tune_student
from pcpt.tasks.base import SceneTask


class Prediction(NamedTuple):
    """Class scores of a batch.

    Attributes:
        logits: (U, C) of each voxel.
        point_to_voxel: (N,) int64, voxel of each point.
    """

    logits: Tensor
    point_to_voxel: Tensor


class PointClassifier(SceneTask, ABC):
    """Base of tasks that give every point a class. Subclasses implement ``predict``."""

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        return "IoU on points and on voxels of whole scenes, one pass"

    @abstractmethod
    def predict(self, batch: SceneBatch) -> Prediction:
        """Class scores of every voxel, and where points find theirs."""

    @torch.no_grad()
    def evaluate(self, batches: Iterable[SceneBatch]) -> dict[str, Any]:
        """Figures on points (``points/miou``: each point of the scene counts, with the class of its
        voxel) and on voxels (``voxels/miou``: each voxel counts, with its points' majority label);
        and ``points/confusion``, counts of (true, predicted)."""
        was_training = self.training
        self.eval()
        classes = len(self.label_set)
        on_points = torch.zeros(classes, classes + 1, dtype=torch.int64)
        on_voxels = on_points.clone()
        scenes = 0
        for batch in batches:
            logits, point_to_voxel = self.predict(batch)
            predicted = logits.argmax(1)
            target = voxel_labels(point_to_voxel, batch.semantic, len(logits), classes)
            on_voxels += confusion_matrix(target, predicted, classes).cpu()
            on_points += confusion_matrix(batch.semantic, predicted[point_to_voxel], classes).cpu()
            scenes += batch.num_samples
        self.train(was_training)
        figures: dict[str, Any] = {"num_scenes": scenes}
        for name, confusion in (("points", on_points), ("voxels", on_voxels)):
            of_kind = segmentation_figures(confusion, self.label_set.names)
            figures |= {f"{name}/{key}": value for key, value in of_kind.items()}
        return figures | {"points/confusion": on_points.tolist()}

    @torch.no_grad()
    def export(self, batch: SceneBatch, folder: Path) -> None:
        """Writes the class of every point as ``folder/NAME.txt``, see ``write_semantic``."""
        logits, point_to_voxel = self.predict(batch)
        write_semantic(folder, batch.names[0], logits.argmax(1)[point_to_voxel], self.label_set)


@register("tasks", "segmentation")
class Segmentation(PointClassifier):
    """A linear layer on the student's last features, trained together with it on voxels' labels.

    The paper's fine-tuning (arXiv 2104.04687) is cross-entropy alone; ``lovasz`` adds the loss that
    later work combines with it.
    """

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            lovasz: weight of the Lovasz-Softmax loss beside the cross-entropy's 1.
            label_smoothing: of the cross-entropy.
            dropout: on the features before the head.
            tune: what of the student is trained: all; head, nothing; last:N, the last N decoder
                stages; bias_and_norm; or lora, low-rank additions to its convolutions. What is not
                trained is frozen, statistics of its norms included.
            lora_rank: of these additions.
        """

        name: str = "segmentation"
        lovasz: float = 0.0
        label_smoothing: float = 0.0
        dropout: float = 0.0
        tune: str = "all"
        lora_rank: int = 8

        def __post_init__(self) -> None:
            check_minimum("task.lovasz", self.lovasz, 0)
            for key in ("label_smoothing", "dropout"):
                check_share(f"task.{key}", getattr(self, key))
            check_tune(self.tune, self.lora_rank)

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        tune_student(student, config.tune, config.lora_rank)
        self.head = nn.Linear(student.feature_channels, len(self.label_set))

    def train(self, mode: bool = True) -> "Segmentation":
        """As ``nn.Module.train``, but norms that are not trained stay in eval mode."""
        super().train(mode)
        hold_frozen_norms(self.student)
        return self

    def predict(self, batch: SceneBatch) -> Prediction:
        """Class scores of every voxel, and where points find theirs."""
        voxels, point_to_voxel = self.voxels(batch)
        features = self.student(voxels).features
        features = F.dropout(features, self.config.dropout, self.training)
        return Prediction(self.head(features), point_to_voxel)

    def forward(self, batch: SceneBatch) -> Output:
        """Loss on voxels that hold labelled points; zero where a batch has none."""
        logits, point_to_voxel = self.predict(batch)
        target = voxel_labels(point_to_voxel, batch.semantic, len(logits), len(self.label_set))
        labelled = target >= 0
        logits, target = logits[labelled].float(), target[labelled]
        loss = logits.sum() * 0
        if len(target):
            loss = F.cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
            if self.config.lovasz > 0:
                loss = loss + self.config.lovasz * lovasz_softmax(logits.softmax(1), target)
        accuracy = (logits.argmax(1) == target).float().sum() / max(1, len(target))
        return Output(loss, {"accuracy": accuracy, "num_voxels": float(len(target))})


def voxel_labels(
    point_to_voxel: Tensor, semantic: Tensor, num_voxels: int, num_classes: int
) -> Tensor:
    """The label most of a voxel's labelled points have; the lower class where two tie.

    Args:
        point_to_voxel: (N,) int64.
        semantic: (N,) int64, class or -1.
        num_voxels: U.
        num_classes: C.

    Returns:
        (U,) int64; -1 for voxels without a labelled point.
    """
    labelled = semantic >= 0
    key = point_to_voxel[labelled] * num_classes + semantic[labelled]
    pairs, count = key.unique(return_counts=True)
    voxel, label = pairs // num_classes, pairs % num_classes
    order = (count * num_classes + (num_classes - 1 - label)).argsort()  # the winner comes last
    best = semantic.new_full((num_voxels,), -1)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    highest = semantic.new_full((num_voxels,), -1).scatter_reduce_(0, voxel, rank, "amax")
    winner = highest[voxel] == rank
    best[voxel[winner]] = label[winner]
    return best
