"""Chairs, tables and lamps."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms.shapes import box, cushion, mirrored, rod, rotated, slab, turned
from pcpt.data.shape_models.model import Part

Rng = np.random.RandomState


def chair(rng: Rng) -> list[Part]:
    """On four legs or one, its back a board or slats, with or without arms."""
    width, depth = rng.uniform(0.40, 0.58), rng.uniform(0.40, 0.52)
    seat, back = rng.uniform(0.38, 0.50), rng.uniform(0.30, 0.60)
    thick = rng.uniform(0.03, 0.09)
    low, high = (-width / 2, 0.0, seat - thick), (width / 2, depth, seat)
    parts = [("seat", box(low, high) if rng.rand() < 0.5 else cushion(low, high, 0.9))]
    if rng.rand() < 0.75:
        parts += [("leg", skin) for skin in _four_legs(rng, width, depth, seat - thick)]
    else:
        centre = (0.0, depth / 2)
        foot = turned([(width * 0.42, 0.0), (width * 0.42, 0.02), (0.03, 0.05)], 16)
        parts += [
            ("leg", foot + [*centre, 0.0]),
            ("leg", rod((*centre, 0.03), (*centre, seat - thick), rng.uniform(0.02, 0.04))),
        ]
    parts += _chair_back(rng, width, seat, back)
    if rng.rand() < 0.4:
        parts += _chair_arms(rng, width, depth, seat)
    return parts


def _four_legs(rng: Rng, width: float, depth: float, top: float) -> list[np.ndarray]:
    """Quads of legs below a board whose back edge is at y = 0."""
    radius, splay = rng.uniform(0.012, 0.032), rng.uniform(0.0, 0.06)
    corners = 4 if rng.rand() < 0.5 else 8
    legs = []
    for x in (-1, 1):
        for y in (0, 1):
            inset = radius * 1.5
            head = np.array([x * (width / 2 - inset), inset + y * (depth - 2 * inset), top])
            foot = head + [x * splay, (2 * y - 1) * splay, -top]
            legs.append(rod(foot, head, radius * rng.uniform(0.6, 1.0), radius, corners))
    return legs


def _chair_back(rng: Rng, width: float, seat: float, height: float) -> list[Part]:
    thick, lean = rng.uniform(0.02, 0.05), rng.uniform(0.0, 0.25)
    top = seat + height
    skins = []
    if rng.rand() < 0.5:
        skins.append(slab(width, thick, seat - 0.01, top, rng.uniform(0.0, 0.01)))
    else:
        count = int(rng.randint(3, 7))
        for x in np.linspace(-width / 2 + 0.02, width / 2 - 0.02, count):
            skins.append(box((x - 0.014, 0.0, seat - 0.01), (x + 0.014, thick, top)))
        skins.append(slab(width, thick * 1.2, top - rng.uniform(0.04, 0.12), top))
    return [("back", rotated(skin, lean, (0, 0, seat), axis=0)) for skin in skins]


def _chair_arms(rng: Rng, width: float, depth: float, seat: float) -> list[Part]:
    height, reach = rng.uniform(0.16, 0.24), rng.uniform(0.6, 0.95) * depth
    x = width / 2
    rest = box((x - 0.025, 0.0, seat + height), (x + 0.025, reach, seat + height + 0.03))
    post = rod((x, reach - 0.03, seat - 0.02), (x, reach - 0.03, seat + height), 0.014)
    return [("arm", skin) for one in (rest, post) for skin in (one, mirrored(one))]


def table(rng: Rng) -> list[Part]:
    """Square or round, on four legs, two panels or a column."""
    height, thick = rng.uniform(0.35, 0.90), rng.uniform(0.02, 0.07)
    width, depth = rng.uniform(0.7, 1.6), rng.uniform(0.5, 0.9)
    below = height - thick
    if rng.rand() < 0.3:
        radius = width * 0.45
        top = turned([(radius, below), (radius, height)], 24, (1.0, rng.uniform(0.7, 1.0)))
        foot = turned([(radius * 0.55, 0.0), (radius * 0.5, 0.03), (0.05, 0.06)], 16)
        column = rod((0, 0, 0.03), (0, 0, below), rng.uniform(0.03, 0.08))
        return [("top", top), ("leg", foot), ("leg", column)]
    parts = [("top", box((-width / 2, 0.0, below), (width / 2, depth, height)))]
    if rng.rand() < 0.7:
        return parts + [("leg", leg) for leg in _four_legs(rng, width, depth, below)]
    panel = box(
        (width / 2 - 0.06, depth * 0.05, 0.0), (width / 2 - rng.uniform(0.0, 0.03), depth, below)
    )
    return [*parts, ("leg", panel), ("leg", mirrored(panel))]


def lamp(rng: Rng) -> list[Part]:
    """Standing on a foot or hanging from a rose on the ceiling."""
    height = rng.uniform(0.4, 1.6)
    shade_height, wide = rng.uniform(0.15, 0.35), rng.uniform(0.12, 0.28)
    narrow, wall = wide * rng.uniform(0.4, 1.0), 0.006
    shade = turned(
        [(wide - wall, 0.0), (wide, 0.0), (narrow, shade_height), (narrow - wall, shade_height),
         (wide - 2 * wall, wall)],
        20,
    )  # fmt: skip
    foot_radius = rng.uniform(0.08, 0.18)
    foot = turned(
        [(foot_radius, 0.0), (foot_radius, 0.02), (0.02, rng.uniform(0.03, 0.08))],
        20,
        squareness=float(rng.choice([0.0, 0.8])),
    )
    pole = rod((0, 0, 0.01), (0, 0, height), rng.uniform(0.008, 0.02))
    if rng.rand() < 0.7:
        at = height - shade_height * rng.uniform(0.3, 0.8)
        return [("base", foot), ("pole", pole), ("shade", shade + [0, 0, at])]
    rose = rotated(foot, np.pi, axis=0) + [0, 0, height]
    return [("base", rose), ("pole", pole), ("shade", shade - [0, 0, shade_height * 0.7])]
