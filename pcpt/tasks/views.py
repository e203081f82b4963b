"""What tasks on pictures of shapes share: how a PointMCD teacher is made (arXiv 2207.03128)."""

from typing import Any

from pcpt.data.view_dataset import ShapePictures, ViewBatch, ViewDataConfig, collate_views
from pcpt.tasks.objects import ObjectTask


class ViewTask(ObjectTask):
    """Base of tasks whose batches are pictures of shapes from several views.

    Args:
        config: the task's own ``Config``, with ``weights`` of the trunk.
        student: network on pictures, see ``ViewNetwork``.
        data: its training split says what classes and parts there are.
    """

    Data = ViewDataConfig
    with_points = False

    def __init__(self, config: Any, student: Any, data: ViewDataConfig) -> None:
        """
        Raises:
            ValueError: a student that takes no pictures, a source without classes.
            FileNotFoundError: weights that are not there.
        """
        if not hasattr(student, "codeword_channels"):
            raise ValueError(
                f"task {config.name} needs a network on pictures such as view_network, but student "
                f"is {type(student).__name__}"
            )
        super().__init__(config, student, data)
        if config.weights != "random":
            student.load_trunk(config.weights)

    def make_dataset(self, config: ViewDataConfig, split: str, seed: int) -> ShapePictures:  # type: ignore[override]
        """Pictures of the shapes of a split: those of "train" limited and shuffled."""
        pictures = ShapePictures(config, split, seed, with_points=self.with_points)
        self.checked_split(pictures.shapes)
        return pictures

    def evaluation_set(self, config: ViewDataConfig, split: str) -> ShapePictures:  # type: ignore[override]
        """All views of all shapes of a split."""
        pictures = ShapePictures(config, split, 0, training=False, with_points=self.with_points)
        self.checked_split(pictures.shapes)
        return pictures

    def collate(self, samples: list[Any]) -> ViewBatch:  # type: ignore[override]
        """Joins samples into a batch."""
        return collate_views(samples)
