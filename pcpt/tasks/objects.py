"""What tasks on single shapes share: a point network under a head, and data with labels."""

from typing import Any

from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes, open_shapes
from pcpt.methods.base import Method


class ObjectTask(Method):
    """Base of tasks: a method whose batches are single shapes.

    Subclasses implement ``forward(batch) -> Output`` and ``evaluate(batches)``, which is given
    every shape of a split once, not augmented, with points that are always the same.

    Args:
        config: the task's own ``Config``.
        student: network that gives ``PointFeatures``, see ``pcpt.students.point_features``.
        data: its training split says what classes and parts there are.

    Attributes:
        student: the network.
        classes: names of the classes.
        part_names: of the global parts; empty without parts.
        parts_of_class: the parts that each class may have; empty without parts.
    """

    Data = ShapeDataConfig

    def __init__(self, config: Any, student: Any, data: ShapeDataConfig) -> None:
        """
        Raises:
            ValueError: a source without classes, see also ``open_shapes``.
        """
        super().__init__()
        self.config = config
        self.student = student
        shapes = open_shapes(data, "train")
        if not shapes.classes:
            raise ValueError(
                f"data source {data.source.name!r} has no classes; {type(self).__name__} needs a "
                "source with labels, such as modelnet_h5 or procedural_shapes"
            )
        self.classes = shapes.classes
        self.part_names = shapes.part_names
        self.parts_of_class = shapes.parts_of_class

    def make_dataset(self, config: ShapeDataConfig, split: str, seed: int) -> Shapes:  # type: ignore[override]
        """Samples of a split: those of "train" limited, shuffled and augmented as configured."""
        return Shapes(config, split, seed)

    def evaluation_set(self, config: ShapeDataConfig, split: str) -> Shapes:
        """All shapes of a split, not augmented."""
        return Shapes(config, split, 0, training=False)

    def collate(self, samples: list[Any]) -> ShapeBatch:  # type: ignore[override]
        """Joins samples into a batch."""
        return collate_shapes(samples)

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "single shapes, one view of each, no voting"
