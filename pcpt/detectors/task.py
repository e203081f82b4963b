"""What detection tasks share: targets in, average precision out."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.detectors.detections import Detections, Targets, make_targets
from pcpt.metrics.detection import SceneBoxes, evaluate_boxes
from pcpt.sparse import SparseTensor
from pcpt.tasks.base import SceneTask

_log = logging.getLogger(__name__)


@dataclass
class BoxConfig:
    """Keys of the ``task`` section that every detector has.

    Attributes:
        oriented: boxes are turned about the vertical, as in SUN RGB-D; False takes them along the
            axes, as in ScanNet: a box that augmentation turns becomes the one around it.
        colors: False gives the student constant ones in place of colours, as the paper does on
            SUN RGB-D.
        overlap: largest IoU of two detections of a class.
        min_score: lowest score of a detection (VoteNet: of the objectness).
    """

    oriented: bool = False
    colors: bool = True
    overlap: float = 0.25
    min_score: float = 0.01

    def __post_init__(self) -> None:
        for key in ("overlap", "min_score"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"task.{key} is {getattr(self, key)}, expected in [0, 1)")


class DetectionTask(SceneTask):
    """Base of detectors: subclasses implement ``forward(batch)`` and ``detect(batch)``.

    Args:
        config: the task's own, a ``BoxConfig``.
        student: see ``SceneTask``.
        data: see ``SceneTask``.

    Raises:
        ValueError: augmentation that boxes cannot follow.
    """

    def __init__(self, config: Any, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        if not data.augment.keeps_boxes():
            raise ValueError(
                "boxes cannot follow data.augment.tilt, elastic and scale_axes; set them to 0, 0 "
                "and false for detection"
            )
        self._told_of_dropped = False

    @abstractmethod
    def detect(self, batch: SceneBatch) -> list[Detections]:
        """What is found in each scene of a batch; in eval mode, without gradients."""

    def voxels(self, batch: SceneBatch) -> tuple[SparseTensor, Tensor]:
        """The student's input, and the voxel row of each point."""
        if not self.config.colors:
            batch = replace(batch, colors=torch.ones_like(batch.colors))
        return super().voxels(batch)

    def targets(self, batch: SceneBatch) -> Targets:
        """The boxes of a batch; those of no size are left out, counted, and told of once."""
        targets = make_targets(batch.boxes, len(self.label_set), oriented=self.config.oriented)
        if targets.num_dropped and not self._told_of_dropped:
            self._told_of_dropped = True
            _log.warning(
                "%d boxes of %s have no size or no class and are left out, as will others; "
                "num_dropped_boxes counts them",
                targets.num_dropped,
                ", ".join(batch.names),
            )
        return targets

    @torch.no_grad()
    def predict(self, batch: SceneBatch) -> list[Detections]:
        """Boxes, scores and labels found in each scene, best first, in the frame of the batch's
        points; the task's mode is left as it was."""
        was_training = self.training
        self.eval()
        found = self.detect(batch)
        self.train(was_training)
        return found

    def evaluate(self, batches: Iterable[SceneBatch]) -> dict[str, Any]:
        """Average precision on whole scenes by VoteNet's protocol, see ``evaluate_boxes``:
        ``mAP@.25``, ``mAP@.5``, ``AP@.25/CLASS`` and so on; nan, and not in the mean, for a class
        that no scene holds. Counts are whole numbers."""
        scenes: list[SceneBoxes] = []
        dropped = 0
        for batch in batches:
            targets = self.targets(batch)
            dropped += targets.num_dropped
            for number, found in enumerate(self.predict(batch)):
                mine = targets.batch_index == number
                scenes.append(SceneBoxes(*found, targets.boxes[mine], targets.labels[mine]))
        figures: dict[str, Any] = evaluate_boxes(
            scenes, self.label_set.names, oriented=self.config.oriented
        )
        counts = {name: int(value) for name, value in figures.items() if name.startswith("num_")}
        return figures | counts | {"num_dropped_boxes": dropped}
