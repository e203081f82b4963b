"""Object detection by VoteNet's head on the student, as in the paper's experiments."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.data.scene_batch import SceneBatch
from pcpt.data.scene_dataset import SceneDataConfig
from pcpt.detectors.detections import Detections
from pcpt.detectors.task import BoxConfig, DetectionTask
from pcpt.detectors.votenet import Proposals, VoteHead, Votes, decode_proposals
from pcpt.detectors.votenet_loss import seed_members, total_loss, votenet_losses
from pcpt.geometry.boxes import points_in_boxes, suppress_boxes
from pcpt.methods.base import Output
from pcpt.ops import segment_reduce
from pcpt.registry import register

SIZES = ("classes", "direct")
TYPICAL_SIZE = 1.0  # metres, of every class where no training box was seen
POINTS_AT_ONCE = 4096  # that are looked for in boxes, to bound the memory


class Run(NamedTuple):
    """One pass through the head.

    Attributes:
        votes, proposals: of the head.
        positions: (N, 3) of the voxels: the mean of their points, metres.
        instances: (N,) int64, an object that the voxel holds points of, -1 for none.
        batch_index: (N,) int64, the scene of each voxel.
    """

    votes: Votes
    proposals: Proposals
    positions: Tensor
    instances: Tensor
    batch_index: Tensor


@register("tasks", "votenet")
class VoteNet(DetectionTask):
    """VoteNet (Qi et al., ICCV 2019) with the student in place of PointNet++, after PPKT and
    PointContrast: 1,024 voxels by farthest point sampling are the seeds.

    What differs from the authors' code: seeds are voxels and lie at the mean of their points; a
    seed on several objects votes for the nearest, of all rather than of three; turned boxes are
    suppressed by their own overlap, not by that of the boxes around them; the mean sizes of classes
    are those of the first training batches, augmented as they are.

    Args:
        config: see ``Config``.
        student: network with ``voxels``, ``forward`` and ``feature_channels``.
        data: see ``SceneTask``.
    """

    @dataclass
    class Config(BoxConfig):
        """Keys of the ``task`` section; see ``BoxConfig`` for the rest.

        Attributes:
            seeds: voxels that vote, per scene.
            proposals: per scene.
            radius: metres around a proposal from which votes are pooled.
            samples: votes pooled at most.
            heading_bins: of a whole turn, for turned boxes.
            sizes: classes (the mean size of a class and a residual, as the authors) or direct.
            near, far: metres from an object's centre below and above which a proposal is one and
                is none; between it does not count.
            min_points: voxels that a detection holds at least (authors: 5 points).
            calibration_batches: training batches that mean sizes are measured on.
            bn_momentum: of all batch norms, student's included, at the beginning; 0 leaves them as
                they are (authors: 0.5).
            bn_halving: training samples after which it is halved, again and again: the authors' 20
                epochs, times the scenes of the training split; 0 never.
            bn_floor: where halving ends.
        """

        name: str = "votenet"
        min_score: float = 0.05
        seeds: int = 1024
        proposals: int = 256
        radius: float = 0.3
        samples: int = 16
        heading_bins: int = 12
        sizes: str = "classes"
        near: float = 0.3
        far: float = 0.6
        min_points: int = 5
        calibration_batches: int = 8
        bn_momentum: float = 0.0
        bn_halving: int = 0
        bn_floor: float = 0.001

        def __post_init__(self) -> None:
            super().__post_init__()
            check_choice("task.sizes", self.sizes, SIZES)
            for key in ("seeds", "proposals", "samples", "heading_bins", "calibration_batches"):
                check_minimum(f"task.{key}", getattr(self, key), 1)
            for key in ("min_points", "bn_momentum", "bn_halving", "bn_floor", "near"):
                check_minimum(f"task.{key}", getattr(self, key), 0)
            if not self.radius > 0:
                raise ValueError(f"task.radius is {self.radius}, expected metres above 0")
            check_minimum("task.far", self.far, self.near)

    mean_sizes: Tensor

    def __init__(self, config: Config, student: Any, data: SceneDataConfig) -> None:
        super().__init__(config, student, data)
        self.head = VoteHead(
            student.feature_channels,
            len(self.label_set),
            num_seeds=config.seeds,
            num_proposals=config.proposals,
            heading_bins=config.heading_bins if config.oriented else 0,
            size_classes=config.sizes == "classes",
            radius=config.radius,
            samples=config.samples,
        )
        self.register_buffer("mean_sizes", torch.full((len(self.label_set), 3), TYPICAL_SIZE))

    def prepare(self, batches: Iterable[SceneBatch]) -> None:  # type: ignore[override]
        """Measures the mean size of each class; one that does not come has that of all boxes."""
        seen = [self.targets(batch) for batch in islice(batches, self.config.calibration_batches)]
        sizes = torch.cat([targets.boxes[:, 3:6] for targets in seen])
        labels = torch.cat([targets.labels for targets in seen])
        if not len(labels):
            return
        means = segment_reduce(sizes, labels, len(self.label_set), "mean")
        known = torch.bincount(labels, minlength=len(self.label_set)) > 0
        self.mean_sizes.copy_(torch.where(known[:, None], means, sizes.mean(0)))

    def run(self, batch: SceneBatch) -> Run:
        """What the head makes of a batch."""
        voxels, point_to_voxel = self.voxels(batch)
        features = self.student(voxels).features.float()
        count = len(features)
        positions = segment_reduce(batch.points, point_to_voxel, count, "mean")
        instances = torch.full((count,), -1, device=positions.device)
        instances.scatter_reduce_(0, point_to_voxel, batch.instances, "amax")
        scene = voxels.coordinates[:, 0].long()
        votes, proposals = self.head(features, positions, scene, batch.num_samples)
        return Run(votes, proposals, positions, instances, scene)

    def forward(self, batch: SceneBatch) -> Output:
        """Loss of a batch; scenes without boxes teach that there is nothing."""
        self._set_momentum(batch)
        run, targets = self.run(batch), self.targets(batch)
        seeds = run.votes.rows
        members = seed_members(
            run.positions[seeds], run.instances[seeds], run.votes.batch_index, targets
        )
        losses = votenet_losses(
            run.votes,
            run.proposals,
            members,
            targets,
            self.mean_sizes,
            near=self.config.near,
            far=self.config.far,
        )
        logs: dict[str, float | Tensor] = {
            f"{name}_loss": loss.detach() for name, loss in losses.items()
        }
        logs["num_boxes"] = float(len(targets.boxes))
        logs["num_dropped_boxes"] = float(targets.num_dropped)
        return Output(total_loss(losses), logs)

    def _set_momentum(self, batch: SceneBatch) -> None:
        """The schedule by samples seen, so that a resumed run needs no memory of it."""
        config = self.config
        if not config.bn_momentum or not self.training:
            return
        momentum = config.bn_momentum
        if config.bn_halving and len(batch.number):
            momentum *= 0.5 ** (int(batch.number.max()) // config.bn_halving)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = max(momentum, config.bn_floor)

    def detect(self, batch: SceneBatch) -> list[Detections]:
        """What is found in each scene: of proposals of one class that overlap the surest stays, and
        stands for every class by that class's probability, as in the authors' evaluation."""
        run = self.run(batch)
        proposals = run.proposals
        boxes = decode_proposals(proposals, self.mean_sizes)
        sure = proposals.objectness.softmax(1)[:, 1]
        classes = proposals.classes.softmax(1)
        num_classes = classes.shape[1]
        found = []
        for scene in range(batch.num_samples):
            mine = (proposals.batch_index == scene) & (sure > self.config.min_score)
            row = mine.nonzero()[:, 0]
            held = _count_inside(run.positions[run.batch_index == scene], boxes[row])
            row = row[held >= self.config.min_points]
            kept = suppress_boxes(
                boxes[row],
                sure[row],
                classes[row].argmax(1),
                self.config.overlap,
                oriented=self.config.oriented,
            )
            row = row[kept].repeat_interleave(num_classes)
            label = torch.arange(num_classes, device=row.device).repeat(len(kept))
            score = sure[row] * classes[row, label]
            order = score.argsort(descending=True, stable=True)
            found.append(Detections(boxes[row[order]], score[order], label[order]))
        return found


def _count_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(B,) int64, how many points lie in each box."""
    count = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    for part in points.split(POINTS_AT_ONCE):
        count += points_in_boxes(part, boxes).sum(0)
    return count
