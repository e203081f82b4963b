"""What tasks on single shapes share: a point network under a head, and data with labels."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from pcpt.data.shape_batch import ShapeBatch, collate_shapes
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes, open_shapes
from pcpt.methods.shapes import ShapeMethod
from pcpt.students.point_features import PointFeatures

POOLINGS = ("pooled", "pooled_and_mean")
EVALUATED_TOGETHER = 32  # shapes of one forward pass
_log = logging.getLogger(__name__)


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
        selected_by: figure by which ``pcpt test --best`` chooses among a run's checkpoints; empty
            for tasks that do not learn step by step.
    """

    selected_by: ClassVar[str] = ""

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
    def needs_labels(self) -> str:
        """See ``ShapeMethod.needs_labels``."""
        return "classes"

    @property
    def protocol(self) -> str:
        """How ``evaluate`` counts, in words, for ``metrics.json``."""
        return "single shapes, one view of each, no voting"

    def checked(self, batch: ShapeBatch) -> ShapeBatch:
        """The batch itself, once its labels are known to be classes.

        Raises:
            ValueError: a label outside the classes.
        """
        wrong = ((batch.label < -1) | (batch.label >= len(self.classes))).nonzero()[:, 0]
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"shape {batch.names[row]} has label {int(batch.label[row])}, but there are "
                f"{len(self.classes)} classes, numbered from 0; -1 is no label"
            )
        return batch


def joined(batches: Iterable[ShapeBatch], size: int = EVALUATED_TOGETHER) -> Iterator[ShapeBatch]:
    """Batches of up to ``size`` shapes, in the same order; shapes of other numbers of points, or
    with normals and without, come in batches of their own."""
    waiting: list[ShapeBatch] = []
    for batch in batches:
        full = sum(each.num_samples for each in waiting) + batch.num_samples > size
        if waiting and (full or _kind(batch) != _kind(waiting[0])):
            yield collate_shapes(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield collate_shapes(waiting)


def _kind(batch: ShapeBatch) -> tuple[int, bool]:
    return batch.points.shape[1], batch.normals is None


def shape_embedding(features: PointFeatures, pooling: str) -> Tensor:
    """(B, D) one embedding a shape: the network's own (``pooled``, a maximum over tokens or
    points), or that beside the mean of its points' embeddings (``pooled_and_mean``)."""
    if pooling == "pooled":
        return features.pooled
    return torch.cat([features.pooled, features.point.mean(1)], dim=1)


def embed_batch(student: Any, batch: ShapeBatch, pooling: str) -> Tensor:
    """(B, D) ``shape_embedding`` of a batch; of a network that can, without its points' features
    where nobody asks for them."""
    if pooling == "pooled" and hasattr(student, "encode"):
        return student.encode(batch.points, batch.normals).pooled
    return shape_embedding(student(batch.points, batch.normals), pooling)


def embedding_channels(student: Any, pooling: str) -> int:
    """D of ``shape_embedding``."""
    mean = student.point_channels if pooling == "pooled_and_mean" else 0
    return int(student.pooled_channels + mean)


def count_labels(data: ShapeDataConfig, classes: tuple[str, ...]) -> Tensor:
    """(classes,) int64: shapes of each class that a run is trained on; classes without any are
    named in a warning.

    Raises:
        ValueError: no shape has a label, or a label is outside the classes.
    """
    shapes = Shapes(data, "train", 0, training=False, limited=True)
    labels = torch.tensor([shapes.shape_set.label_of(name) for name in shapes.names])
    if int(labels.max()) >= len(classes):
        name = shapes.names[int(labels.argmax())]
        raise ValueError(
            f"shape {name} has label {int(labels.max())}, but {data.source.name} has "
            f"{len(classes)} classes, numbered from 0"
        )
    counts = torch.bincount(labels[labels >= 0], minlength=len(classes))
    if not int(counts.sum()):
        raise ValueError(f"no training shape of {data.source.name!r} has a label")
    absent = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if absent:
        _log.warning("classes without a labelled training shape: %s", ", ".join(absent))
    return counts


def check_has_parts(data: ShapeDataConfig) -> None:
    """Raises ``ValueError`` unless a shape that a run is trained on has a part at some point. Reads
    shapes up to the first that has."""
    shapes = Shapes(data, "train", 0, training=False, limited=True)
    for name in shapes.names:
        parts = shapes.shape_set.load(name).parts
        if parts is not None and bool((parts >= 0).any()):
            return
    raise ValueError(
        f"no training shape of {data.source.name!r} has a part at any of its points: "
        f"{shapes.shape_set.where_parts(shapes.names[0])} holds none; give it parts, or take a "
        "task that needs none, such as classification"
    )
