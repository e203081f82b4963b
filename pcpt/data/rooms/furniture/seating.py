"""Chairs, armchairs, sofas, stools and ottomans."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def chair(rng: Rng) -> list[Thing]:
    """A chair on four legs; slatted, solid or padded back, with or without arms."""
    width, depth = rng.uniform(0.40, 0.50), rng.uniform(0.40, 0.48)
    seat, back = rng.uniform(0.42, 0.47), rng.uniform(0.34, 0.56)
    frame = materials.board(rng) if rng.random() < 0.75 else materials.metal(rng)
    cover = materials.upholstery(rng) if rng.random() < 0.5 else frame
    thick = rng.uniform(0.025, 0.05)
    parts = [Part(shapes.slab(width, depth, seat - thick, seat), frame)]
    if cover is not frame:
        low, high = (-width / 2, 0.01, seat), (width / 2, depth, seat + rng.uniform(0.03, 0.06))
        parts.append(Part(shapes.cushion(low, high, 0.9), cover))
    parts += _four_legs(rng, width, depth, seat - thick, frame)
    parts += _chair_back(rng, width, seat, back, frame, cover)
    if rng.random() < 0.35:
        parts += _chair_arms(width, depth, seat, frame, rng.uniform(0.18, 0.24))
    return [Thing("chair", tuple(parts))]


def _four_legs(rng: Rng, width: float, depth: float, top: float, material: Material) -> list[Part]:
    radius = rng.uniform(0.012, 0.024)
    splay = rng.uniform(0, 0.03)
    square = rng.random() < 0.5
    parts = []
    for x in (-1, 1):
        for y in (0, 1):
            head = np.array([x * (width / 2 - 0.03), 0.03 + y * (depth - 0.06), top])
            foot = head + [x * splay, (2 * y - 1) * splay, -top]
            corners = 4 if square else 8
            parts.append(Part(shapes.rod(foot, head, radius * 0.8, radius, corners), material))
    return parts


def _chair_back(
    rng: Rng, width: float, seat: float, height: float, frame: Material, cover: Material
) -> list[Part]:
    lean = rng.uniform(0.03, 0.10)
    top = seat + height
    style = rng.integers(4)
    parts = []
    if style == 0:  # one board or shell
        low = seat + rng.uniform(0, 0.15)
        parts = [Part(shapes.slab(width, 0.03, low, top, 0.004), cover)]
    else:
        for x in (-1, 1):
            at = x * (width / 2 - 0.02)
            parts.append(Part(shapes.rod((at, 0.02, seat - 0.02), (at, 0.02, top), 0.016), frame))
    if style == 1:  # upright slats
        count = int(rng.integers(3, 6))
        for x in np.linspace(-width / 2 + 0.07, width / 2 - 0.07, count):
            parts.append(Part(shapes.box((x - 0.012, 0.012, seat), (x + 0.012, 0.028, top)), frame))
        parts.append(Part(shapes.slab(width, 0.035, top - 0.06, top), frame))
    elif style == 2:  # ladder
        for rung in np.linspace(seat + 0.14, top - 0.03, int(rng.integers(2, 5))):
            step = shapes.slab(width - 0.04, 0.03, rung - 0.03, rung + 0.025)
            parts.append(Part(step, frame))
    elif style == 3:  # padded panel
        first, last = (-width / 2 + 0.02, 0.0, seat + 0.12), (width / 2 - 0.02, 0.05, top)
        parts.append(Part(shapes.cushion(first, last, 0.9), cover))
    tilt = lean / height
    return [Part(shapes.rotated(p.quads, tilt, (0, 0.02, seat), axis=0), p.material) for p in parts]


def _chair_arms(
    width: float, depth: float, seat: float, frame: Material, height: float
) -> list[Part]:
    parts = []
    for x in (-1, 1):
        at = x * (width / 2 + 0.01)
        low = (at - 0.022, 0.0, seat + height - 0.025)
        high = (at + 0.022, depth * 0.85, seat + height)
        post = shapes.rod(
            (at, depth * 0.75, seat - 0.02), (at, depth * 0.75, seat + height - 0.02), 0.015
        )
        parts += [Part(shapes.box(low, high), frame), Part(post, frame)]
    return parts


def office_chair(rng: Rng) -> list[Thing]:
    """A swivel chair: star base with castors, gas spring, padded seat and back, often arms."""
    width, depth = rng.uniform(0.46, 0.54), rng.uniform(0.44, 0.52)
    seat, back = rng.uniform(0.44, 0.52), rng.uniform(0.42, 0.68)
    frame = materials.metal(rng)
    dark = frame if rng.random() < 0.5 else materials.plain((0.08, 0.08, 0.09), rng)
    cover = materials.upholstery(rng)
    middle = depth / 2 + 0.04
    parts = [Part(shapes.rod((0, middle, 0.10), (0, middle, seat - 0.06), 0.028), frame)]
    reach = rng.uniform(0.26, 0.32)
    for spoke in range(5):
        angle = 2 * np.pi * (spoke + 0.25) / 5
        tip = np.array([reach * np.cos(angle), middle + reach * np.sin(angle), 0.065])
        parts.append(Part(shapes.rod((0, middle, 0.11), tip, 0.03, 0.018, 6), dark))
        parts.append(
            Part(shapes.rod(tip - [0.022, 0, 0.036], tip + [0.022, 0, -0.036], 0.029), dark)
        )
    low, high = (-width / 2, 0.04, seat - 0.07), (width / 2, 0.04 + depth, seat + 0.03)
    parts.append(Part(shapes.cushion(low, high, 0.8), cover))
    bottom = seat + rng.uniform(0.04, 0.14)
    panel = shapes.cushion(
        (-width / 2 + 0.03, -0.02, bottom), (width / 2 - 0.03, 0.06, seat + back), 0.8
    )
    parts.append(Part(shapes.rotated(panel, rng.uniform(0.02, 0.16), (0, 0, seat), axis=0), cover))
    parts.append(Part(shapes.box((-0.04, 0.0, seat - 0.05), (0.04, 0.02, bottom + 0.1)), dark))
    if rng.random() < 0.65:
        parts += _chair_arms(width + 0.04, depth, seat, dark, rng.uniform(0.19, 0.25))
    return [Thing("office chair", tuple(parts))]


def stool(rng: Rng) -> list[Thing]:
    """A low or a bar stool."""
    height = rng.uniform(0.42, 0.5) if rng.random() < 0.6 else rng.uniform(0.62, 0.72)
    radius = rng.uniform(0.15, 0.2)
    frame = materials.board(rng) if rng.random() < 0.6 else materials.metal(rng)
    cover = frame if rng.random() < 0.5 else materials.upholstery(rng)
    seat = shapes.turned(
        [(radius * 0.95, height - 0.05), (radius, height - 0.02), (radius * 0.9, height)], 14
    )
    parts = [Part(seat + [0, radius, 0], cover)]
    for leg in range(4):
        angle = np.pi / 4 + leg * np.pi / 2
        out = np.array([np.cos(angle), np.sin(angle), 0])
        foot, head = out * radius * 0.98, out * radius * 0.6 + [0, 0, height - 0.04]
        parts.append(Part(shapes.rod(foot + [0, radius, 0], head + [0, radius, 0], 0.016), frame))
    return [Thing("stool", tuple(parts))]


def ottoman(rng: Rng) -> list[Thing]:
    """A padded block to put one's feet on, round or square."""
    width, depth, height = rng.uniform(0.45, 0.8), rng.uniform(0.42, 0.6), rng.uniform(0.36, 0.46)
    cover, base = materials.upholstery(rng), materials.wood(rng)
    if rng.random() < 0.4:
        half = width / 2
        body = shapes.turned(
            [(half * 0.95, 0.04), (half, 0.12), (half, height - 0.06), (half * 0.85, height)], 16
        )
        parts = [Part(body + [0, half, 0], cover)]
        parts.append(
            Part(shapes.turned([(half * 0.8, 0.0), (half * 0.8, 0.05)], 12) + [0, half, 0], base)
        )
    else:
        parts = [
            Part(shapes.cushion((-width / 2, 0, 0.06), (width / 2, depth, height), 0.9), cover)
        ]
        parts.append(
            Part(shapes.slab(width * 0.8, depth * 0.9, 0.0, 0.10) + [0, depth * 0.05, 0], base)
        )
    return [Thing("ottoman", tuple(parts))]


