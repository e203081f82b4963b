"""The image network behind PointMCD's teachers (arXiv 2207.03128): a picture of a shape becomes one
codeword. Trained by the view tasks, exported, and loaded by the teacher ``view_codewords``."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.registry import register
from pcpt.students.pretrained import Pretrained
from pcpt.teachers._transformers import load_model
from pcpt.teachers.base import RANDOM, Normalize
from pcpt.teachers.lite0 import STAGES, Lite0Layers

BACKBONES = ("lite0", "mobilenet_v2")
STRIDES = (8, 16, 32)
_MOMENTUM = 0.003


class Seen(NamedTuple):
    """What the network makes of pictures.

    Attributes:
        maps: at strides 8, 16 and 32.
        codeword: (B, D), not negative.
    """

    maps: list[Tensor]
    codeword: Tensor


class Lite0Trunk(nn.Module):
    """EfficientNet-Lite0: its weights come inside a pip package."""

    channels = tuple(STAGES[stage - 1][5] for stage in (3, 5, 7))

    def __init__(self) -> None:
        super().__init__()
        self.layers = Lite0Layers()

    def load(self, weights: str) -> None:
        """See ``Lite0Layers.load``."""
        self.layers.load(weights)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 255] -> maps at strides 8, 16 and 32."""
        maps = self.layers(images)
        return [maps[stage - 1] for stage in (3, 5, 7)]


class MobileNetV2Trunk(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018), the paper's network, through transformers."""

    channels = (32, 96, 1280)
    hub_id = "google/mobilenet_v2_1.0_224"
    ends = (4, 11)  # the last inverted residuals of strides 8 and 16, counted from 0

    def __init__(self) -> None:
        super().__init__()
        self._take(RANDOM, int(torch.randint(2**31, ())))
        self.normalize = Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def _take(self, weights: str, seed: int = 0) -> None:
        from transformers import MobileNetV2Config, MobileNetV2Model  # slow to import

        model: Any = load_model(
            {"mobilenet_v2": MobileNetV2Model},
            weights,
            teacher="view_network",
            hub_id=self.hub_id,
            random_config=MobileNetV2Config(),
            seed=seed,
        )
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                # transformers hands on TensorFlow's decay, 0.997, which to torch means that the
                # running statistics are all but the last batch's
                module.momentum = _MOMENTUM
        self.stem, self.layer, self.final = model.conv_stem, model.layer, model.conv_1x1

    def load(self, weights: str) -> None:
        """Takes the weights of a folder or hub id; "" is the hub's."""
        self._take(weights)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [0, 255] -> maps at strides 8, 16 and 32."""
        x = self.stem(self.normalize(images))
        maps = []
        for number, layer in enumerate(self.layer):
            x = layer(x)
            if number in self.ends:
                maps.append(x)
        return [*maps, self.final(x)]


@register("students", "view_network")
class ViewNetwork(Pretrained):
    """A trunk, the mean over its last map, and a linear layer with norm and ReLU: the codeword.

    Weights of the trunk are random until ``load_trunk``.

    Attributes:
        codeword_channels: D.
        map_channels: of the maps at strides 8, 16 and 32.
    """

    tag = "image-classification"
    about = "A 2D network that gives each picture of a shape one codeword."
    usage = """from pcpt.teachers.view_codewords import ViewCodewords

teacher = ViewCodewords(ViewCodewords.Config(weights="this folder, or its hub id"))
codewords = teacher.codewords(images)  # (B, 3, H, W) uint8 -> (B, D)"""

    @dataclass
    class Config:
        """
        Attributes:
            backbone: lite0, or mobilenet_v2 as in the paper.
            codeword_channels: D.
        """

        name: str = "view_network"
        backbone: str = "lite0"
        codeword_channels: int = 512

    def __init__(self, config: Config) -> None:
        """Raises ``ValueError`` for options that cannot be."""
        super().__init__()
        check_choice("student.backbone", config.backbone, BACKBONES)
        check_minimum("student.codeword_channels", config.codeword_channels, 1)
        self.config = config
        self.codeword_channels = config.codeword_channels
        self.trunk = Lite0Trunk() if config.backbone == "lite0" else MobileNetV2Trunk()
        self.map_channels = self.trunk.channels
        # on maps of one pixel, so that a teacher's norms are all of one kind
        self.head = nn.Sequential(
            nn.Conv2d(self.map_channels[-1], config.codeword_channels, 1, bias=False),
            nn.BatchNorm2d(config.codeword_channels),
            nn.ReLU(),
        )

    def load_trunk(self, weights: str) -> None:
        """Takes the trunk's weights from a file or folder; "" is the ImageNet weights: for lite0
        of the pip package, for mobilenet_v2 of the hub.

        Raises:
            FileNotFoundError, ValueError: they are not there, or of another network.
        """
        self.trunk.load(weights)

    def forward(self, images: Tensor) -> Seen:
        """Pictures (B, 3, H, W) RGB in [0, 255], uint8 or float, to maps and codewords."""
        maps = self.trunk(images)
        pooled = maps[-1].mean((2, 3), keepdim=True)
        return Seen(maps, self.head(pooled).flatten(1))
