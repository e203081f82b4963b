"""A Thing is one labelled object, put together from parts of one material each. Furniture is made
in its own frame: on the floor, centred in x, its back at y = 0 and its front towards +y."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcpt.data.rooms import shapes
from pcpt.data.rooms.materials import Material


@dataclass(frozen=True)
class Part:
    """A closed shape (Q, 4, 3) of one material, metres."""

    quads: np.ndarray
    material: Material


@dataclass(frozen=True)
class Thing:
    """One object.

    Attributes:
        label: a raw category of the label table.
        parts: what it is made of.
        heading: radians, the direction of its own x axis; boxes are turned by it.
    """

    label: str
    parts: tuple[Part, ...]
    heading: float = 0.0

    def moved(self, angle: float, offset: Sequence[float]) -> "Thing":
        """Turned by ``angle`` about z through the origin, then shifted."""
        parts = tuple(
            replace(p, quads=shapes.rotated(p.quads, angle) + np.asarray(offset))
            for p in self.parts
        )
        return replace(self, parts=parts, heading=self.heading + angle)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (3,) along the axes."""
        return bounds([self])


def thing(label: str, *parts: tuple[np.ndarray, Material]) -> Thing:
    """A Thing from (quads, material) pairs."""
    return Thing(label, tuple(Part(quads, material) for quads, material in parts))


def bounds(things: Iterable[Thing]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) of several things together."""
    quads = [part.quads.reshape(-1, 3) for one in things for part in one.parts]
    low = np.min([points.min(0) for points in quads], axis=0)
    high = np.max([points.max(0) for points in quads], axis=0)
    return low, high


def moved(things: Iterable[Thing], angle: float, offset: Sequence[float]) -> list[Thing]:
    """Several things turned about z and shifted together."""
    return [one.moved(angle, offset) for one in things]


def centred(things: Sequence[Thing]) -> list[Thing]:
    """Shifted so that the middle of the footprint is at the origin."""
    low, high = bounds(things)
    middle = (low + high) / 2
    return moved(things, 0.0, (-middle[0], -middle[1], 0.0))
