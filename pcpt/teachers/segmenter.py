"""A network trained on label images as the teacher: the setting of the PPKT paper's ADE20K teacher
(arXiv 2104.04687), with whatever 2D labels one has."""

from dataclasses import dataclass

from torch import Tensor

from pcpt.registry import register
from pcpt.students.image_pyramid import ImagePyramid
from pcpt.teachers.base import RANDOM, Teacher, seeded

# Bilinear upsampling by 8 in training puts cell (0, 0) there, see ImagePyramid. Untrained kernels
# of Lite0 look further down and right: its stages at 7, 11 and 19.
TRAINED_OFFSET = 3.5
RANDOM_OFFSET = 11.0


@register("teachers", "segmenter")
class Segmenter(Teacher):
    """The features below the class scores of an exported ``image_segmentation`` run."""

    @dataclass
    class Config:
        """
        Attributes:
            weights: folder (or hub id) that ``pcpt export`` made of such a run, or "random".
            channels: of the random-weight control; an export states its own.
            seed: of random weights.
        """

        name: str = "segmenter"
        weights: str = ""
        channels: int = 96
        seed: int = 0

    stride = ImagePyramid.stride

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
                "teacher segmenter: teacher.weights is empty; train a run of the task "
                "image_segmentation, then `pcpt export RUN FOLDER` and set teacher.weights=FOLDER"
            )
        self.needs_calibration = config.weights == RANDOM
        if config.weights == RANDOM:
            self.offset = RANDOM_OFFSET
            with seeded(config.seed):
                self.network = ImagePyramid(ImagePyramid.Config(out_channels=config.channels))
        else:
            self.offset = TRAINED_OFFSET
            with seeded(config.seed):  # loading must not draw from the global generator either
                self.network = ImagePyramid.from_pretrained(config.weights)
        self.channels = self.network.out_channels
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self.network(images)
