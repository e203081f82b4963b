"""Small and movable things: monitors, books, lamps, plants, bins, boxes, dishes."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def monitor(rng: Rng) -> list[Thing]:
    """A computer screen on its foot, to be put on a desk."""
    width = rng.uniform(0.45, 0.7)
    tall = width * rng.uniform(0.56, 0.64)
    low = rng.uniform(0.07, 0.14)
    black = materials.plain((0.08, 0.08, 0.09), rng) if rng.random() < 0.7 else materials.metal(rng)
    parts = [
        Part(
            shapes.turned([(0.11, 0), (0.11, 0.012), (0.03, 0.02)], 12, (1.0, 0.8)) + [0, 0.09, 0],
            black,
        ),
        Part(shapes.box((-0.03, 0.05, 0.01), (0.03, 0.075, low + tall / 2)), black),
        Part(shapes.box((-width / 2, 0.075, low), (width / 2, 0.105, low + tall)), black),
        Part(
            shapes.box(
                (-width / 2 + 0.012, 0.103, low + 0.014),
                (width / 2 - 0.012, 0.108, low + tall - 0.012),
            ),
            _filled(rng, width),
        ),
    ]
    return [Thing("monitor", tuple(parts))]


def _filled(rng: Rng, size: float) -> materials.Material:
    screen = materials.screen(rng)
    return materials.Material(
        screen.kind,
        screen.colors,
        size * 1.02,
        screen.seed,
        screen.tint,
        screen.emission,
        screen.loss,
    )


def keyboard(rng: Rng) -> list[Thing]:
    """A keyboard with a mouse beside it."""
    body = materials.plain(materials.pick(rng, materials.METALS), rng)
    keys = shapes.box((-0.21, 0, 0), (0.21, 0.14, 0.02))
    mouse = shapes.cushion((0.25, 0.03, 0), (0.31, 0.13, 0.035), 0.4, 8)
    return [Thing("keyboard", (Part(keys, body), Part(mouse, body)))]


def laptop(rng: Rng) -> list[Thing]:
    """An open laptop."""
    body = materials.metal(rng)
    lid = shapes.box((-0.17, 0, 0.0), (0.17, 0.008, 0.22))
    face = shapes.box((-0.16, 0.007, 0.01), (0.16, 0.010, 0.21))
    tilt = rng.uniform(0.15, 0.5)
    return [Thing("laptop", (
        Part(shapes.box((-0.17, 0.02, 0), (0.17, 0.25, 0.02)), body),
        Part(shapes.rotated(lid, tilt, axis=0) + [0, 0.02, 0.018], body),
        Part(shapes.rotated(face, tilt, axis=0) + [0, 0.02, 0.018], _filled(rng, 0.34)),
    ))]  # fmt: skip


def television(rng: Rng) -> list[Thing]:
    """A television on a foot, to be put on a stand."""
    width = rng.uniform(0.7, 1.25)
    tall = width * 0.57
    black = materials.plain((0.06, 0.06, 0.07), rng)
    parts = [
        Part(shapes.slab(width * 0.45, 0.22, 0.0, 0.02), black),
        Part(shapes.box((-0.05, 0.08, 0.01), (0.05, 0.11, 0.1)), black),
        Part(shapes.box((-width / 2, 0.08, 0.07), (width / 2, 0.12, 0.07 + tall)), black),
        Part(
            shapes.box(
                (-width / 2 + 0.015, 0.118, 0.085), (width / 2 - 0.015, 0.123, 0.055 + tall)
            ),
            _filled(rng, width),
        ),
    ]
    return [Thing("tv", tuple(parts))]


def books(rng: Rng) -> list[Thing]:
    """A heap of books or papers."""
    parts = []
    z = 0.0
    for _ in range(int(rng.integers(1, 6))):
        half, tall, thick = (
            rng.uniform(0.08, 0.12),
            rng.uniform(0.1, 0.15),
            rng.uniform(0.012, 0.04),
        )
        quads = shapes.box((-half, -tall, z), (half, tall, z + thick))
        cover = materials.plain(materials.pick(rng, materials.CLOTHS, 0.12), rng)
        parts.append(Part(shapes.rotated(quads, rng.normal(0, 0.15)), cover))
        z += thick
    return [Thing("book", tuple(parts))]


def table_lamp(rng: Rng) -> list[Thing]:
    """A lamp with a shade on a turned foot."""
    high = rng.uniform(0.36, 0.6)
    foot = materials.white_ware(rng) if rng.random() < 0.5 else materials.metal(rng)
    shade = materials.cloth(rng, 0.2)
    wide = rng.uniform(0.11, 0.17)
    return [Thing("lamp", _lamp_parts(high, wide, foot, shade, rng))]


def floor_lamp(rng: Rng) -> list[Thing]:
    """A standard lamp."""
    return [
        Thing(
            "floor lamp",
            _lamp_parts(
                rng.uniform(1.4, 1.75),
                rng.uniform(0.15, 0.23),
                materials.metal(rng),
                materials.cloth(rng, 0.2),
                rng,
            ),
        )
    ]


def _lamp_parts(
    high: float, wide: float, foot: materials.Material, shade: materials.Material, rng: Rng
) -> tuple[Part, ...]:
    drop = min(0.3, high * 0.42)
    base = min(wide * 0.9, 0.15)
    bulge = 0.02 if high > 1 else rng.uniform(0.02, 0.07)
    post = shapes.turned(
        [
            (base, 0),
            (base, 0.02),
            (0.018, 0.05),
            (bulge, (high - drop) * 0.5),
            (0.012, high - drop * 0.5),
        ],
        10,
    )
    hood = shapes.turned([(wide, high - drop), (wide * rng.uniform(0.5, 0.95), high)], 14)
    return Part(post, foot), Part(hood, shade)


def plant(rng: Rng) -> list[Thing]:
    """A pot plant with broad leaves."""
    size = rng.uniform(0.6, 1.3)
    pot_material = materials.white_ware(rng)
    radius = rng.uniform(0.11, 0.17)
    high = rng.uniform(0.2, 0.32)
    pot = shapes.turned(
        [(radius * 0.75, 0), (radius, high), (radius * 0.9, high), (radius * 0.85, high - 0.03)], 14
    )
    green = materials.plain(
        materials.pick(rng, ((0.25, 0.42, 0.2), (0.35, 0.5, 0.25), (0.2, 0.33, 0.22))), rng
    )
    parts = [Part(pot, pot_material)]
    for _ in range(int(rng.integers(9, 18))):
        angle, out = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.4)
        tip = rng.uniform(0.45, 1.0) * size
        along = np.linspace(0, 1, 5)
        spine = np.stack(
            [
                out * along**1.4,
                np.zeros(5),
                high - 0.05 + (tip - high) * np.sin(along * np.pi * 0.6),
            ],
            axis=1,
        )
        half = rng.uniform(0.025, 0.06) * np.sin(np.pi * np.clip(along + 0.1, 0, 0.98))
        grid = np.stack([spine + half[:, None] * [0, side, 0] for side in (-1, 0, 1)], axis=1)
        parts.append(Part(shapes.rotated(shapes.sheet(grid, 0.004), angle), green))
    return [Thing("plant", tuple(parts))]


def trash_can(rng: Rng) -> list[Thing]:
    """A bin, round or square, open or with a lid."""
    high, radius = rng.uniform(0.26, 0.62), rng.uniform(0.12, 0.19)
    square = 0.9 if rng.random() < 0.4 else 0.0
    body = materials.metal(rng) if rng.random() < 0.4 else materials.paint(rng)
    if rng.random() < 0.6:
        profile = [(radius * 0.8, 0), (radius, high), (radius * 0.95, high), (radius * 0.77, 0.03)]
    else:
        profile = [
            (radius * 0.92, 0),
            (radius, high * 0.85),
            (radius * 1.03, high * 0.87),
            (radius * 0.6, high),
        ]
    return [Thing("trash can", (Part(shapes.turned(profile, 16, squareness=square), body),))]


def storage_box(rng: Rng) -> list[Thing]:
    """A cardboard or plastic box, sometimes two on top of each other."""
    parts = []
    z = 0.0
    for _ in range(1 + (rng.random() < 0.3)):
        wide, deep, high = rng.uniform(0.28, 0.5), rng.uniform(0.25, 0.4), rng.uniform(0.18, 0.36)
        material = materials.wood(rng) if rng.random() < 0.3 else materials.paint(rng)
        box = shapes.slab(wide, deep, z, z + high) - [0, deep / 2, 0]
        parts.append(Part(shapes.rotated(box, rng.normal(0, 0.1)), material))
        lid = shapes.slab(wide + 0.02, deep + 0.02, z + high - 0.05, z + high + 0.01) - [
            0,
            deep / 2 + 0.01,
            0,
        ]
        if rng.random() < 0.5:
            parts.append(Part(shapes.rotated(lid, 0.0), material))
            high += 0.01
        z += high
    return [Thing("storage box", tuple(parts))]


def basket(rng: Rng) -> list[Thing]:
    """A laundry basket."""
    radius, high = rng.uniform(0.18, 0.24), rng.uniform(0.4, 0.62)
    profile = [
        (radius * 0.85, 0),
        (radius, high),
        (radius * 0.94, high),
        (radius * 0.8, high * 0.4),
    ]
    material = materials.cloth(rng, 0.1) if rng.random() < 0.5 else materials.wood(rng)
    return [Thing("laundry basket", (Part(shapes.turned(profile, 16), material),))]


def bench(rng: Rng) -> list[Thing]:
    """A bench without a back."""
    length, depth, high = rng.uniform(0.8, 1.3), rng.uniform(0.32, 0.42), rng.uniform(0.42, 0.48)
    material = materials.board(rng)
    parts = [Part(shapes.slab(length, depth, high - 0.045, high), material)]
    for x in (-1, 1):
        at = x * (length / 2 - 0.12)
        parts.append(
            Part(
                shapes.box((at - 0.025, 0.03, 0), (at + 0.025, depth - 0.03, high - 0.045)),
                material,
            )
        )
    if rng.random() < 0.4:
        parts.append(
            Part(
                shapes.cushion((-length / 2, 0, high), (length / 2, depth, high + 0.05), 0.95),
                materials.upholstery(rng),
            )
        )
    return [Thing("bench", tuple(parts))]


def dishes(rng: Rng) -> list[Thing]:
    """A bowl, a cup, a bottle or a pot."""
    ware = materials.white_ware(rng) if rng.random() < 0.5 else materials.paint(rng)
    draw = rng.integers(3)
    if draw == 0:
        profile = [(0.05, 0), (0.13, 0.07), (0.125, 0.07), (0.05, 0.015)]
        return [Thing("bowl", (Part(shapes.turned(profile, 14), ware),))]
    if draw == 1:
        profile = [(0.04, 0), (0.042, 0.17), (0.015, 0.22), (0.015, 0.28)]
        return [Thing("bottle", (Part(shapes.turned(profile, 10), ware),))]
    profile = [(0.1, 0), (0.11, 0.13), (0.115, 0.14), (0.1, 0.155)]
    return [Thing("pot", (Part(shapes.turned(profile, 14), materials.metal(rng)),))]


def appliance(rng: Rng) -> list[Thing]:
    """A microwave oven, printer or coffee machine."""
    wide, deep, high = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.38), rng.uniform(0.22, 0.34)
    body = materials.metal(rng) if rng.random() < 0.5 else materials.white_ware(rng)
    black = materials.plain((0.08, 0.08, 0.09), rng, 0.2)
    parts = [Part(shapes.slab(wide, deep, 0.0, high), body)]
    parts.append(
        Part(
            shapes.box(
                (-wide / 2 + 0.02, deep - 0.002, 0.04), (wide * 0.2, deep + 0.006, high - 0.04)
            ),
            black,
        )
    )
    return [Thing("microwave", tuple(parts))]
