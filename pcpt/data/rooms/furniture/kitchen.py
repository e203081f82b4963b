"""Kitchen runs: base cabinets, worktop, sink, cooker and wall cabinets as one row along a wall."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import itertools

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture.bath import _plate_around, tap
from pcpt.data.rooms.furniture.storage import doors, front
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator
DEPTH = 0.62


def kitchen_run(
    rng: Rng, length: float, with_sink: bool, style: tuple[Material, Material]
) -> list[Thing]:
    """A row of base cabinets under a worktop, with or without a sink.

    Args:
        rng: draws everything else.
        length: along the wall, metres.
        with_sink: whether a sink is let into the worktop.
        style: materials of the fronts and of the worktop, the same for all rows of a kitchen.
    """
    fronts, top = style
    high = rng.uniform(0.86, 0.94)
    thick = 0.04
    body = [Part(shapes.slab(length, DEPTH - 0.05, 0.1, high - thick - 0.2), fronts)]
    body.append(Part(shapes.slab(length - 0.01, DEPTH - 0.1, 0.0, 0.11), fronts))
    body.append(Part(shapes.slab(length, 0.02, high - thick - 0.2, high - thick), fronts))
    strip = shapes.box(
        (-length / 2, DEPTH - 0.07, high - thick - 0.2), (length / 2, DEPTH - 0.05, high - thick)
    )
    body.append(Part(strip, fronts))
    for x in (-length / 2, length / 2 - 0.02):
        body.append(
            Part(
                shapes.box((x, 0.02, high - thick - 0.2), (x + 0.02, DEPTH - 0.07, high - thick)),
                fronts,
            )
        )
    body += _fronts(rng, length, high - thick, fronts)
    things = []
    if with_sink:
        width, depth = min(rng.uniform(0.5, 0.8), length - 0.3), rng.uniform(0.38, 0.44)
        at = rng.uniform(-length / 2 + width / 2 + 0.1, length / 2 - width / 2 - 0.1)
        ware = (
            materials.plain((0.68, 0.69, 0.7), rng, 0.2)
            if rng.random() < 0.6
            else materials.white_ware(rng)
        )
        bowl = _kitchen_bowl(width, depth, high) + [at, 0.11, 0]
        things.append(Thing("kitchen sink", (Part(bowl, ware), *tap(rng, at, 0.07, high, 0.18))))
        plates = _shifted_plate(length, high - thick, high, width, depth, at)
    else:
        plates = shapes.slab(length, DEPTH, high - thick, high)
    counter = [Part(plates, top)]
    if rng.random() < 0.5:  # splash back
        counter.append(Part(shapes.slab(length, 0.015, high, high + 0.08), top))
    return [
        Thing("kitchen counter", tuple(counter)),
        Thing("kitchen cabinets", tuple(body)),
        *things,
    ]


def _kitchen_bowl(width: float, depth: float, high: float) -> np.ndarray:
    oval = (width / 2, depth / 2)
    profile = [
        (0.9, high - 0.19),
        (0.93, high - 0.02),
        (1.0, high + 0.002),
        (0.98, high + 0.006),
        (0.9, high + 0.004),
        (0.86, high - 0.1),
        (0.8, high - 0.17),
    ]
    return shapes.turned(profile, 20, oval, 0.9) + [0, depth / 2, 0]


def _shifted_plate(
    length: float, low: float, high: float, width: float, depth: float, at: float
) -> np.ndarray:
    """The worktop with its hole at x = ``at``."""
    reach = length / 2 - abs(at)
    plates = _plate_around(2 * reach, DEPTH, low, high, width, depth, 0.11) + [at, 0, 0]
    if abs(at) < 1e-3:
        return plates
    ends = sorted((-np.sign(at) * length / 2, at - np.sign(at) * reach))
    return np.concatenate([plates, shapes.box((ends[0], 0, low), (ends[1], DEPTH, high))])


def _fronts(rng: Rng, length: float, high: float, material: Material) -> list[Part]:
    parts = []
    count = max(1, round(length / 0.55))
    edges = np.linspace(-length / 2, length / 2, count + 1)
    for left, right in itertools.pairwise(edges):
        draw = rng.random()
        if draw < 0.3:
            for a, b in zip(np.linspace(0.11, high, 4)[:-1], np.linspace(0.11, high, 4)[1:]):
                parts += front(rng, left, right, a, b, DEPTH - 0.03, material, "drawer")
        else:
            low = high
            if draw < 0.6:
                low = high - 0.17
                parts += front(rng, left, right, low, high, DEPTH - 0.03, material, "drawer")
            parts += front(rng, left, right, 0.11, low, DEPTH - 0.03, material, "door")
    return parts


def wall_cabinets(rng: Rng, length: float, fronts: Material) -> list[Thing]:
    """Cabinets hung above the worktop."""
    low, high, depth = rng.uniform(1.38, 1.48), rng.uniform(2.05, 2.25), rng.uniform(0.32, 0.38)
    parts = [Part(shapes.slab(length, depth - 0.02, low, high), fronts)]
    parts += doors(rng, -length / 2, length / 2, low, high, depth, fronts, 0.45)
    return [Thing("kitchen cabinets", tuple(parts))]


def stove(rng: Rng) -> list[Thing]:
    """A cooker with an oven door and four plates."""
    width, high = rng.uniform(0.55, 0.62), rng.uniform(0.88, 0.93)
    body = materials.white_ware(rng) if rng.random() < 0.5 else materials.metal(rng)
    black = materials.plain((0.07, 0.07, 0.08), rng, 0.3)
    parts = [Part(shapes.slab(width, DEPTH - 0.02, 0.0, high - 0.01), body)]
    parts.append(Part(shapes.slab(width, DEPTH - 0.02, high - 0.01, high), black))
    parts.append(
        Part(
            shapes.box(
                (-width / 2 + 0.05, DEPTH - 0.02, 0.28), (width / 2 - 0.05, DEPTH - 0.008, 0.66)
            ),
            black,
        )
    )
    parts.append(
        Part(
            shapes.rod(
                (-width / 2 + 0.07, DEPTH + 0.01, 0.72),
                (width / 2 - 0.07, DEPTH + 0.01, 0.72),
                0.01,
            ),
            body,
        )
    )
    for x in (-0.14, 0.14):
        for y in (0.16, 0.43):
            plate = shapes.turned([(0.08, high), (0.08, high + 0.008)], 12)
            parts.append(Part(plate + [x, y, 0], body if rng.random() < 0.3 else black))
    for x in np.linspace(-width / 2 + 0.1, width / 2 - 0.1, 5):
        parts.append(
            Part(
                shapes.rod((x, DEPTH - 0.025, high - 0.07), (x, DEPTH + 0.005, high - 0.07), 0.018),
                black,
            )
        )
    return [Thing("stove", tuple(parts))]
