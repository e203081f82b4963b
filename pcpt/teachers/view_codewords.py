"""PointMCD's teacher (arXiv 2207.03128): an image network fine-tuned on views of shapes, which
gives each view one codeword."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pcpt.registry import register
from pcpt.students.view_network import ViewNetwork
from pcpt.teachers.base import RANDOM, Teacher, seeded


@register("teachers", "view_codewords")
class ViewCodewords(Teacher):
    """The network of an exported run of a view task. Its feature map is the last one, at stride 32;
    the codewords are what it is for.

    Attributes:
        codeword_channels: D.
    """

    @dataclass
    class Config:
        """
        Attributes:
            weights: folder (or hub id) that ``pcpt export`` made of a run of view_classification,
                view_segmentation or view_autoencoding, or "random".
            backbone: of the random-weight control; an export states its own.
            codeword_channels: of the random-weight control.
            seed: of random weights.
        """

        name: str = "view_codewords"
        weights: str = ""
        backbone: str = "lite0"
        codeword_channels: int = 512
        seed: int = 0

    stride = 32
    offset = 15.5  # the centre of a cell's field; codewords do not depend on it

    def __init__(self, config: Config) -> None:
        """
        Raises:
            FileNotFoundError: no weights are named, or there are none.
            ValueError: a folder that holds something else, see ``Pretrained.from_pretrained``.
        """
        super().__init__()
        self.config = config
        if not config.weights:
            raise FileNotFoundError(
                "teacher view_codewords: teacher.weights is empty; train a run of the task "
                "view_classification, then `pcpt export RUN FOLDER` and set teacher.weights=FOLDER"
            )
        self.needs_calibration = config.weights == RANDOM
        with seeded(config.seed):  # loading must not draw from the global generator either
            if config.weights == RANDOM:
                options = ViewNetwork.Config(
                    backbone=config.backbone, codeword_channels=config.codeword_channels
                )
                self.network = ViewNetwork(options)
            else:
                self.network = ViewNetwork.from_pretrained(config.weights)
        self.channels = self.network.map_channels[-1]
        self.codeword_channels = self.network.codeword_channels
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self.network(images).maps[-1]

    @torch.no_grad()
    def codewords(self, images: Tensor) -> Tensor:
        """(B, D) of pictures (B, 3, H, W) uint8; checks as ``forward``."""
        self.check(images)
        return self.network(images).codeword
