"""ImageNet-supervised ResNets through transformers; ResNet-50 is the teacher of the PPKT paper."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pcpt.registry import register
from pcpt.teachers._transformers import load_model
from pcpt.teachers.base import RANDOM, Normalize, Teacher, activation_energy

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet(Teacher):
    """A ResNet (He et al., CVPR 2016) up to one of its stages; all kernels centred, so offset 0."""

    hub_id: str
    depths: tuple[int, ...]
    layer_type: str
    widths: tuple[int, ...]

    def __init__(self, config: Any) -> None:
        """
        Raises:
            ValueError: stage or output stride out of range, weights of another network.
            FileNotFoundError: weights that are not there.
        """
        from transformers import ResNetConfig, ResNetModel  # slow to import, so only when used

        super().__init__()
        self.config = config
        name = config.name
        if config.stage not in (1, 2, 3, 4):
            raise ValueError(f"teacher {name}: stage is {config.stage}; choose one of 1 to 4")
        if config.output_stride not in (8, 16, 32):
            raise ValueError(
                f"teacher {name}: output_stride is {config.output_stride}; choose 8, 16 or 32"
            )
        model = load_model(
            {"resnet": ResNetModel},
            config.weights,
            teacher=name,
            hub_id=self.hub_id,
            random_config=ResNetConfig(
                depths=list(self.depths),
                layer_type=self.layer_type,
                hidden_sizes=list(self.widths),
            ),
            seed=config.seed,
        )
        found = (tuple(model.config.depths), model.config.layer_type)
        if found != (self.depths, self.layer_type):
            raise ValueError(
                f"teacher {name}: {config.weights or self.hub_id} holds blocks {found}, expected "
                f"{(self.depths, self.layer_type)}; name the teacher that these weights belong to"
            )
        self.normalize = Normalize(MEAN, DEVIATION)
        self.embedder = model.embedder
        self.stages = model.encoder.stages[: config.stage]
        dilate(self.stages, config.output_stride)
        self.channels = model.config.hidden_sizes[config.stage - 1]
        self.stride = min(2 ** (config.stage + 1), config.output_stride)
        self.offset = 0.0
        self.needs_calibration = config.weights == RANDOM
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        x = self.embedder(self.normalize(images))
        for stage in self.stages:
            x = stage(x)
        return x

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Teacher.features_and_saliency``: the energy of the features themselves."""
        features = self.features(images)
        return features, activation_energy(features)


def dilate(stages: Any, output_stride: int) -> None:
    """Trades stride for dilation beyond ``output_stride``, keeping the weights.

    The finer map holds the original one at every second (fourth) cell, bit for bit in exact
    arithmetic (Chen et al., DeepLab, 2018).
    """
    dilation = 1
    for index, stage in enumerate(stages):
        if 2 ** (index + 2) <= output_stride:
            continue
        for block in stage.layers:
            if hasattr(block.shortcut, "convolution"):
                block.shortcut.convolution.stride = (1, 1)
            for layer in block.layer:
                conv = layer.convolution
                # a strided convolution still reads the grid before it; those after it the sparser
                before = dilation
                if conv.stride[0] == 2:
                    conv.stride = (1, 1)
                    dilation *= 2
                if conv.kernel_size[0] == 3:
                    conv.dilation = conv.padding = (before, before)


@register("teachers", "resnet18")
class ResNet18(ResNet):
    """512 channels at stride 32."""

    hub_id = "microsoft/resnet-18"
    depths, layer_type = (2, 2, 2, 2), "basic"
    widths = (64, 128, 256, 512)

    @dataclass
    class Config:
        """
        Attributes:
            weights: "" for the hub's microsoft/resnet-18, a folder, a hub id, or "random".
            stage: 1 to 4, strides 4, 8, 16, 32.
            output_stride: 8, 16 or 32; below 32 the late stages are dilated instead.
            seed: of random weights.
        """

        name: str = "resnet18"
        weights: str = ""
        stage: int = 4
        output_stride: int = 32
        seed: int = 0


@register("teachers", "resnet34")
class ResNet34(ResNet):
    """512 channels at stride 32."""

    hub_id = "microsoft/resnet-34"
    depths, layer_type = (3, 4, 6, 3), "basic"
    widths = (64, 128, 256, 512)

    @dataclass
    class Config(ResNet18.Config):
        """As ``ResNet18.Config``, of microsoft/resnet-34."""

        name: str = "resnet34"


@register("teachers", "resnet50")
class ResNet50(ResNet):
    """2048 channels at stride 32: the teacher of the PPKT paper."""

    hub_id = "microsoft/resnet-50"
    depths, layer_type = (3, 4, 6, 3), "bottleneck"
    widths = (256, 512, 1024, 2048)

    @dataclass
    class Config(ResNet18.Config):
        """As ``ResNet18.Config``, of microsoft/resnet-50."""

        name: str = "resnet50"
