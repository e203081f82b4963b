"""Mugs and bottles."""

import numpy as np

from pcpt.data.rooms.shapes import loft, turned
from pcpt.data.shape_models.model import Part

Rng = np.random.RandomState
SIDES = 24


def mug(rng: Rng) -> list[Part]:
    """A hollow body with a handle on one side."""
    radius, height = rng.uniform(0.035, 0.05), rng.uniform(0.07, 0.12)
    lip = radius * rng.uniform(0.9, 1.25)
    wall = rng.uniform(0.003, 0.006)
    profile = [
        (radius * rng.uniform(0.7, 1.0), 0.0), (radius, height * 0.15), (lip, height),
        (lip - wall, height), (radius - wall, height * 0.2), (radius * 0.6, wall),
    ]  # fmt: skip
    return [("body", turned(profile, SIDES)), ("handle", _handle(rng, radius, height))]


def _handle(rng: Rng, radius: float, height: float) -> np.ndarray:
    """Half a ring in the plane y = 0, its ends inside the wall."""
    reach, rise = rng.uniform(0.022, 0.038), height * rng.uniform(0.25, 0.36)
    thick = rng.uniform(0.004, 0.007)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 11)
    round_it = np.arange(8) * (np.pi / 4)
    rings = []
    for angle in angles:
        outward = np.array([np.cos(angle), 0.0, np.sin(angle)])
        middle = [radius * 0.97 + reach * outward[0], 0.0, height * 0.52 + rise * outward[2]]
        across = np.outer(np.cos(round_it), outward) + np.outer(np.sin(round_it), [0, 1.0, 0])
        rings.append(middle + thick * across)
    return loft(np.array(rings))


def bottle(rng: Rng) -> list[Part]:
    """Round or square, its shoulder sloping into a neck under a cap."""
    radius, height = rng.uniform(0.03, 0.06), rng.uniform(0.12, 0.24)
    neck_radius = radius * rng.uniform(0.25, 0.5)
    shoulder, neck = rng.uniform(0.02, 0.08), rng.uniform(0.02, 0.09)
    squareness = float(rng.choice([0.0, 0.0, 0.8]))
    body = turned(
        [(radius * 0.95, 0.0), (radius, 0.006), (radius, height),
         ((radius + 2 * neck_radius) / 3, height + shoulder * 0.8),
         (neck_radius, height + shoulder)],
        SIDES,
        squareness=squareness,
    )  # fmt: skip
    start = height + shoulder
    pipe = turned([(neck_radius, start), (neck_radius * 0.9, start + neck)], SIDES)
    cap_radius, cap = neck_radius * rng.uniform(1.05, 1.25), rng.uniform(0.012, 0.03)
    lid = turned([(cap_radius, start + neck), (cap_radius * 0.95, start + neck + cap)], SIDES)
    return [("body", body), ("neck", pipe), ("cap", lid)]
