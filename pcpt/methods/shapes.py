"""What pretraining methods and tasks on single shapes share: their data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.data.splits import check_same_names
from pcpt.methods.base import Method

if TYPE_CHECKING:
    from pcpt.viz.report import Figure


class ShapeMethod(Method):
    """Base of methods whose batches are single shapes.

    ``evaluate(batches)`` is given every shape of a split once, one a batch, not augmented, with
    points that are always the same. ``learnt`` ends the first sentence of a run's report.

    Attributes:
        classes: names of the training split's classes.
        part_names: of its global parts.
        parts_of_class: the parts that each class may have.
    """

    learnt: str = "pretrained without a label"
    Data = ShapeDataConfig
    evaluation_split: ClassVar[str] = "val"
    in_percent: ClassVar[bool] = False
    classes: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    parts_of_class: tuple[tuple[int, ...], ...] = ()

    @property
    def needs_labels(self) -> str:
        """Which labels are learnt or scored: "" (none), "classes", or "parts" of known classes."""
        return ""

    def checked_split(self, shapes: Shapes) -> Shapes:
        """The shapes themselves, once their labels are known to mean what those of "train" mean;
        whoever opens a split for the method hands it through here.

        Raises:
            ValueError: other classes or parts than "train" has, where labels are of any use.
        """
        opened, split = shapes.shape_set, shapes.split
        if self.needs_labels:
            check_same_names(split, "class", self.classes, opened.classes)
        if self.needs_labels == "parts":
            check_same_names(split, "part", self.part_names, opened.part_names)
            learnt, found = (
                [f"{name} with parts {members}" for name, members in zip(self.classes, parts)]
                for parts in (self.parts_of_class, opened.parts_of_class)
            )
            check_same_names(split, "class", learnt, found)
        return shapes

    def make_dataset(self, config: ShapeDataConfig, split: str, seed: int) -> Shapes:  # type: ignore[override]
        """Samples of a split: those of "train" limited, shuffled and augmented as configured."""
        return self.checked_split(Shapes(config, split, seed))

    def evaluation_set(self, config: ShapeDataConfig, split: str) -> Shapes:
        """All shapes of a split, not augmented."""
        return self.checked_split(Shapes(config, split, 0, training=False))

    def collate(self, samples: list[Any]) -> ShapeBatch:  # type: ignore[override]
        """Joins samples into a batch."""
        return collate_shapes(samples)

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "single shapes, one pass of each as it is, no voting"

    def figures(self, before: "ShapeMethod", batch: ShapeBatch) -> Mapping[str, "Figure"]:
        """Pictures for the report, by file name; none by default.

        Args:
            before: the same method untrained, in eval mode.
            batch: some shapes of a split, not augmented, on the method's device.
        """
        return {}
