"""Test-time augmentation of semantic segmentation: the mean of what a network says of a scene seen
in several ways. Registers no task."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_minimum
from pcpt.data.scannet_export import write_semantic
from pcpt.data.scene_batch import SceneBatch
from pcpt.metrics.segmentation import confusion_matrix, segmentation_figures
from pcpt.tasks.base import SceneTask
from pcpt.tasks.segmentation import Segmentation


@dataclass(frozen=True)
class Views:
    """Fixed changes of a scene: every rotation, mirrored and not, at every shift.

    Attributes:
        rotations: about the vertical, evenly over the circle.
        mirror: the scene and its mirror image.
        shifts: of the voxel grid, evenly along the diagonal of a voxel.
    """

    rotations: int = 8
    mirror: bool = True
    shifts: int = 1

    def __post_init__(self) -> None:
        check_minimum("views.rotations", self.rotations, 1)
        check_minimum("views.shifts", self.shifts, 1)

    def __len__(self) -> int:
        return self.rotations * (1 + self.mirror) * self.shifts

    @property
    def protocol(self) -> str:
        """In words, such as "points, TTA 8 rotations x mirror"."""
        parts = [f"{self.rotations} rotations"]
        parts += ["mirror"] * self.mirror
        parts += [f"{self.shifts} grid shifts"] * (self.shifts > 1)
        return f"IoU on points of whole scenes, TTA {' x '.join(parts)}"

    def of(self, points: Tensor, voxel_size: float) -> Iterator[Tensor]:
        """Changed copies of points (N, 3), metres, z up; the first is the points themselves."""
        for shift in range(self.shifts):
            for flip in (1.0, -1.0)[: 1 + self.mirror]:
                for turn in range(self.rotations):
                    angle = 2 * math.pi * turn / self.rotations
                    cos, sin = math.cos(angle), math.sin(angle)
                    matrix = points.new_tensor(
                        [[flip * cos, -sin, 0.0], [flip * sin, cos, 0.0], [0.0, 0.0, 1.0]]
                    )
                    yield points @ matrix.T + voxel_size * shift / self.shifts


def check_averages(task: SceneTask) -> None:
    """Raises ``ValueError`` unless the task gives each point the scores of classes."""
    if not isinstance(task, Segmentation):
        raise ValueError(
            f"test-time augmentation is for semantic segmentation, not {type(task).__name__}"
        )


@torch.no_grad()
def averaged_probabilities(task: Segmentation, batch: SceneBatch, views: Views) -> Tensor:
    """(N, C) float32 class probabilities of each point, their mean over the views."""
    total = batch.points.new_zeros(len(batch.points), len(task.label_set))
    for points in views.of(batch.points, task.student.voxel_size):
        logits, point_to_voxel = task.predict(replace(batch, points=points))
        total += logits.float().softmax(1)[point_to_voxel]
    return total / len(views)


def evaluate_averaged(
    task: Segmentation, batches: Iterable[SceneBatch], views: Views
) -> dict[str, Any]:
    """Figures on points as ``Segmentation.evaluate`` gives them, of the mean over the views."""
    was_training = task.training
    task.eval()
    classes = len(task.label_set)
    confusion = torch.zeros(classes, classes + 1, dtype=torch.int64)
    for batch in batches:
        predicted = averaged_probabilities(task, batch, views).argmax(1)
        confusion += confusion_matrix(batch.semantic, predicted, classes).cpu()
    task.train(was_training)
    figures = segmentation_figures(confusion, task.label_set.names)
    found: dict[str, Any] = {f"points/{name}": value for name, value in figures.items()}
    return found | {"points/confusion": confusion.tolist()}


def export_averaged(task: Segmentation, batch: SceneBatch, views: Views, folder: Path) -> None:
    """As ``Segmentation.export``, of the mean over the views."""
    predicted = averaged_probabilities(task, batch, views).argmax(1)
    write_semantic(folder, batch.names[0], predicted, task.label_set)
