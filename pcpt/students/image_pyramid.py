"""An image network that can be trained end to end and exported: EfficientNet-Lite0 under a small
feature pyramid. Fine-tuned on label images it becomes the teacher ``segmenter``."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_minimum
from pcpt.registry import register
from pcpt.students.pretrained import Pretrained
from pcpt.teachers.lite0 import STAGES, Lite0Layers

TAKEN = (3, 5, 7)  # stages at strides 8, 16 and 32


@register("students", "image_pyramid")
class ImagePyramid(Pretrained):
    """Stages of three strides, joined from coarse to fine at stride 8 (Lin et al., Feature Pyramid
    Networks, 2017, with a single output).

    Weights are random until ``load_trunk``. Where cells lie is fixed by training: bilinear
    upsampling by 8 puts cell (i, j) at pixel ``3.5 + 8 * (i, j)``, and there are its labels.

    Attributes:
        out_channels: of the feature map.
        stride: image pixels from one cell to the next.
    """

    tag = "image-segmentation"
    about = "A 2D network that gives images a feature map at an eighth of their size."
    usage = """from pcpt.teachers.segmenter import Segmenter

teacher = Segmenter(Segmenter.Config(weights="this folder, or its hub id"))
features = teacher(images)  # (B, 3, H, W) uint8 -> (B, C, H / 8, W / 8)"""

    @dataclass
    class Config:
        """
        Attributes:
            out_channels: of the feature map.
        """

        name: str = "image_pyramid"
        out_channels: int = 96

    stride = 8

    def __init__(self, config: Config) -> None:
        super().__init__()
        check_minimum("student.out_channels", config.out_channels, 1)
        self.config = config
        self.out_channels = config.out_channels
        self.trunk = Lite0Layers()
        widths = [STAGES[stage - 1][5] for stage in TAKEN]
        self.lateral = nn.ModuleList(nn.Conv2d(width, config.out_channels, 1) for width in widths)
        self.smooth = nn.Sequential(
            nn.Conv2d(config.out_channels, config.out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(config.out_channels),
            nn.ReLU(),
        )

    def load_trunk(self, weights: str) -> None:
        """Takes Lite0's layers from a state dict; "" is the ImageNet weights of the pip package.

        Raises:
            FileNotFoundError, ValueError: as ``Lite0Layers.load``.
        """
        self.trunk.load(weights)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 255], uint8 or float -> (B, C, ceil(H / 8), ceil(W / 8))."""
        maps = self.trunk(images)
        joined: Tensor | None = None
        for stage, lateral in reversed(list(zip(TAKEN, self.lateral))):
            own = lateral(maps[stage - 1])
            if joined is not None:
                # by the factor, not to the size: at odd sizes cells must stay where they are
                finer = F.interpolate(joined, scale_factor=2, mode="bilinear")
                own = own + finer[..., : own.shape[2], : own.shape[3]]
            joined = own
        return self.smooth(joined)
