"""What pretraining methods and tasks on single shapes share: their data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.methods.base import Method

if TYPE_CHECKING:
    from pcpt.viz.report import Figure


class ShapeMethod(Method):
    """Base of methods whose batches are single shapes.

    ``evaluate(batches)`` is given every shape of a split once, one a batch, not augmented, with
    points that are always the same. ``learnt`` ends the first sentence of a run's report.
    """

    learnt: str = "pretrained without a label"
    Data = ShapeDataConfig
    evaluation_split: ClassVar[str] = "val"
    in_percent: ClassVar[bool] = False

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
        return "single shapes, one pass of each as it is, no voting"

    def figures(self, before: "ShapeMethod", batch: ShapeBatch) -> Mapping[str, "Figure"]:
        """Pictures for the report, by file name; none by default.

        Args:
            before: the same method untrained, in eval mode.
            batch: some shapes of a split, not augmented, on the method's device.
        """
        return {}
