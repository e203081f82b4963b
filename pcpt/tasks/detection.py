"""Object detection in one stage: classes and boxes straight at the voxels of decoder levels."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_minimum
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.detectors.assignment import box_levels, nearest_locations
from pcpt.detectors.detections import Detections, Targets, best_detections
from pcpt.detectors.one_stage import OneStageHead, Predictions
from pcpt.detectors.task import BoxConfig, DetectionTask
from pcpt.geometry.boxes import box_iou
from pcpt.losses.boxes import distance_iou_loss, focal_loss
from pcpt.methods.base import Output
from pcpt.ops import segment_reduce
from pcpt.registry import register
from pcpt.sparse import SparseTensor


@register("tasks", "detection")
class Detection(DetectionTask):
    """A one-stage, fully sparse detector in the manner of TR3D (arXiv 2302.02858): see
    ``OneStageHead``. Focal loss for classes, DIoU loss for boxes.

    Args:
        config: see ``Config``.
        student: network with ``voxels``, ``levels`` and ``level_channels`` (see ``SparseUNet``).
        data: see ``SceneTask``.
    """

    @dataclass
    class Config(BoxConfig):
        """Keys of the ``task`` section; see ``BoxConfig`` for the rest.

        Attributes:
            strides: of the decoder levels that boxes are found at, in voxels, fine to coarse. 4
                and 8 are 20 and 40 cm at a voxel size of 5 cm (TR3D: 16 and 32 cm).
            limits: longest side, metres, above which a box goes to the next coarser level; one
                fewer than strides. (TR3D sorts classes by hand.)
            locations: voxels that answer for a box, the nearest to its centre (TR3D: 6).
            margin: cells of its level by which such a voxel may lie outside the box.
            pooled: give every location also the mean of the student's last features within it: they
                are what pretraining trains.
            quality: let a class's score aim at the box's IoU rather than at 1.
            channels: width of the head.
            box_weight: of the DIoU loss beside the focal loss's 1.
            max_detections: (box, class) pairs of a scene that enter the suppression.
        """

        name: str = "detection"
        overlap: float = 0.5
        strides: list[int] = field(default_factory=lambda: [4, 8])
        limits: list[float] = field(default_factory=lambda: [1.0])
        locations: int = 6
        margin: float = 1.0
        pooled: bool = True
        quality: bool = False
        channels: int = 128
        box_weight: float = 1.0
        max_detections: int = 2000

        def __post_init__(self) -> None:
            super().__post_init__()
            for key in ("locations", "channels", "max_detections"):
                check_minimum(f"task.{key}", getattr(self, key), 1)
            for key in ("margin", "box_weight"):
                check_minimum(f"task.{key}", getattr(self, key), 0)
            if len(self.limits) != len(self.strides) - 1:
                raise ValueError(
                    f"task.limits holds {len(self.limits)} numbers for {len(self.strides)} "
                    "strides, expected one fewer: where boxes go to the next level"
                )
            if sorted(set(self.strides)) != list(self.strides):
                raise ValueError(f"task.strides is {list(self.strides)}, expected ascending")
            if sorted(self.limits) != list(self.limits):
                raise ValueError(f"task.limits is {list(self.limits)}, expected ascending")

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        widths = list(student.level_channels)
        known = [2**power for power in reversed(range(len(widths)))]
        if not set(config.strides) <= set(known):
            raise ValueError(
                f"task.strides is {list(config.strides)}, the student has levels {known[::-1]}"
            )
        # of the finest level the last features are what is there already
        extra = student.feature_channels if config.pooled else 0
        self.head = OneStageHead(
            [widths[known.index(s)] + (extra if s > 1 else 0) for s in config.strides],
            config.channels,
            len(self.label_set),
            oriented=config.oriented,
        )

    def outputs(self, batch: SceneBatch) -> Predictions:
        """Classes and boxes at every location of a batch."""
        voxels, _ = self.voxels(batch)
        levels = self.student.levels(voxels)
        by_stride = {level.stride: level for level in levels}
        chosen = [by_stride[stride] for stride in self.config.strides]
        if self.config.pooled:
            chosen = [_with_pooled(level, levels[-1]) for level in chosen]
        return self.head(chosen, self.student.voxel_size)

    def assign(self, outputs: Predictions, targets: Targets) -> Tensor:
        """(N,) int64 target that each location answers for, -1 for background."""
        level = box_levels(targets.boxes, list(self.config.limits))
        owner = torch.full_like(outputs.level, -1)
        for number, stride in enumerate(self.config.strides):
            place = (outputs.level == number).nonzero()[:, 0]
            mine = (level == number).nonzero()[:, 0]
            if not len(mine):
                continue
            here = nearest_locations(
                outputs.locations[place],
                outputs.batch_index[place],
                targets.select(mine),
                self.config.locations,
                self.config.margin * stride * self.student.voxel_size,
            )
            owner[place] = torch.where(here >= 0, mine[here], -1)
        return owner

    def forward(self, batch: SceneBatch) -> Output:
        """Loss of a batch; scenes without boxes are background throughout."""
        outputs, targets = self.outputs(batch), self.targets(batch)
        owner = self.assign(outputs, targets)
        positive = (owner >= 0).nonzero()[:, 0]
        wanted = targets.boxes[owner[positive]]
        labels = torch.full_like(owner, -1)
        labels[positive] = targets.labels[owner[positive]]
        boxes = distance_iou_loss(outputs.boxes[positive], wanted, oriented=self.config.oriented)
        quality = None
        if self.config.quality:
            quality = torch.ones_like(outputs.boxes[:, 0])
            quality[positive] = box_iou(
                outputs.boxes[positive].detach(),
                wanted,
                oriented=self.config.oriented,
                aligned=True,
            )
        classes = focal_loss(outputs.logits.float(), labels, quality=quality)
        count = max(1, len(positive))
        class_loss, box_loss = classes.sum() / count, boxes.sum() / count
        return Output(
            class_loss + self.config.box_weight * box_loss,
            {
                "class_loss": class_loss.detach(),
                "box_loss": box_loss.detach(),
                "num_boxes": float(len(targets.boxes)),
                "num_locations": float(len(positive)),
                "num_dropped_boxes": float(targets.num_dropped),
            },
        )

    def detect(self, batch: SceneBatch) -> list[Detections]:
        """What is found in each scene."""
        outputs = self.outputs(batch)
        scores = outputs.logits.float().sigmoid()
        found = []
        for scene in range(batch.num_samples):
            mine = outputs.batch_index == scene
            found.append(
                best_detections(
                    outputs.boxes[mine],
                    scores[mine],
                    oriented=self.config.oriented,
                    min_score=self.config.min_score,
                    overlap=self.config.overlap,
                    most=self.config.max_detections,
                )
            )
        return found


def _with_pooled(level: SparseTensor, finest: SparseTensor) -> SparseTensor:
    """A level's features, and the mean of the finest level's within each of its voxels."""
    if level.stride == finest.stride:
        return level
    parent = finest.maps.parent(finest.stride, level.stride).long()
    pooled = segment_reduce(finest.features, parent, len(level.coordinates), "mean")
    return level.replace(torch.cat((level.features, pooled), dim=1))
