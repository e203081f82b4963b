"""What a network said about one scene, beside what is true: the one input of all pictures of
downstream results."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet
from pcpt.data.scene import Boxes


def _upright() -> Tensor:
    return torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class SceneResult:
    """A scene, its labels and predictions; everything but the points may be missing.

    Attributes:
        name: of the scene.
        points: (N, 3) float, metres, all finite.
        colors: (N, 3) uint8, or float in [0, 1].
        label_set: the classes that ``labels``, ``prediction`` and boxes are places in; needed
            where any of them is given.
        labels: (N,) int64, true class or -1 for none.
        prediction: (N,) int64, predicted class or -1 for none.
        instances: (N,) int64, true object, 0 to I - 1, or -1 for none.
        predicted_instances: (N,) int64 likewise.
        features: (N, C) float, all finite.
        boxes: true ones.
        predicted_boxes: predicted ones.
        scores: (B,) float, confidence of each predicted box.
        up: (3,) against gravity, unit length; boxes stand upright along it.
        facts: short figures of this scene, value by name.

    Raises:
        ValueError: shapes or dtypes other than these, points or features that are not finite, a
            class outside the label set.
    """

    name: str
    points: Tensor
    colors: Tensor | None = None
    label_set: LabelSet | None = None
    labels: Tensor | None = None
    prediction: Tensor | None = None
    instances: Tensor | None = None
    predicted_instances: Tensor | None = None
    features: Tensor | None = None
    boxes: Boxes = field(default_factory=Boxes.none)
    predicted_boxes: Boxes = field(default_factory=Boxes.none)
    scores: Tensor | None = None
    up: Tensor = field(default_factory=_upright)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where, count = f"result of scene {self.name}", len(self.points)
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"{where}: points are {tuple(self.points.shape)}, expected (N, 3)")
        for key in ("points", "features"):
            values = getattr(self, key)
            if values is not None and not bool(torch.isfinite(values).all()):
                raise ValueError(f"{where}: {key} are not all finite")
        for key in ("colors", "features"):
            values = getattr(self, key)
            if values is not None and (values.ndim != 2 or len(values) != count):
                raise ValueError(
                    f"{where}: {key} are {tuple(values.shape)}, expected one row for each of "
                    f"{count} points"
                )
        for key in ("labels", "prediction", "instances", "predicted_instances"):
            _check_indices(where, key, getattr(self, key), count)
        self._check_classes(where)
        if self.scores is not None and tuple(self.scores.shape) != (len(self.predicted_boxes),):
            raise ValueError(
                f"{where}: scores are {tuple(self.scores.shape)}, expected "
                f"({len(self.predicted_boxes)},): one a predicted box"
            )

    def _check_classes(self, where: str) -> None:
        groups = {
            "labels": self.labels,
            "prediction": self.prediction,
            "boxes": self.boxes.labels,
            "predicted_boxes": self.predicted_boxes.labels,
        }
        for key, values in groups.items():
            if values is None or len(values) == 0:
                continue
            highest = int(values.max())
            if self.label_set is None:
                raise ValueError(f"{where}: {key} are given without a label_set to name them")
            if highest >= len(self.label_set):
                raise ValueError(
                    f"{where}: {key} hold class {highest}, but set {self.label_set.name} has only "
                    f"{len(self.label_set)} classes"
                )


def _check_indices(where: str, key: str, values: Tensor | None, count: int) -> None:
    if values is None:
        return
    if values.dtype != torch.int64 or tuple(values.shape) != (count,):
        raise ValueError(
            f"{where}: {key} are {values.dtype} {tuple(values.shape)}, expected torch.int64 "
            f"({count},)"
        )
    if count and int(values.min()) < -1:
        raise ValueError(f"{where}: {key} hold {int(values.min())}, expected -1 or more")