def armchair(rng: Rng) -> list[Thing]:
    """An upholstered chair with wide arms."""
    return [Thing("armchair", tuple(_sofa_parts(rng, 1, rng.uniform(0.52, 0.62))))]


def sofa(rng: Rng) -> list[Thing]:
    """A sofa of one to three seats or, a third of the time, with a long end (L-shaped)."""
    seats = int(rng.integers(1, 4))
    each = rng.uniform(0.54, 0.72) if seats > 1 else rng.uniform(0.75, 0.9)
    return [
        Thing("sofa" if seats > 1 else "couch", tuple(_sofa_parts(rng, seats, each))),
        *_throws(rng),
    ]


def _throws(rng: Rng) -> list[Thing]:
    if rng.random() < 0.5:
        return []
    size = rng.uniform(0.34, 0.45)
    quads = shapes.cushion((-size / 2, -0.07, 0), (size / 2, 0.07, size), 0.6)
    quads = shapes.rotated(quads, 0.45, (0, 0, 0), axis=0)
    return [
        Thing("pillow", (Part(quads + [rng.uniform(-0.2, 0.2), 0.46, 0.44], materials.cloth(rng)),))
    ]


def _sofa_parts(rng: Rng, seats: int, each: float) -> list[Part]:
    inner, depth = seats * each, rng.uniform(0.78, 0.95)
    seat, back, arm = rng.uniform(0.38, 0.44), rng.uniform(0.72, 0.92), rng.uniform(0.52, 0.66)
    side = rng.uniform(0.10, 0.24)
    cover = materials.upholstery(rng)
    second = cover if rng.random() < 0.7 else materials.upholstery(rng)
    legs = materials.wood(rng)
    lift = rng.uniform(0.03, 0.12)
    rest = rng.uniform(0.16, 0.24)
    half = inner / 2
    parts = [Part(shapes.slab(inner, depth - 0.04, lift, seat - 0.12), cover)]
    parts.append(
        Part(shapes.cushion((-half - side, 0, lift), (half + side, rest, back), 0.95), cover)
    )
    for x in (-1, 1):
        ends = sorted((x * half, x * (half + side)))
        parts.append(
            Part(shapes.cushion((ends[0], 0.05, lift), (ends[1], depth, arm), 0.93), cover)
        )
        for y in (0.08, depth - 0.1):
            at = x * (half + side * 0.4)
            parts.append(Part(shapes.rod((at, y, 0), (at, y, lift + 0.06), 0.02, 0.028), legs))
    for index in range(seats):
        x0 = -half + index * each
        low, high = (x0 + 0.005, rest - 0.03, seat - 0.14), (x0 + each - 0.005, depth, seat + 0.02)
        parts.append(Part(shapes.cushion(low, high, 0.93), second))
        low, high = (x0 + 0.01, rest - 0.06, seat), (x0 + each - 0.01, rest + 0.14, back + 0.03)
        parts.append(Part(shapes.cushion(low, high, 0.85), second))
    if seats >= 2 and rng.random() < 0.4:  # the long end of an L
        x = rng.choice((-1, 1))
        ends = sorted((x * half, x * (half - each)))
        long = rng.uniform(1.35, 1.6)
        parts.append(
            Part(
                shapes.cushion((ends[0], depth - 0.1, lift), (ends[1], long, seat + 0.02), 0.95),
                second,
            )
        )
    return parts
