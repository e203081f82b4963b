"""Tables, coffee tables, desks and night stands."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture.storage import drawers
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def table(rng: Rng, length: float | None = None) -> list[Thing]:
    """A dining or meeting table, rectangular, round or oval.

    Args:
        rng: draws everything.
        length: of the longer side, metres; drawn when None.
    """
    length = float(rng.uniform(0.9, 1.9)) if length is None else length
    depth = min(float(rng.uniform(0.72, 0.98)), length)
    return [Thing("table", tuple(_table(rng, length, depth, rng.uniform(0.71, 0.78))))]


def coffee_table(rng: Rng) -> list[Thing]:
    """A low table."""
    length, depth = rng.uniform(0.6, 1.25), rng.uniform(0.45, 0.7)
    return [
        Thing(
            "coffee table", tuple(_table(rng, length, min(depth, length), rng.uniform(0.34, 0.48)))
        )
    ]


def side_table(rng: Rng) -> list[Thing]:
    """A small table for a lamp."""
    side = rng.uniform(0.38, 0.55)
    return [Thing("end table", tuple(_table(rng, side, side, rng.uniform(0.45, 0.62))))]


def _table(rng: Rng, length: float, depth: float, height: float) -> list[Part]:
    top_material = materials.board(rng)
    leg_material = top_material if rng.random() < 0.55 else materials.metal(rng)
    thick = rng.uniform(0.02, 0.05)
    style = rng.integers(4)
    if style == 0:  # round or oval on a pedestal
        oval = (length / 2, depth / 2 if rng.random() < 0.4 else length / 2)
        top = shapes.turned(
            [(0.985, height - thick), (1, height - thick / 2), (0.985, height)], 24, oval
        )
        middle = np.array([0, oval[1], 0.0])
        foot = min(oval) * 0.62
        post = shapes.turned(
            [(foot, 0), (foot, 0.025), (0.08, 0.07), (0.045, 0.3 * height), (0.05, height - thick)],
            12,
        )
        return [Part(top + middle, top_material), Part(post + middle, leg_material)]
    parts = [Part(shapes.slab(length, depth, height - thick, height, 0.002), top_material)]
    if style == 1:  # end panels
        for x in (-1, 1):
            at = x * (length / 2 - 0.08)
            panel = shapes.box((at - 0.02, 0.05, 0), (at + 0.02, depth - 0.05, height - thick))
            parts.append(Part(panel, leg_material))
        rail = shapes.box(
            (-length / 2 + 0.1, depth / 2 - 0.015, height * 0.55),
            (length / 2 - 0.1, depth / 2 + 0.015, height - thick),
        )
        parts.append(Part(rail, leg_material))
        return parts
    inset, radius, corners = (
        rng.uniform(0.04, 0.1),
        rng.uniform(0.02, 0.038),
        4 if style == 2 else 8,
    )
    splay = 0.0 if style == 2 else rng.uniform(0, 0.06)
    for x in (-1, 1):
        for y in (0, 1):
            head = np.array(
                [
                    x * (length / 2 - inset - splay),
                    inset + splay + y * (depth - 2 * (inset + splay)),
                    height - thick,
                ]
            )
            foot = head + [x * splay, (2 * y - 1) * splay, -head[2]]
            parts.append(
                Part(
                    shapes.rod(foot, head, radius * (1 if style == 2 else 0.7), radius, corners),
                    leg_material,
                )
            )
    if rng.random() < 0.6:
        parts += _apron(
            length - 2 * inset - 2 * splay, depth, inset + splay, height - thick, leg_material
        )
    return parts


def _apron(length: float, depth: float, inset: float, top: float, material: Material) -> list[Part]:
    parts = []
    for y in (inset, depth - inset):
        low, high = (-length / 2, y - 0.009, top - 0.08), (length / 2, y + 0.009, top)
        parts.append(Part(shapes.box(low, high), material))
    return parts


def desk(rng: Rng) -> list[Thing]:
    """A desk against a wall: on legs or panels, with or without drawers and a back panel."""
    length, depth, height = rng.uniform(1.0, 1.7), rng.uniform(0.58, 0.8), rng.uniform(0.71, 0.77)
    top, body = materials.board(rng), materials.board(rng)
    if rng.random() < 0.5:
        body = top
    thick = rng.uniform(0.02, 0.04)
    parts = [Part(shapes.slab(length, depth, height - thick, height), top)]
    chest = int(rng.integers(3))  # drawers on neither side, one or both
    sides = {0: (), 1: (int(rng.choice((-1, 1))),), 2: (-1, 1)}[chest]
    wide = rng.uniform(0.34, 0.44)
    for x in (-1, 1):
        at = x * (length / 2 - 0.03)
        if x in sides:
            middle = x * (length / 2 - wide / 2 - 0.01)
            parts += drawers(rng, wide, depth - 0.06, 0.03, height - thick, 3, body, x=middle)
        elif rng.random() < 0.4:
            panel = shapes.box((at - 0.012, 0.03, 0), (at + 0.012, depth - 0.03, height - thick))
            parts.append(Part(panel, body))
        else:
            metal = materials.metal(rng)
            for y in (0.05, depth - 0.05):
                parts.append(Part(shapes.rod((at, y, 0), (at, y, height - thick), 0.022), metal))
    if rng.random() < 0.5:
        low = rng.uniform(0.1, 0.4)
        parts.append(
            Part(
                shapes.box(
                    (-length / 2 + 0.04, 0.04, low), (length / 2 - 0.04, 0.055, height - thick)
                ),
                body,
            )
        )
    return [Thing("desk", tuple(parts))]


def nightstand(rng: Rng) -> list[Thing]:
    """A small chest beside a bed."""
    width, depth, height = rng.uniform(0.36, 0.55), rng.uniform(0.34, 0.45), rng.uniform(0.42, 0.62)
    parts = drawers(rng, width, depth, 0.0, height, int(rng.integers(1, 4)), materials.board(rng))
    return [Thing("nightstand", tuple(parts))]
