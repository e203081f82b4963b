"""Shapes in npz files: a file a split, or a file a shape."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePath

import numpy as np
import torch

from pcpt.data.array_shapes import ArrayFile, ArrayShapeSet
from pcpt.data.file_names import names_of_files
from pcpt.data.scan_list import read_scan_list
from pcpt.data.shape import Shape, ShapeSet, check_parts
from pcpt.data.shape_files import read_npz, root_folder
from pcpt.registry import register

TOGETHER = {
    "points": ("f", 3), "label": ("iu", 1), "name": ("U", 1), "normals": ("f", 3), "part": ("iu", 2)
}  # fmt: skip
SINGLE = {"points": ("f", 2), "label": ("iu", 0), "normals": ("f", 2), "part": ("iu", 1)}


@register("datasets", "shape_npz")
class ShapeNpz:
    """A folder with ``train.npz``, ``test.npz`` and ``classes.txt``, or with an npz file a shape.

    A file of a split holds ``points`` (S, N, 3) floating, ``label`` (S,) and optionally ``name``
    (S,) text, ``normals`` (S, N, 3) and ``part`` (S, N); one of a single shape ``points`` (N, 3),
    and optionally ``label`` (), ``normals`` (N, 3) and ``part`` (N,). Parts are counted within
    their class, -1 is no label. A single shape's name is its file's, with the folders before it
    where several files are called alike. Nothing is unpickled.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder.
        split: name of the file, SPLIT.npz.
        files: pattern of the files of single shapes, such as ``cap_0[0-7].npz`` or ``*/*.npz``;
            empty takes the file of the split.
        classes: names of the classes; empty reads ``classes.txt`` in root. Single shapes without a
            ``label`` are of the first.
        num_parts: of each class; empty without parts.
        up: direction of the models' top.
        """

        name: str = "shape_npz"
        root: str = ""
        split: str = "train"
        files: str = ""
        classes: list[str] = field(default_factory=list)
        num_parts: list[int] = field(default_factory=list)
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: options that do not fit each other.
        """
        if config.classes and config.num_parts and len(config.classes) != len(config.num_parts):
            raise ValueError(
                f"num_parts names {len(config.num_parts)} numbers, expected one for each of the "
                f"{len(config.classes)} classes"
            )
        pattern = PurePath(config.files)
        if config.files and (pattern.is_absolute() or not pattern.parts or ".." in pattern.parts):
            raise ValueError(
                f"data.source.files is {config.files!r}, expected a pattern of files below root, "
                "such as */*.npz; give their folder as data.source.root"
            )
        if len(config.up) != 3 or not any(config.up):
            raise ValueError(f"up is {list(config.up)}, expected a direction of 3 numbers")
        self.config = config

    def open(self) -> ShapeSet:
        """The shapes of the split: read at once from its file, or one by one from single files.

        Raises:
            FileNotFoundError: root, its files or ``classes.txt`` are not there.
            ValueError: a damaged file.
        """
        config = self.config
        root = root_folder("shape_npz", config.root)
        classes = list(config.classes) or read_scan_list(root / "classes.txt")
        ends = np.cumsum([0, *config.num_parts]).tolist()
        parts_of_class = [list(range(a, b)) for a, b in pairwise(ends)]
        if parts_of_class and len(parts_of_class) != len(classes):
            raise ValueError(
                f"shape_npz: num_parts names {len(parts_of_class)} numbers, expected one for each "
                f"of the {len(classes)} classes in {root / 'classes.txt'}"
            )
        if config.files:
            return SingleShapeSet(root, config, classes, parts_of_class)
        file = _read_split(root / f"{config.split}.npz", parts_of_class)
        return ArrayShapeSet(
            [file],
            classes,
            up=_direction(config.up),
            part_names=_part_names(classes, parts_of_class),
            parts_of_class=parts_of_class,
            parts_within_class=True,
        )


class SingleShapeSet(ShapeSet):
    """What ``ShapeNpz`` opens of files of single shapes."""

    parts_within_class = True

    def __init__(
        self,
        root: Path,
        config: ShapeNpz.Config,
        classes: list[str],
        parts_of_class: list[list[int]],
    ) -> None:
        files = sorted(root.glob(config.files))
        if not files:
            raise FileNotFoundError(f"shape_npz: {root} has no file {config.files}")
        self.names = names_of_files(root, files)
        self._files = dict(zip(self.names, files, strict=True))
        self.classes = tuple(classes)
        self.parts_of_class = tuple(map(tuple, parts_of_class))
        self.part_names = tuple(_part_names(classes, parts_of_class))
        self.up = _direction(config.up)
        first = read_npz(files[0], SINGLE)
        self.has_normals = "normals" in first

    def where_parts(self, name: str) -> str:
        return f"'part' of {self._files.get(name)}"

    def load(self, name: str) -> Shape:
        if name not in self._files:
            raise ValueError(f"shape_npz has no shape {name!r}; its names lists them")
        path = self._files[name]
        arrays = read_npz(path, SINGLE)
        if "points" not in arrays:
            raise ValueError(f"{path} holds no 'points'")
        if self.has_normals and "normals" not in arrays:
            raise ValueError(f"{path} holds no 'normals', which {self._files[self.names[0]]} does")
        label = int(arrays["label"]) if "label" in arrays else 0
        if not 0 <= label < len(self.classes):
            raise ValueError(f"{path}: label {label}, but there are {len(self.classes)} classes")
        parts = normals = None
        if self.parts_of_class and "part" in arrays:
            first = _first_parts(self.parts_of_class)[label]
            parts = torch.from_numpy(_counted_over_all(arrays["part"], first))
        if self.has_normals:
            normals = torch.from_numpy(arrays["normals"].astype(np.float32))
        points = torch.from_numpy(arrays["points"].astype(np.float32))
        try:
            shape = Shape(name, points, normals, label, parts)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return check_parts(str(path), shape, self)


def _read_split(path: Path, parts_of_class: list[list[int]]) -> ArrayFile:
    arrays = read_npz(path, TOGETHER)
    for name in ("points", "label"):
        if name not in arrays:
            raise ValueError(f"{path} holds no {name!r}")
    label = arrays["label"].astype(np.int64)
    names = arrays.get("name")
    listed = [f"{path.stem}_{row:05d}" for row in range(len(label))]
    if names is not None:
        listed = [str(name) for name in names]
    parts = arrays.get("part")
    if parts is not None:
        if not parts_of_class:
            parts = None
        elif len(parts) == len(label) and label.max(initial=0) < len(parts_of_class):
            parts = _counted_over_all(parts, _first_parts(parts_of_class)[label][:, None])
    return ArrayFile(path, listed, arrays["points"], label, arrays.get("normals"), parts)


def _first_parts(parts_of_class: Sequence[Sequence[int]]) -> np.ndarray:
    """(C,) where the parts of each class begin, for classes without parts too."""
    return np.cumsum([0, *map(len, parts_of_class)])[:-1]


def _counted_over_all(part: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Parts counted within a class, whose first is ``first``, over all classes; -1 stays."""
    part = part.astype(np.int64)
    return np.where(part < 0, part, part + first)


def _part_names(classes: list[str], parts_of_class: list[list[int]]) -> list[str]:
    return [
        f"{name}/{place}"
        for name, members in zip(classes, parts_of_class, strict=False)
        for place in range(len(members))
    ]


def _direction(up: list[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in up)
    return x, y, z
