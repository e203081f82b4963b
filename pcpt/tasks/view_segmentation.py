"""The first stage of PointMCD for part segmentation (arXiv 2207.03128): an image network learns the
part at each pixel of a view, through a codeword that is distilled afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_minimum
from pcpt.data.view_dataset import ViewBatch, ViewDataConfig
from pcpt.methods.base import Output
from pcpt.ops import sample_pixels
from pcpt.registry import register
from pcpt.students.view_network import STRIDES
from pcpt.tasks.objects import check_has_parts
from pcpt.tasks.views import ViewTask


@register("tasks", "view_segmentation")
class ViewSegmentation(ViewTask):
    """Cross-entropy at the pixels of the points that a view shows, whose parts are known.

    The scores come from the network's maps and, broadcast to every cell, its codeword. The paper's
    decoder (VGG11 with attention) was not described in a way that could be rebuilt.
    """

    with_points = True
    allowed: Tensor
    selected_by = "points/accuracy"

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            weights: of the trunk at the start: "" for ImageNet's, a file or folder, or "random".
            channels: of the decoder.
        """

        name: str = "view_segmentation"
        weights: str = ""
        channels: int = 96

        def __post_init__(self) -> None:
            check_minimum("task.channels", self.channels, 1)

    def __init__(self, config: Config, student: Any, data: ViewDataConfig) -> None:
        """Raises ``ValueError`` also for a source or training shapes without parts."""
        super().__init__(config, student, data)
        if not self.part_names:
            raise ValueError(
                f"data source {data.source.name!r} has no parts; task view_segmentation needs a "
                "source that has, such as shapenet_part or procedural_shapes"
            )
        check_has_parts(data)
        channels = config.channels
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in student.map_channels)
        self.from_codeword = nn.Linear(student.codeword_channels, channels)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, len(self.part_names), 1),
        )
        allowed = torch.zeros(len(self.classes), len(self.part_names), dtype=torch.bool)
        for row, members in zip(allowed, self.parts_of_class, strict=True):
            row[list(members)] = True
        self.register_buffer("allowed", allowed, persistent=False)

    @property
    def needs_labels(self) -> str:
        """See ``ShapeMethod.needs_labels``."""
        return "parts"

    def logits(self, images: Tensor) -> Tensor:
        """(I, 3, H, W) -> (I, parts, ceil(H / 8), ceil(W / 8)): scores of each cell."""
        maps, codeword = self.student(images)
        own = [lateral(found) for found, lateral in zip(maps, self.laterals, strict=True)]
        joined = self.from_codeword(codeword)[..., None, None] + own[-1]
        for finer in reversed(own[:-1]):
            joined = F.interpolate(joined, scale_factor=2, mode="bilinear")
            joined = joined[..., : finer.shape[2], : finer.shape[3]] + finer
        return self.head(joined)

    def scores(self, batch: ViewBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Scores (M, parts) at the pixels of visible points, the rows of ``batch`` and the places
        of the points that they are of."""
        images = batch.images.flatten(0, 1)
        logits = self.logits(images)
        view, place = batch.visible.flatten(0, 1).nonzero().unbind(1)
        pixel = batch.pixel.flatten(0, 1)[view, place]
        size = (logits.shape[2] * STRIDES[0], logits.shape[3] * STRIDES[0])
        row = torch.div(view, batch.images.shape[1], rounding_mode="floor")
        return sample_pixels(logits, view, pixel, size), row, place

    def forward(self, batch: ViewBatch) -> Output:
        """Cross-entropy over all parts at visible, labelled points; zero where there are none."""
        scores, row, place = self.scores(batch)
        target = batch.parts[row, place]
        labelled = target >= 0
        count = max(1, int(labelled.sum()))
        loss = F.cross_entropy(scores, target, ignore_index=-1, reduction="sum") / count
        right = ((scores.argmax(1) == target) & labelled).float().sum() / count
        return Output(loss, {"accuracy": right, "num_pixels": float(labelled.sum())})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ViewBatch]) -> dict[str, Any]:
        """``pixels/accuracy`` among the parts of the shape's class, and ``points/accuracy`` of the
        points that any view shows, by the mean score of the views that do."""
        was_training = self.training
        self.eval()
        pixels, points, shapes = torch.zeros(2), torch.zeros(2), 0
        for batch in batches:
            shapes += batch.num_samples
            scores, row, place = self.scores(batch)
            allowed = self.allowed[batch.label.clamp(min=0)] | (batch.label < 0)[:, None]
            scores = scores.log_softmax(1).masked_fill(~allowed[row], -torch.inf)
            pixels += _hits(scores, batch.parts[row, place])
            size = batch.parts.shape[1]
            total = scores.new_zeros(batch.parts.numel(), scores.shape[1])
            total.index_add_(0, row * size + place, scores)
            seen = torch.zeros(len(total), dtype=torch.bool, device=total.device)
            seen[row * size + place] = True
            points += _hits(total[seen], batch.parts.flatten()[seen])
        self.train(was_training)
        return {
            "num_shapes": shapes,
            "pixels/accuracy": float(pixels[0] / pixels[1].clamp(min=1)),
            "points/accuracy": float(points[0] / points[1].clamp(min=1)),
        }

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "points visible in views, among the parts of the shape's class"


def _hits(scores: Tensor, target: Tensor) -> Tensor:
    """(2,): how many labelled rows are right, and how many there are."""
    labelled = target >= 0
    right = (scores.argmax(1) == target) & labelled if len(scores) else labelled
    return torch.tensor([float(right.sum()), float(labelled.sum())])
