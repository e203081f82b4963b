"""Shapes that lie together in arrays, as HDF5 and npz files hold them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from pcpt.data.shape import Shape, ShapeSet, check_parts


class ArrayFile(NamedTuple):
    """The shapes of one file.

    Attributes:
        path: of the file.
        names: (S,) of its shapes.
        points: (S, N, 3) floating.
        label: (S,) whole numbers.
        normals: (S, N, 3) floating, or None.
        parts: (S, N) whole numbers, or None.
    """

    path: Path
    names: Sequence[str]
    points: np.ndarray
    label: np.ndarray
    normals: np.ndarray | None = None
    parts: np.ndarray | None = None


class ArrayShapeSet(ShapeSet):
    """Shapes of one or several files, all in memory.

    Args:
        files: at least one.
        classes: names of the classes.
        up: see ``ShapeSet``.
        part_names, parts_of_class, parts_within_class: see ``ShapeSet``.

    Raises:
        ValueError: arrays that do not fit each other, a class that there is not, or a name twice.
    """

    def __init__(
        self,
        files: Sequence[ArrayFile],
        classes: Sequence[str],
        *,
        up: tuple[float, float, float] = (0.0, 0.0, 1.0),
        part_names: Sequence[str] = (),
        parts_of_class: Sequence[Sequence[int]] = (),
        parts_within_class: bool = False,
    ) -> None:
        self.classes = tuple(classes)
        self.up = up
        self.part_names = tuple(part_names)
        self.parts_of_class = tuple(tuple(parts) for parts in parts_of_class)
        self.parts_within_class = parts_within_class
        self.has_normals = all(file.normals is not None for file in files)
        self._places: dict[str, tuple[ArrayFile, int]] = {}
        for file in files:
            _check(file, len(self.classes))
            for row, name in enumerate(file.names):
                if name in self._places:
                    other = self._places[name][0].path
                    raise ValueError(f"{file.path}: shape {name!r} is in {other} already")
                self._places[name] = file, row
        self.names = list(self._places)

    def _place(self, name: str) -> tuple[ArrayFile, int]:
        if name not in self._places:
            raise ValueError(f"there is no shape {name!r}; names lists the {len(self)} there are")
        return self._places[name]

    def label_of(self, name: str) -> int:
        file, row = self._place(name)
        return int(file.label[row])

    def where_parts(self, name: str) -> str:
        return f"'part' of {self._place(name)[0].path}"

    def load(self, name: str) -> Shape:
        file, row = self._place(name)
        normals = file.normals[row] if self.has_normals and file.normals is not None else None
        try:
            shape = Shape(
                name,
                torch.from_numpy(file.points[row].astype(np.float32)),
                None if normals is None else torch.from_numpy(normals.astype(np.float32)),
                int(file.label[row]),
                None if file.parts is None else torch.from_numpy(file.parts[row].astype(np.int64)),
            )
        except ValueError as error:
            raise ValueError(f"{file.path} row {row}: {error}") from error
        return check_parts(f"{file.path} row {row}", shape, self)


def _check(file: ArrayFile, num_classes: int) -> None:
    count, size = len(file.label), file.points.shape[1]
    for name, array, shape in (
        ("points", file.points, (count, size, 3)),
        ("normals", file.normals, (count, size, 3)),
        ("parts", file.parts, (count, size)),
    ):
        if array is not None and array.shape != shape:
            raise ValueError(
                f"{file.path}: {name} is {array.shape}, expected {shape} for {count} labels"
            )
    if len(file.names) != count:
        raise ValueError(f"{file.path}: {len(file.names)} names but {count} labels")
    wrong = np.flatnonzero((file.label < 0) | (file.label >= num_classes))
    if len(wrong):
        raise ValueError(
            f"{file.path}: label {file.label[wrong[0]]} of shape {file.names[int(wrong[0])]} "
            f"({len(wrong)} such labels), but there are {num_classes} classes"
        )
