"""What tasks on labelled scenes share: a student under a head, and data with labels."""

from pathlib import Path
from typing import Any

from torch import Tensor

from pcpt.data.scene_batch import SceneBatch, collate_scenes
from pcpt.data.scene_dataset import LabelledScenes, SceneDataConfig, open_split
from pcpt.data.splits import check_same_names
from pcpt.methods.base import Method
from pcpt.sparse import SparseTensor


class SceneTask(Method):
    """Base of tasks: a method whose batches are labelled scenes.

    Subclasses implement ``forward(batch) -> Output`` and ``evaluate(batches)``, which is given
    every scene of a split once, whole and unchanged, one a batch.

    Args:
        config: the task's own ``Config``.
        student: network with ``voxels`` (or ``voxels_of_scenes``) and ``forward``; see
            ``SparseUNet``.
        data: its training split says what the classes are.

    Attributes:
        student: the network.
        label_set: the classes.
    """

    Data = SceneDataConfig

    def __init__(self, config: Any, student: Any, data: SceneDataConfig) -> None:
        super().__init__()
        self.config = config
        self.student = student
        self.label_set = open_split(data, "train").label_set

    def make_dataset(self, config: SceneDataConfig, split: str, seed: int) -> LabelledScenes:  # type: ignore[override]
        """Samples of a split: those of "train" limited, shuffled and augmented as configured."""
        return self.checked_split(LabelledScenes(config, split, seed))

    def evaluation_set(self, config: SceneDataConfig, split: str) -> LabelledScenes:
        """Whole, unchanged scenes of a split with all their labels."""
        return self.checked_split(LabelledScenes(config, split, 0, training=False))

    def checked_split(self, scenes: LabelledScenes) -> LabelledScenes:
        """The scenes themselves, once their labels are known to mean what those of "train" mean.

        Raises:
            ValueError: other classes than "train" has.
        """
        check_same_names(scenes.split, "class", self.label_set.names, scenes.label_set.names)
        return scenes

    def collate(self, samples: list[Any]) -> SceneBatch:  # type: ignore[override]
        """Joins samples into a batch."""
        return collate_scenes(samples)

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "whole scenes"

    def export(self, batch: SceneBatch, folder: Path) -> None:
        """Writes the prediction of a whole scene in its benchmark's format.

        Raises:
            ValueError: there is no such format for this task or these classes.
        """
        raise ValueError(f"{type(self).__name__} has no benchmark format to export")

    def voxels(self, batch: SceneBatch) -> tuple[SparseTensor, Tensor]:
        """The student's input, and the voxel row of each point.

        A student whose features depend on more than points and colours (``lifted``) makes its input
        of the whole batch, in ``voxels_of_scenes``.
        """
        if hasattr(self.student, "voxels_of_scenes"):
            return self.student.voxels_of_scenes(batch)
        return self.student.voxels(batch.points, batch.colors, batch.batch_index)
