"""Beds with mattress, blanket and pillows."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def bed(rng: Rng) -> list[Thing]:
    """A single or double bed, its head at the wall. Pillows are things of their own."""
    double = rng.random() < 0.6
    width = rng.uniform(1.4, 1.85) if double else rng.uniform(0.9, 1.1)
    length, top = rng.uniform(1.95, 2.1), rng.uniform(0.45, 0.62)
    frame = materials.board(rng) if rng.random() < 0.7 else materials.upholstery(rng)
    linen = materials.cloth(rng)
    lift = rng.uniform(0.0, 0.18)
    parts = [Part(shapes.slab(width + 0.04, length, lift, top - 0.2), frame)]
    if lift > 0.02:
        for x in (-1, 1):
            for y in (0.06, length - 0.06):
                at = x * (width / 2 - 0.05)
                parts.append(
                    Part(shapes.rod((at, y, 0), (at, y, lift + 0.02), 0.03, corners=6), frame)
                )
    mattress = shapes.cushion((-width / 2, 0.04, top - 0.21), (width / 2, length - 0.01, top), 0.97)
    parts.append(Part(mattress, linen))
    head = rng.uniform(0.25, 0.65)
    parts += _headboard(rng, width, top, head, frame)
    if rng.random() < 0.3:
        parts.append(Part(shapes.slab(width + 0.04, 0.04, 0, top + 0.12) + [0, length, 0], frame))
    parts.append(Part(_blanket(rng, width, length, top), materials.cloth(rng)))
    return [Thing("bed", tuple(parts)), *_pillows(rng, width, top, double)]


def _headboard(rng: Rng, width: float, top: float, head: float, frame: Material) -> list[Part]:
    wide = width + rng.uniform(0.04, 0.3)
    if rng.random() < 0.65:
        board = shapes.slab(wide, 0.06, 0.0, top + head, 0.006) + [0, -0.06, 0]
        return [Part(board, frame)]
    parts = [Part(shapes.slab(wide, 0.04, top + head - 0.07, top + head) + [0, -0.05, 0], frame)]
    for x in np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, int(rng.integers(5, 12))):
        parts.append(Part(shapes.rod((x, -0.03, 0.1), (x, -0.03, top + head - 0.03), 0.014), frame))
    return parts


def _blanket(rng: Rng, width: float, length: float, top: float) -> np.ndarray:
    """A duvet over the mattress, wrinkled, hanging down at the sides; sometimes pushed back."""
    start = rng.uniform(0.5, 0.75) if rng.random() < 0.75 else rng.uniform(0.9, 1.3)
    drop = rng.uniform(0.08, 0.3)
    across = np.linspace(-1, 1, 17)
    half = width / 2 + 0.025
    arc = across * (half + drop)
    x = np.clip(arc, -half, half)
    hang = np.maximum(np.abs(arc) - half, 0)
    y = np.linspace(start, length + 0.015, 15)
    grid = np.empty((len(y), len(x), 3))
    grid[..., 0] = x + np.sign(arc) * np.minimum(hang, 0.02)
    grid[..., 1] = y[:, None]
    waves = sum(
        rng.uniform(0.002, 0.008)
        * np.sin(
            rng.uniform(2, 9) * grid[..., 0] + rng.uniform(2, 9) * grid[..., 1] + rng.uniform(0, 6)
        )
        for _ in range(4)
    )
    grid[..., 2] = top + 0.035 + waves - hang
    return shapes.sheet(grid, 0.03)


def _pillows(rng: Rng, width: float, top: float, double: bool) -> list[Thing]:
    material = materials.cloth(rng)
    centres = [-width / 4, width / 4] if double else [0.0]
    if rng.random() < 0.1:
        return []
    things = []
    for x in centres:
        half, deep = (
            min(0.33, width / 2 - 0.05) if not double else width / 4 - 0.04,
            rng.uniform(0.34, 0.46),
        )
        quads = shapes.cushion(
            (-half, -deep / 2, 0), (half, deep / 2, rng.uniform(0.11, 0.17)), 0.6
        )
        quads = shapes.rotated(quads, rng.normal(0, 0.08))
        if rng.random() < 0.25:
            quads = shapes.rotated(quads, 0.5, axis=0)
        lift = -quads[..., 2].min()
        things.append(
            Thing("pillow", (Part(quads + [x, 0.08 + deep / 2, top - 0.01 + lift], material),))
        )
    return things
