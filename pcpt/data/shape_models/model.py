"""What a parametric model is, and the mesh of one of its shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcpt.data.rooms.shapes import Quads

Part = tuple[str, Quads]  # name, (Q, 4, 3) corners of a closed skin


@dataclass(frozen=True)
class Model:
    """One kind of object.

    Attributes:
        name: of the class.
        parts: names of its parts; a shape need not have all.
        build: draws one shape, as closed skins with the names of their parts.
    """

    name: str
    parts: tuple[str, ...]
    build: Callable[[np.random.RandomState], list[Part]]


class ModelMesh(NamedTuple):
    """A shape as triangles.

    Attributes:
        vertices: (V, 3) float32.
        faces: (F, 3) int64, counter-clockwise seen from outside.
        part: (F,) int64, place in the model's ``parts``.
    """

    vertices: np.ndarray
    faces: np.ndarray
    part: np.ndarray


def mesh_of(model: Model, random: np.random.RandomState) -> ModelMesh:
    """Draws one shape of a model."""
    skins = model.build(random)
    quads = np.concatenate([skin for _, skin in skins])
    part = np.concatenate([np.full(len(skin), model.parts.index(name)) for name, skin in skins])
    corner = np.arange(4 * len(quads)).reshape(-1, 4)
    faces = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]])
    return ModelMesh(quads.reshape(-1, 3).astype(np.float32), faces, np.tile(part, 2))
