"""What tasks on single shapes share: a point network under a head, and data with labels."""

from typing import Any

from pcpt.data.shape_dataset import ShapeDataConfig, open_shapes
from pcpt.methods.shapes import ShapeMethod


class ObjectTask(ShapeMethod):
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

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "single shapes, one view of each, no voting"
