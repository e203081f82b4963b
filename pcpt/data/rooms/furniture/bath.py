"""Bathroom fittings: toilets, sinks, bathtubs, shower curtains, towels."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture.storage import doors
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def toilet(rng: Rng) -> list[Thing]:
    """A toilet with cistern, or hung on the wall; lid down or up."""
    ware = materials.white_ware(rng)
    lid_material = ware if rng.random() < 0.7 else materials.board(rng)
    width, seat = rng.uniform(0.35, 0.40), rng.uniform(0.38, 0.44)
    long = rng.uniform(0.44, 0.5)
    back = 0.20
    middle = np.array([0.0, back + long / 2, 0.0])
    oval = (width / 2, long / 2)
    hung = rng.random() < 0.25
    foot = [(0.45, 0.14), (0.5, 0.16)] if hung else [(0.58, 0.0), (0.55, 0.08), (0.6, 0.2)]
    profile = [
        *foot,
        (0.9, seat - 0.06),
        (1.0, seat - 0.02),
        (0.98, seat),
        (0.72, seat),
        (0.62, seat - 0.09),
        (0.3, seat - 0.2),
    ]
    parts = [Part(shapes.turned(profile, 16, oval, 0.15) + middle, ware)]
    parts.append(
        Part(shapes.slab(width * 0.75, back + 0.12, 0.12 if hung else 0.02, seat - 0.01), ware)
    )
    lid = (
        shapes.turned(
            [(0.97, seat + 0.005), (1.0, seat + 0.02), (0.95, seat + 0.035)], 16, oval, 0.15
        )
        + middle
    )
    if rng.random() < 0.45:
        lid = shapes.rotated(lid, np.radians(98), (0, back - 0.01, seat + 0.02), axis=0) + [
            0,
            0.04,
            0,
        ]
        ring = shapes.turned(
            [(0.99, seat), (1.0, seat + 0.02), (0.75, seat + 0.02), (0.7, seat + 0.005)],
            16,
            oval,
            0.15,
        )
        parts.append(Part(ring + middle, lid_material))
    parts.append(Part(lid, lid_material))
    if hung:
        parts.append(Part(shapes.slab(width + 0.12, 0.14, 0.0, rng.uniform(0.95, 1.15)), ware))
    else:
        tank = shapes.cushion(
            (-width / 2 - 0.02, 0.0, seat - 0.02),
            (width / 2 + 0.02, back - 0.02, seat + rng.uniform(0.32, 0.4)),
            0.96,
        )
        parts.append(Part(tank, ware))
    return [Thing("toilet", tuple(parts))]


def basin(width: float, depth: float, rim: float, deep: float, squareness: float) -> np.ndarray:
    """A bowl sunk below ``rim``, centred at y = depth / 2."""
    oval = (width / 2, depth / 2)
    profile = [
        (0.55, rim - deep - 0.02),
        (0.9, rim - deep * 0.7),
        (0.97, rim - 0.012),
        (1.0, rim),
        (0.88, rim + 0.004),
        (0.82, rim - deep * 0.5),
        (0.5, rim - deep),
    ]
    return shapes.turned(profile, 20, oval, squareness) + [0, depth / 2, 0]


def tap(rng: Rng, x: float, y: float, low: float, reach: float) -> list[Part]:
    """A mixer tap that reaches forward."""
    steel = materials.plain((0.75, 0.76, 0.78), rng, loss=0.3)
    height = rng.uniform(0.1, 0.24)
    return [
        Part(shapes.rod((x, y, low), (x, y, low + height), 0.014), steel),
        Part(
            shapes.rod((x, y, low + height - 0.01), (x, y + reach, low + height - 0.03), 0.011),
            steel,
        ),
    ]


def sink(rng: Rng) -> list[Thing]:
    """A washbasin: on a cabinet, on a pedestal, or on the wall."""
    width, depth, rim = rng.uniform(0.42, 0.62), rng.uniform(0.38, 0.48), rng.uniform(0.80, 0.90)
    ware = materials.white_ware(rng)
    square = float(rng.choice((0.0, 0.25, 0.7)))
    bowl = [Part(basin(width, depth, rim, 0.16, square) + [0, 0.05, 0], ware)]
    bowl += tap(rng, 0.0, 0.045, rim, 0.13)
    style = rng.integers(3)
    if style == 0:  # vanity
        wide = width + rng.uniform(0.1, 0.5)
        body = materials.board(rng)
        deep = depth + 0.12
        counter = _plate_around(wide, deep, rim - 0.03, rim - 0.002, width, depth, 0.05)
        vanity = [Part(counter, materials.stone(rng))]
        box = [Part(shapes.slab(wide - 0.02, deep - 0.04, 0.1, rim - 0.2), body)]
        box += [Part(shapes.slab(wide - 0.02, 0.02, rim - 0.2, rim - 0.03), body)]
        for x in (-1, 1):
            ends = sorted((x * (wide / 2 - 0.01), x * (wide / 2 - 0.03)))
            box.append(
                Part(shapes.box((ends[0], 0, rim - 0.2), (ends[1], deep - 0.04, rim - 0.03)), body)
            )
        box.append(
            Part(
                shapes.box(
                    (-wide / 2 + 0.01, deep - 0.06, rim - 0.2),
                    (wide / 2 - 0.01, deep - 0.04, rim - 0.03),
                ),
                body,
            )
        )
        box.append(Part(shapes.slab(wide - 0.08, deep - 0.1, 0.0, 0.11), body))
        box += doors(
            rng, -wide / 2 + 0.01, wide / 2 - 0.01, 0.12, rim - 0.05, deep - 0.02, body, 0.4
        )
        return [
            Thing("sink", tuple(bowl)),
            Thing("bathroom counter", tuple(vanity)),
            Thing("bathroom vanity", tuple(box)),
        ]
    if style == 1:
        post = shapes.turned(
            [(0.11, 0.0), (0.09, 0.08), (0.07, 0.4), (0.11, rim - 0.15)], 12, (1.0, 1.0)
        )
        bowl.append(Part(post + [0, depth / 2, 0], ware))
    bowl.append(Part(shapes.slab(width * 0.8, 0.09, rim - 0.12, rim - 0.004), ware))
    return [Thing("sink", tuple(bowl))]


def _plate_around(
    width: float,
    depth: float,
    low: float,
    high: float,
    hole_width: float,
    hole_depth: float,
    hole_y: float,
) -> np.ndarray:
    """A worktop with a rectangular hole, as four boards."""
    half, hole = width / 2, hole_width / 2 - 0.02
    y0, y1 = hole_y + 0.02, hole_y + hole_depth - 0.02
    boards = [
        shapes.box((-half, 0, low), (-hole, depth, high)),
        shapes.box((hole, 0, low), (half, depth, high)),
        shapes.box((-hole, 0, low), (hole, y0, high)),
        shapes.box((-hole, y1, low), (hole, depth, high)),
    ]
    return np.concatenate(boards)


def bathtub(rng: Rng) -> list[Thing]:
    """A tub along the wall, boxed in or free-standing."""
    length, width, rim = rng.uniform(1.45, 1.75), rng.uniform(0.68, 0.8), rng.uniform(0.48, 0.6)
    ware = materials.white_ware(rng)
    half = (length / 2, width / 2)
    if rng.random() < 0.7:
        outside = [(1.0, 0.0), (1.0, rim - 0.03), (1.0, rim)]
        square = 1.0
    else:
        outside = [(0.72, 0.0), (0.85, 0.12), (0.98, rim - 0.04), (1.0, rim)]
        square = 0.45
    ring = shapes.circle(24, square)
    inside = shapes.circle(24, 0.55)
    rings = [np.column_stack([ring * half * r, np.full(24, z)]) for r, z in outside]
    for r, z in ((0.88, rim), (0.84, rim - 0.06), (0.76, 0.2), (0.62, 0.13)):
        rings.append(np.column_stack([inside * half * r, np.full(24, z)]))
    parts = [Part(shapes.loft(np.array(rings)) + [0, width / 2, 0], ware)]
    steel = materials.plain((0.75, 0.76, 0.78), rng, loss=0.3)
    end = -length / 2 + 0.05
    parts.append(
        Part(shapes.rod((end, width / 2, rim - 0.01), (end, width / 2, rim + 0.12), 0.016), steel)
    )
    parts.append(
        Part(
            shapes.rod((end, width / 2, rim + 0.11), (end + 0.14, width / 2, rim + 0.09), 0.014),
            steel,
        )
    )
    return [Thing("bathtub", tuple(parts))]


def folds(
    rng: Rng, left: float, right: float, low: float, high: float, y: float, depth: float
) -> np.ndarray:
    """Cloth that hangs in folds between ``left`` and ``right``."""
    waves = max(2, round((right - left) / rng.uniform(0.09, 0.16)))
    columns = min(6 * waves + 1, 120)
    x = np.linspace(left, right, columns)
    z = np.array([low, low + 0.3 * (high - low), low + 0.65 * (high - low), high])
    phase = np.linspace(0, 2 * np.pi * waves, columns) + rng.uniform(0, 6)
    wander = 0.6 * np.sin(np.linspace(0, rng.uniform(3, 8), columns))
    grid = np.empty((len(z), columns, 3))
    for row, height in enumerate(z):
        grow = 1.0 - 0.45 * row / (len(z) - 1)
        grid[row, :, 0] = x
        grid[row, :, 1] = y + depth * grow * np.sin(phase + wander + 0.25 * row)
        grid[row, :, 2] = height
    return shapes.sheet(grid, 0.012)


def shower_curtain(rng: Rng, length: float, at: float) -> list[Thing]:
    """A curtain on a rod along the free edge of a tub or stall, drawn across part of it.

    Args:
        rng: draws everything.
        length: of the rod, metres.
        at: y of the rod.
    """
    high = rng.uniform(1.9, 2.05)
    share = rng.uniform(0.35, 0.95)
    left = -length / 2 + 0.02
    right = left + share * (length - 0.04)
    if rng.random() < 0.5:
        left, right = -right, -left
    material = materials.cloth(rng, 0.6)
    cloth = folds(
        rng, left, right, rng.uniform(0.14, 0.35), high - 0.03, at, rng.uniform(0.025, 0.04)
    )
    steel = materials.plain((0.75, 0.76, 0.78), rng)
    bar = shapes.rod((-length / 2, at, high), (length / 2, at, high), 0.013)
    return [Thing("shower curtain", (Part(cloth, material), Part(bar, steel)))]


def towel(rng: Rng) -> list[Thing]:
    """A towel on a rail, to be hung on the wall at height 0."""
    width = rng.uniform(0.35, 0.6)
    drop = rng.uniform(0.45, 0.75)
    bar: Material = materials.plain((0.75, 0.76, 0.78), rng)
    cloth = folds(rng, -width / 2 + 0.03, width / 2 - 0.03, -drop, 0.01, 0.06, 0.008)
    parts = (
        Part(cloth, materials.cloth(rng)),
        Part(shapes.rod((-width / 2, 0.06, 0.012), (width / 2, 0.06, 0.012), 0.009), bar),
    )
    return [Thing("towel", parts)]
