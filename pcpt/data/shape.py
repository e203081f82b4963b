"""The one contract between single shapes on disk and the methods and tasks that learn from them:
a ShapeSet hands out Shapes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Shape:
    """A cloud of one object.

    Attributes:
        name: unique within its data set.
        points: (N, 3) float32, finite, at least one; in the model's own units and axes.
        normals: (N, 3) float32, unit length or zero where unknown, or None.
        label: class index; -1 is no label.
        parts: (N,) int64, part index over all classes (global); -1 is no label; None without parts.

    Raises:
        ValueError: a dtype or shape that differs from the above, no points, or a value that is not
            finite.
    """

    name: str
    points: Tensor
    normals: Tensor | None = None
    label: int = -1
    parts: Tensor | None = None

    def __post_init__(self) -> None:
        count = self.points.shape[0]
        self._check("points", self.points, torch.float32, (count, 3))
        if self.normals is not None:
            self._check("normals", self.normals, torch.float32, (count, 3))
        if self.parts is not None:
            self._check("parts", self.parts, torch.int64, (count,))
        if count == 0:
            raise ValueError(f"shape {self.name} has no points")
        if self.label < -1:
            raise ValueError(f"shape {self.name}: label is {self.label}, expected -1 or a class")

    def _check(self, name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple) -> None:
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            raise ValueError(
                f"shape {self.name}: {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"expected {dtype} {shape}"
            )
        if not dtype.is_floating_point:
            return
        wrong = (~tensor.isfinite()).any(1).nonzero()[:, 0]
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"shape {self.name}: {name} hold {tensor[row].tolist()} at row {row} "
                f"({len(wrong)} of {len(tensor)} rows are not finite); mend or delete its file"
            )


class ShapeSet(ABC):
    """Shapes of one split, read one at a time.

    A source subclasses it, fills the attributes and implements ``load``.

    Attributes:
        names: of the shapes, in the order of the split's list.
        classes: names of the classes that labels are places in; empty without labels.
        part_names: of the global parts; empty without parts.
        parts_of_class: for each class the parts its points may have; empty without parts.
        parts_within_class: whether its files count the parts of each class from 0, as messages then
            do; those of a class are in a row.
        has_normals: whether shapes come with normals.
        up: direction of the models' top in their own axes.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    part_names: tuple[str, ...] = ()
    parts_of_class: tuple[tuple[int, ...], ...] = ()
    parts_within_class: bool = False
    has_normals: bool = False
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def load(self, name: str) -> Shape:
        """Reads one shape.

        Args:
            name: one of ``names``.

        Raises:
            FileNotFoundError: a file of the shape is not there.
            ValueError: no such name, or a file that cannot be used; names it and the remedy.
        """

    def label_of(self, name: str) -> int:
        """Class index of a shape, -1 without a label; sources that know it from names or lists
        answer without reading the shape."""
        return self.load(name).label

    @property
    def has_meshes(self) -> bool:
        """Whether shapes come with meshes: whether the source implements ``mesh``. No file is read,
        so that a damaged one is not taken for one that should not be there."""
        return type(self).mesh is not ShapeSet.mesh

    def where_parts(self, name: str) -> str:
        """Where the parts of a shape are read from, for messages."""
        return f"the parts of shape {name!r}"

    def mesh(self, name: str) -> tuple[Tensor, Tensor]:
        """The surface of a shape, in the axes and units of its points. A source that implements
        this has the meshes of all its shapes.

        Returns:
            vertices: (V, 3) float32.
            faces: (F, 3) int64, triangles.

        Raises:
            FileNotFoundError: a file of the shape is not there.
            ValueError: this source has clouds alone, or a file that cannot be used.
        """
        raise ValueError(
            f"{type(self).__name__} has no meshes; take a source that does, such as modelnet_off "
            "or procedural_shapes, or render the points' depth"
        )


class ListedShapeSet(ShapeSet):
    """Base of sources that know every shape's class from a list, before any is read.

    Attributes:
        source: its registered name, for messages.
        labels: class index by name, in the order of ``names``.
    """

    source: str
    labels: dict[str, int]

    def label_of(self, name: str) -> int:
        if name not in self.labels:
            raise ValueError(f"{self.source} has no shape {name!r}; its names lists them")
        return self.labels[name]


def check_parts(origin: str, shape: Shape, shapes: ShapeSet) -> Shape:
    """The shape itself, once its parts are known to be parts of its class.

    Args:
        origin: its file, for messages.
        shape: just read.
        shapes: the set it belongs to.

    Raises:
        ValueError: a part that its class does not have.
    """
    if shape.parts is None or shape.label < 0 or not shapes.parts_of_class:
        return shape
    allowed = shapes.parts_of_class[shape.label]
    before = shapes.parts_of_class[: shape.label] if shapes.parts_within_class else ()
    first = sum(map(len, before))
    values, counts = shape.parts.unique(return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if value != -1 and value not in allowed:
            found = value - first if value >= 0 else value
            known = ", ".join(str(part - first) for part in allowed)
            raise ValueError(
                f"{origin}: {count} of {len(shape.parts)} points have part {found}, but class "
                f"{shapes.classes[shape.label]} has {f'the parts {known}' if known else 'no parts'}"
            )
    return shape
