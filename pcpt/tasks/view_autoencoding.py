"""The first stage of unsupervised PointMCD (arXiv 2207.03128): an image network learns, without a
label, to give each view a codeword from which the view can be drawn again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.data.view_dataset import ViewBatch, ViewDataConfig
from pcpt.methods.base import Output
from pcpt.registry import register
from pcpt.tasks.views import ViewTask


@register("tasks", "view_autoencoding")
class ViewAutoencoding(ViewTask):
    """L1 between a picture, in [0, 1], and the one drawn from its codeword.

    The decoder doubles the size once for each entry of ``channels``, with a 3 x 3 convolution
    after each.
    """

    uses_labels = False

    @dataclass
    class Config:
        """Keys of the ``task`` section.

        Attributes:
            weights: of the trunk at the start: "" for ImageNet's, a file or folder, or "random".
            channels: of the decoder's stages, from the smallest picture to the largest.
        """

        name: str = "view_autoencoding"
        weights: str = ""
        channels: list[int] = field(default_factory=lambda: [256, 128, 64, 32, 16])

        def __post_init__(self) -> None:
            if not self.channels or min(self.channels) < 1:
                raise ValueError(
                    f"task.channels is {list(self.channels)}, expected numbers above 0"
                )

    def __init__(self, config: Config, student: Any, data: ViewDataConfig) -> None:
        super().__init__(config, student, data)
        self.size = (data.views.image_size[0], data.views.image_size[1])
        widths, factor = list(config.channels), 2 ** len(config.channels)
        self.start = (widths[0], -(-self.size[0] // factor), -(-self.size[1] // factor))
        self.grow = nn.Linear(
            student.codeword_channels, self.start[0] * self.start[1] * self.start[2]
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in zip([widths[0], *widths], widths)
        )
        self.draw = nn.Conv2d(widths[-1], 3, 3, padding=1)

    @property
    def needs_labels(self) -> str:
        """See ``ShapeMethod.needs_labels``."""
        return ""

    def pictures(self, images: Tensor) -> Tensor:
        """(I, 3, H, W) uint8 -> the same pictures, drawn from their codewords, about [0, 1]."""
        x = self.grow(self.student(images).codeword).view(-1, *self.start)
        for stage in self.stages:
            x = stage(F.interpolate(x, scale_factor=2, mode="bilinear"))
        return self.draw(x)[..., : self.size[0], : self.size[1]]

    def forward(self, batch: ViewBatch) -> Output:
        """The loss of all views."""
        images = batch.images.flatten(0, 1)
        return Output(F.l1_loss(self.pictures(images), images.float() / 255), {})

    @torch.no_grad()
    def evaluate(self, batches: Iterable[ViewBatch]) -> dict[str, Any]:
        """``l1`` of the views of a split; ``l1/mean_picture``, what the mean grey of each would
        have."""
        was_training = self.training
        self.eval()
        errors, shapes = torch.zeros(2, dtype=torch.float64), 0
        for batch in batches:
            images = batch.images.flatten(0, 1)
            target = images.float() / 255
            plain = target.mean((1, 2, 3), keepdim=True).expand_as(target)
            for slot, guess in enumerate((self.pictures(images), plain)):
                errors[slot] += float(F.l1_loss(guess, target)) * batch.num_samples
            shapes += batch.num_samples
        self.train(was_training)
        own, mean = (errors / max(1, shapes)).tolist()
        return {"num_shapes": shapes, "l1": own, "l1/mean_picture": mean}

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "mean over all views of all shapes"
