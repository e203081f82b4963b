"""Instance segmentation: the objects of a scene, each as a set of points (PointGroup, Jiang et al.,
CVPR 2020, arXiv 2004.01658, without its second network that scores candidates)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum, did_you_mean
from pcpt.data.predicted_instances import PredictedInstances
from pcpt.data.scannet_export import write_instances
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.losses.offsets import centre_offsets, offset_direction, offset_distance
from pcpt.methods.base import Output
from pcpt.metrics.instances import MIN_POINTS, InstanceAP
from pcpt.metrics.segmentation import confusion_matrix, segmentation_figures
from pcpt.ops import segment_reduce
from pcpt.registry import register
from pcpt.tasks.base import SceneTask
from pcpt.tasks.grouping import COORDINATES, SCORES, group_instances
from pcpt.tasks.segmentation import voxel_labels


class Embedded(NamedTuple):
    """What the heads say of a batch's U voxels.

    Attributes:
        logits: (U, C) float32, of the classes.
        offsets: (U, 3) float32, metres, from the voxel to the centre of its object.
        points: (U, 3) float32, metres, mean of the points in each voxel.
        point_to_voxel: (N,) int64, voxel of each point.
    """

    logits: Tensor
    offsets: Tensor
    points: Tensor
    point_to_voxel: Tensor


@register("tasks", "instances")
class Instances(SceneTask):
    """Two heads on the student's last features: classes, and offsets to centres of objects; then
    clusters of voxels of one class, see ``group_instances``."""

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            stuff: names of classes that have no objects, in training, prediction and evaluation.
            distance: weight of the offsets' L1 distance beside the cross-entropy's 1.
            direction: weight of the offsets' direction.
            radius: within which voxels are linked, in voxels (PointGroup: 3 cm at 2 cm, 1.5).
            min_points: of a predicted object (PointGroup: 50).
            coordinates: where clusters are looked for: shifted, original or both.
            max_iou: of two predicted objects; the surer one stays (PointGroup: 0.3).
            score: of an object: agreement or probability, see ``group_instances``.
            evaluated_points: objects and predictions of fewer points are ignored by the evaluation
                (ScanNet: 100 vertices).
        """

        name: str = "instances"
        stuff: list[str] = field(default_factory=lambda: ["wall", "floor"])
        distance: float = 1.0
        direction: float = 1.0
        radius: float = 1.5
        min_points: int = 50
        coordinates: list[str] = field(default_factory=lambda: list(COORDINATES))
        max_iou: float = 0.3
        score: str = "agreement"
        evaluated_points: int = MIN_POINTS

        def __post_init__(self) -> None:
            for key in ("distance", "direction", "max_iou"):
                check_minimum(f"task.{key}", getattr(self, key), 0)
            for key in ("min_points", "evaluated_points"):
                check_minimum(f"task.{key}", getattr(self, key), 1)
            if not 0 < self.radius < float("inf"):
                raise ValueError(f"task.radius is {self.radius}, expected voxels above 0: 1.5")
            check_choice("task.score", self.score, SCORES)
            if not self.coordinates:
                raise ValueError("task.coordinates is empty, expected shifted, original or both")
            for name in self.coordinates:
                check_choice("task.coordinates", name, COORDINATES)

    things: Tensor

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        """
        Raises:
            ValueError: ``stuff`` names a class that the label set does not have.
        """
        super().__init__(config, student, data)
        names = self.label_set.names
        for name in config.stuff:
            if name not in names:
                raise ValueError(
                    f"task.stuff names {name!r}, no class of {self.label_set.name}"
                    f"{did_you_mean(name, names)}; task.stuff=[] where every class has objects"
                )
        things = torch.tensor([name not in config.stuff for name in names])
        self.register_buffer("things", things, persistent=False)
        channels = student.feature_channels
        self.head = nn.Linear(channels, len(names))
        self.offset_head = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 3)
        )

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts."""
        stuff = ", ".join(self.config.stuff) or "none"
        return (
            "instances on points, ScanNet's AP (IoU 0.50 to 0.90), objects of at least "
            f"{self.config.evaluated_points} points, classes left out: {stuff}"
        )

    def embed(self, batch: SceneBatch) -> Embedded:
        """What the heads say of every voxel of a batch."""
        voxels, point_to_voxel = self.voxels(batch)
        features = self.student(voxels).features
        points = segment_reduce(batch.points, point_to_voxel, len(features), "mean")
        logits, offsets = self.head(features).float(), self.offset_head(features).float()
        return Embedded(logits, offsets, points, point_to_voxel)

    def forward(self, batch: SceneBatch) -> Output:
        """Cross-entropy of voxels that hold labelled points, and the offset losses of those that
        hold points of an object. Points without a label are of no object, so that runs on a few
        labelled points see no more than these. Zero where a batch has neither."""
        found = self.embed(batch)
        num_voxels, num_classes = found.logits.shape
        target = voxel_labels(found.point_to_voxel, batch.semantic, num_voxels, num_classes)
        labelled = target >= 0
        logits, target = found.logits[labelled], target[labelled]
        loss = F.cross_entropy(logits, target) if len(target) else logits.sum() * 0
        objects = self._objects(batch)
        num_objects = int(objects.max()) + 1 if len(objects) else 0
        objects = voxel_labels(found.point_to_voxel, objects, num_voxels, max(1, num_objects))
        inside = objects >= 0
        targets = centre_offsets(found.points, objects, num_objects)[inside]
        offsets = found.offsets[inside]
        distance, direction = offset_distance(offsets, targets), offset_direction(offsets, targets)
        loss = loss + self.config.distance * distance + self.config.direction * direction
        accuracy = (logits.argmax(1) == target).float().sum() / max(1, len(target))
        logs: dict[str, float | Tensor] = {
            "accuracy": accuracy,
            "offset_distance": distance.detach(),
            "offset_direction": direction.detach(),
            "num_objects": float(num_objects),
        }
        return Output(loss, logs)

    def _objects(self, batch: SceneBatch) -> Tensor:
        """(N,) int64: the object of each point, counted over the batch, or -1."""
        thing = batch.semantic >= 0
        thing &= self.things[batch.semantic] & (batch.instances >= 0)
        objects = torch.full_like(batch.instances, -1)
        width = int(batch.instances.max()) + 1 if len(objects) else 0
        key = batch.batch_index[thing] * width + batch.instances[thing]
        objects[thing] = key.unique(return_inverse=True)[1]
        return objects

    @torch.no_grad()
    def predict(self, batch: SceneBatch) -> list[PredictedInstances]:
        """The objects of each scene, as masks over the scene's points, on the CPU."""
        return self._group(batch, self.embed(batch))

    def export(self, batch: SceneBatch, folder: Path) -> None:
        """Writes the objects of a scene as ``folder/NAME.txt`` and masks, see
        ``write_instances``."""
        write_instances(folder, batch.names[0], self.predict(batch)[0], self.label_set)

    def _group(self, batch: SceneBatch, found: Embedded) -> list[PredictedInstances]:
        config = self.config
        num_points = torch.bincount(found.point_to_voxel, minlength=len(found.points))
        probabilities = found.logits.softmax(1)
        scene_of_voxel = batch.batch_index.new_zeros(len(found.points))
        scene_of_voxel[found.point_to_voxel] = batch.batch_index
        predicted = []
        for scene in range(batch.num_samples):
            rows = (scene_of_voxel == scene).nonzero()[:, 0]
            objects = group_instances(
                found.points[rows],
                found.offsets[rows],
                probabilities[rows],
                num_points[rows],
                self.things,
                radius=config.radius * self.student.voxel_size,
                min_points=config.min_points,
                coordinates=config.coordinates,
                max_iou=config.max_iou,
                score=config.score,
            )
            place = torch.searchsorted(rows, found.point_to_voxel[batch.batch_index == scene]).cpu()
            predicted.append(replace(objects, masks=objects.masks[:, place]))
        return predicted

    @torch.no_grad()
    def evaluate(self, batches: Iterable[SceneBatch]) -> dict[str, Any]:
        """``mAP``, ``AP50``, ``AP25`` and these by class, see ``InstanceAP``; ``points/miou`` of
        the classes alone; ``num_scenes`` and ``num_objects``. NaN where no scene has an object."""
        was_training = self.training
        self.eval()
        names = self.label_set.names
        evaluated = self.things.nonzero()[:, 0].tolist()
        metric = InstanceAP(len(names), evaluated, min_points=self.config.evaluated_points)
        confusion = torch.zeros(len(names), len(names) + 1, dtype=torch.int64)
        scenes = 0
        for batch in batches:
            found = self.embed(batch)
            label = found.logits.argmax(1)[found.point_to_voxel]
            confusion += confusion_matrix(batch.semantic, label, len(names)).cpu()
            for scene, objects in enumerate(self._group(batch, found)):
                mine = batch.batch_index == scene
                metric.add(objects, batch.semantic[mine], batch.instances[mine])
            scenes += batch.num_samples
        self.train(was_training)
        miou = segmentation_figures(confusion, names)["miou"]
        return metric.figures(names) | {"points/miou": miou, "num_scenes": scenes}
