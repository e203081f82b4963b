"""PPKT: contrastive pixel-to-point knowledge transfer (Liu et al. 2021, arXiv 2104.04687).

A sparse U-Net learns to give each point the embedding that a frozen image network gives its pixel.
No code was released with the paper. What it leaves open is a key of ``Config``, with the reason for
the default beside it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.channels import channel_scale
from pcpt.data.batch import Batch
from pcpt.losses import gather_with_grad, num_ranks, pp_nce
from pcpt.methods.base import Method, Output
from pcpt.metrics.pixel_point import evaluate_pixel_point
from pcpt.ops import sample_pixels
from pcpt.registry import register
from pcpt.teachers.base import sample_cells


class Embedded(NamedTuple):
    """Embeddings of M pairs.

    Attributes:
        points: (M, C) unit vectors from the student.
        pixels: (M, C) unit vectors from the teacher.
        pairs: (M,) int64, which pairs of the batch they are.
        seconds: where the time went; on a GPU, the time to launch the work.
    """

    points: Tensor
    pixels: Tensor
    pairs: Tensor
    seconds: dict[str, float]


@register("methods", "ppkt")
class PPKT(Method):
    """Point-pixel contrast with an upsampling feature projection layer (UPL) on the image side.

    Args:
        config: see ``Config``.
        student: any network with ``voxels``, ``forward`` and ``project``; its ``project`` is the
            3D projection.
        teacher: frozen image network with ``channels``, ``stride`` and ``offset``.
    """

    leaves_unused = False

    @dataclass
    class Config:
        """Keys of the ``method`` section.

        Attributes:
            temperature: of the loss (paper: 0.04).
            pairs: pairs per step and device, pooled over the batch, so that negatives come from
                other scenes too (not in the paper; 4,096 as re-implementations do).
            pair_per_voxel: draw at most one pair from a voxel: two pairs of one voxel share their
                point feature and would be each other's false negatives (not in the paper).
            symmetric: contrast pixels against points as well (paper: points against pixels only).
            ignore_radius: candidates whose point lies nearer than this to the anchor's, in metres
                and in the same cloud, are no negatives; 0 keeps all, as the paper.
            align_corners: of the bilinear upsampling; False places feature cells where the teacher
                says they lie (the paper does not say).
            standardize: bring each teacher channel to zero mean and unit variance before the UPL's
                1x1 convolution, by statistics of the first training batches (not in the paper;
                networks differ in scale by orders of magnitude).
            gather_negatives: candidates from all ranks of a distributed run (not in the paper).
            calibration_batches: training batches for these statistics, and for those of the batch
                norms of a teacher with random weights.
        """

        name: str = "ppkt"
        temperature: float = 0.04
        pairs: int = 4096
        pair_per_voxel: bool = True
        symmetric: bool = False
        ignore_radius: float = 0.0
        align_corners: bool = False
        standardize: bool = True
        gather_negatives: bool = False
        calibration_batches: int = 4

        def __post_init__(self) -> None:
            if not self.temperature > 0:
                raise ValueError(
                    f"method.temperature is {self.temperature}, expected a positive number"
                )

    channel_mean: Tensor
    channel_scale: Tensor

    def __init__(self, config: Config, student: Any, teacher: Any) -> None:
        super().__init__()
        if config.pairs < 2:
            raise ValueError(f"method.pairs must be at least 2, got {config.pairs}")
        if student.out_channels < 1:
            raise ValueError("PPKT needs a student with a projection; set student.out_channels")
        self.config = config
        self.student = student
        self.freeze("teacher", teacher)
        self.register_buffer("channel_mean", torch.zeros(teacher.channels, 1, 1))
        self.register_buffer("channel_scale", torch.ones(teacher.channels, 1, 1))
        self.projection = nn.Conv2d(teacher.channels, student.out_channels, 1)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Sets what is measured once on training images: a random teacher's batch norms, and the
        mean and scale of each teacher channel."""
        teacher: Any = self.frozen["teacher"]
        images = [b.images for _, b in zip(range(self.config.calibration_batches), batches)]
        if teacher.needs_calibration:
            teacher.calibrate(images)
        self.channel_mean.zero_()  # ``init`` may have brought those of another run
        self.channel_scale.fill_(1)
        if self.config.standardize:
            cells = torch.cat([teacher(i).transpose(0, 1).flatten(1) for i in images], dim=1)
            mean = cells.mean(1)
            self.channel_mean.copy_(mean.view(-1, 1, 1))
            self.channel_scale.copy_(channel_scale(mean, cells.std(1)).view(-1, 1, 1))

    def teacher_map(self, images: Tensor) -> Tensor:
        """(V, 3, H, W) uint8 -> (V, C, h, w): the teacher's features after the UPL's convolution,
        still at the teacher's resolution."""
        features = self.frozen["teacher"](images)
        return self.projection((features - self.channel_mean) * self.channel_scale)

    def pixel_features(
        self, features: Tensor, view_index: Tensor, pixel: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """(M, C) unit vectors: the UPL's upsampling of ``features``, read at pixels."""
        if self.config.align_corners:
            sampled = sample_pixels(features, view_index, pixel, size, align_corners=True)
        else:
            sampled = sample_cells(self.frozen["teacher"], features, view_index, pixel)
        return F.normalize(sampled, dim=1)

    def select_pairs(self, batch: Batch, point_to_voxel: Tensor) -> Tensor:
        """(M,) int64 random pairs of the batch, at most ``pairs``; fewer where there are fewer."""
        order = torch.randperm(batch.num_pairs, device=batch.pixel.device)
        if self.config.pair_per_voxel:
            voxel = point_to_voxel[batch.point_index[order]]
            first = torch.full(
                (int(point_to_voxel.max()) + 1 if voxel.numel() else 0,),
                order.numel(),
                device=voxel.device,
            )
            rank = torch.arange(order.numel(), device=voxel.device)
            first.scatter_reduce_(0, voxel, rank, "amin")
            order = order[first[voxel] == rank]
        return order[: self.config.pairs]

    def point_features(self, voxel_features: Tensor, voxel_index: Tensor) -> Tensor:
        """(M, C) unit vectors: the projected features of the student's voxels."""
        return F.normalize(self.student.project(voxel_features[voxel_index]), dim=1)

    def embed(self, batch: Batch) -> "Embedded":
        """Unit embeddings of random pairs of the batch."""
        clock = [time.perf_counter()]
        voxels, point_to_voxel = self.student.voxels(batch.points, batch.colors, batch.batch_index)
        pairs = self.select_pairs(batch, point_to_voxel)
        clock.append(time.perf_counter())
        features = self.student(voxels).features
        points = self.point_features(features, point_to_voxel[batch.point_index[pairs]])
        clock.append(time.perf_counter())
        size = (batch.images.shape[2], batch.images.shape[3])
        pixels = self.pixel_features(
            self.teacher_map(batch.images), batch.view_index[pairs], batch.pixel[pairs], size
        )
        clock.append(time.perf_counter())
        names = ("time/voxels", "time/student", "time/teacher")
        seconds = {name: clock[i + 1] - clock[i] for i, name in enumerate(names)}
        return Embedded(points, pixels, pairs, seconds)

    def _ignored(self, batch: Batch, pairs: Tensor) -> Tensor | None:
        if self.config.ignore_radius <= 0:
            return None
        point = batch.point_index[pairs]
        world = batch.world[point]
        # by differences: from products, distances far from the origin are off by centimetres
        distance = torch.cdist(world, world, compute_mode="donot_use_mm_for_euclid_dist")
        near = distance < self.config.ignore_radius
        cloud = batch.batch_index[point]
        return near & (cloud[:, None] == cloud[None, :])

    def forward(self, batch: Batch) -> Output:
        """PP-NCE of a batch; a batch without pairs gives a loss of zero."""
        points, pixels, pairs, seconds = self.embed(batch)
        ignored = self._ignored(batch, pairs)
        wide = torch.promote_types(points.dtype, torch.float32)
        points, pixels = points.to(wide), pixels.to(wide)
        with torch.autocast(points.device.type, enabled=False):  # exp(1 / t) needs the precision
            loss = self._contrast(points, pixels, ignored)
            if self.config.symmetric:
                loss = (loss + self._contrast(pixels, points, ignored)) / 2
        with torch.no_grad():
            similarity = points.detach() @ pixels.detach().T
            best = similarity.argmax(1) if len(pairs) else similarity.new_zeros(0)
            accuracy = (best == torch.arange(len(pairs), device=best.device)).float().sum()
        return Output(
            loss,
            {"accuracy": accuracy / max(1, len(pairs)), "num_pairs": float(len(pairs)), **seconds},
        )

    def _contrast(self, anchors: Tensor, positives: Tensor, ignored: Tensor | None) -> Tensor:
        temperature = self.config.temperature
        if not self.config.gather_negatives:
            return pp_nce(anchors, positives, temperature, ignore=ignored)
        candidates, start = gather_with_grad(positives)
        count, total = len(anchors), len(candidates)
        if ignored is not None:
            wide = ignored.new_zeros(count, total)
            wide[:, start : start + count] = ignored
            ignored = wide
        target = torch.arange(start, start + count, device=anchors.device)
        loss = pp_nce(
            anchors, positives, temperature, candidates=candidates, target=target, ignore=ignored
        )
        # ranks are averaged with equal weight, their anchors should be
        return loss * (count * num_ranks() / max(1, total))

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Retrieval between pixels and points of held-out frames; see ``evaluate_pixel_point``."""
        was_training = self.training
        self.eval()
        figures = evaluate_pixel_point(self, batches)
        self.train(was_training)
        return figures
