"""The one contract between labelled 3D scenes on disk and the tasks that train and test on them:
a SceneSet hands out Scenes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet


def _identity() -> Tensor:
    return torch.eye(4, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes around objects, upright in the scene's frame.

    Attributes:
        centers: (B, 3) float32, metres.
        sizes: (B, 3) float32, metres: whole extents along the box's own axes, not halves.
        headings: (B,) float32, radians about ``up`` by which a box is turned; 0 in ScanNet.
        labels: (B,) int64, class index.
        instances: (B,) int64, the value of ``Scene.instances`` that a box is around; -1 unknown.

    Raises:
        ValueError: a dtype or shape that differs from the above.
    """

    centers: Tensor
    sizes: Tensor
    headings: Tensor
    labels: Tensor
    instances: Tensor

    def __post_init__(self) -> None:
        count = self.labels.shape[0]
        _check("boxes", "centers", self.centers, torch.float32, (count, 3))
        _check("boxes", "sizes", self.sizes, torch.float32, (count, 3))
        _check("boxes", "headings", self.headings, torch.float32, (count,))
        _check("boxes", "labels", self.labels, torch.int64, (count,))
        _check("boxes", "instances", self.instances, torch.int64, (count,))

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @staticmethod
    def none() -> "Boxes":
        """No boxes."""
        zeros = torch.zeros
        whole = torch.zeros(0, dtype=torch.int64)
        return Boxes(zeros(0, 3), zeros(0, 3), zeros(0), whole, whole)


@dataclass(frozen=True, eq=False)
class Scene:
    """A labelled cloud or mesh.

    A label is the place of a class in the label set, 0 to C - 1. **-1 is no label**: unannotated,
    or of a class outside the set. It is what this toolkit uses for every invalid index, and goes to
    losses as ``ignore_index=-1``; 255, the convention of 8-bit label images, never appears here.

    Attributes:
        name: unique within its data set.
        points: (N, 3) float32, metres, finite.
        semantic: (N,) int64, class index or -1.
        instances: (N,) int64, 0 to I - 1 counts the objects of a scene; -1 belongs to none. An
            instance has a number whether or not its class is in the label set.
        boxes: around the instances whose class is in the label set.
        colors: (N, 3) uint8, RGB, or None.
        normals: (N, 3) float32, unit length or zero where unknown, or None.
        faces: (F, 3) int64, triangles of ``points``, or None.
        up: (3,) float64 unit vector against gravity, or None where unknown.
        world_to_scene: (4, 4) float64, from the frame of the recording's poses to that of
            ``points``; they differ where a data set turns its scenes along their walls.
        split: "train", "val", "test", or empty where the data set does not say.
        unknown_labels: number of points by the name of a label that the data set's own table does
            not know; they have label -1.

    Raises:
        ValueError: a dtype, shape, index or point that differs from the above.
    """

    name: str
    points: Tensor
    semantic: Tensor
    instances: Tensor
    boxes: Boxes = field(default_factory=Boxes.none)
    colors: Tensor | None = None
    normals: Tensor | None = None
    faces: Tensor | None = None
    up: Tensor | None = None
    world_to_scene: Tensor = field(default_factory=_identity)
    split: str = ""
    unknown_labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where, count = f"scene {self.name}", self.points.shape[0]
        _check(where, "points", self.points, torch.float32, (count, 3))
        finite = torch.isfinite(self.points).all(1)
        if not bool(finite.all()):
            raise ValueError(
                f"{where}: {int((~finite).sum())} of {count} points hold inf or nan, the first is "
                f"point {int(finite.int().argmin())}; leave them out or mend the file"
            )
        _check(where, "semantic", self.semantic, torch.int64, (count,))
        _check(where, "instances", self.instances, torch.int64, (count,))
        _check(where, "world_to_scene", self.world_to_scene, torch.float64, (4, 4))
        for name, tensor, dtype, shape in (
            ("colors", self.colors, torch.uint8, (count, 3)),
            ("normals", self.normals, torch.float32, (count, 3)),
            ("up", self.up, torch.float64, (3,)),
        ):
            if tensor is not None:
                _check(where, name, tensor, dtype, shape)
        if self.faces is not None:
            _check(where, "faces", self.faces, torch.int64, (self.faces.shape[0], 3))
        for name, indices in (("semantic", self.semantic), ("instances", self.instances)):
            if count and int(indices.min()) < -1:
                raise ValueError(
                    f"{where}: {name} holds {int(indices.min())}, expected -1 or a class index"
                )


class BrokenScene(ValueError):
    """One of a data set's many images cannot be used as a scene; others may."""


class SceneSet(ABC):
    """Labelled scenes of one split, read one at a time.

    A source subclasses it, fills the attributes and implements ``load``.

    Attributes:
        names: of the scenes, in the order of the split's list.
        label_set: the classes that labels are places in.
    """

    names: Sequence[str]
    label_set: LabelSet

    def __len__(self) -> int:
        return len(self.names)

    def folder_of(self, name: str) -> Path | None:
        """Folder with one scene's files, and no other scene's; None where there is none."""
        return None

    @abstractmethod
    def load(self, name: str) -> Scene:
        """Reads one scene.

        Args:
            name: one of ``names``.

        Raises:
            FileNotFoundError: a file of the scene is not there.
            ValueError: a file that cannot be used; names it, the place and the remedy. Sets of
                thousands of images raise its kind ``BrokenScene``: such a scene is passed over.
        """


def _check(where: str, name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple) -> None:
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{where}: {name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}"
        )
