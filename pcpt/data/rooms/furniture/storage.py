"""Cabinets, wardrobes, dressers, bookshelves and refrigerators."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import itertools

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def drawers(
    rng: Rng,
    width: float,
    depth: float,
    low: float,
    high: float,
    rows: int,
    material: Material,
    x: float = 0.0,
) -> list[Part]:
    """A chest at ``x``: a carcass and ``rows`` fronts with handles."""
    parts = [Part(shapes.slab(width, depth - 0.018, low, high) + [x, 0, 0], material)]
    edges = np.linspace(low + 0.01, high - 0.01, rows + 1)
    for bottom, top in itertools.pairwise(edges):
        parts += front(
            rng,
            x - width / 2 + 0.006,
            x + width / 2 - 0.006,
            bottom,
            top,
            depth,
            material,
            "drawer",
        )
    return parts


def front(
    rng: Rng,
    left: float,
    right: float,
    low: float,
    high: float,
    y: float,
    material: Material,
    kind: str,
) -> list[Part]:
    """A door or drawer front that ends at ``y``, with a knob or a bar."""
    gap = 0.004
    parts = [
        Part(shapes.box((left + gap, y - 0.018, low + gap), (right - gap, y, high - gap)), material)
    ]
    if kind == "door" and rng.random() < 0.4 and right - left > 0.2 and high - low > 0.25:  # frame
        for edge in (left + gap, right - 0.05):
            parts.append(
                Part(
                    shapes.box(
                        (edge, y - 0.001, low + 0.005), (edge + 0.045, y + 0.008, high - 0.005)
                    ),
                    material,
                )
            )
        for edge in (low + gap, high - 0.05):
            parts.append(
                Part(
                    shapes.box(
                        (left + 0.05, y - 0.001, edge), (right - 0.05, y + 0.008, edge + 0.045)
                    ),
                    material,
                )
            )
    handle = (
        materials.plain((0.6, 0.6, 0.6), rng)
        if rng.random() < 0.7
        else materials.plain((0.12, 0.1, 0.1), rng)
    )
    middle = (left + right) / 2
    if kind == "drawer":
        span = min(0.06, (right - left) / 4)
        bar = shapes.box(
            (middle - span, y, (low + high) / 2 - 0.006),
            (middle + span, y + 0.022, (low + high) / 2 + 0.006),
        )
    else:
        at = right - 0.035 if kind == "door" else left + 0.035
        height = high - 0.15 if low < 0.5 else low + 0.15
        height = min(max(height, low + 0.06), high - 0.06)
        bar = shapes.box((at - 0.006, y, height - 0.05), (at + 0.006, y + 0.022, height + 0.05))
    return [*parts, Part(bar, handle)]


def doors(
    rng: Rng,
    left: float,
    right: float,
    low: float,
    high: float,
    y: float,
    material: Material,
    width: float = 0.5,
) -> list[Part]:
    """Doors side by side, none wider than about ``width``."""
    count = max(1, round((right - left) / width))
    edges = np.linspace(left, right, count + 1)
    parts = []
    for index, (a, b) in enumerate(itertools.pairwise(edges)):
        parts += front(rng, a, b, low, high, y, material, "door" if index % 2 == 0 else "door left")
    return parts


def cabinet(rng: Rng) -> list[Thing]:
    """A low cabinet: sideboard, dresser or filing cabinet."""
    if rng.random() < 0.25:
        return file_cabinet(rng)
    width, depth, height = rng.uniform(0.7, 1.6), rng.uniform(0.36, 0.52), rng.uniform(0.65, 1.15)
    body = materials.board(rng)
    fronts = body if rng.random() < 0.7 else materials.board(rng)
    foot = rng.uniform(0.05, 0.14)
    parts = [Part(shapes.slab(width, depth - 0.018, foot, height - 0.02), body)]
    parts.append(Part(shapes.slab(width + 0.02, depth + 0.01, height - 0.02, height), body))
    parts += _feet(rng, width, depth, foot, body)
    split = rng.uniform(0.0, 1.0)
    edge = -width / 2 + width * (0.33 if split < 0.3 else 0.0)
    if edge > -width / 2:
        rows = int(rng.integers(2, 5))
        for a, b in zip(
            np.linspace(foot, height - 0.02, rows + 1)[:-1],
            np.linspace(foot, height - 0.02, rows + 1)[1:],
        ):
            parts += front(rng, -width / 2, edge, a, b, depth, fronts, "drawer")
    if split < 0.65:
        parts += doors(rng, edge, width / 2, foot, height - 0.02, depth, fronts)
    else:
        rows, columns = int(rng.integers(3, 5)), max(1, round(width / 0.7))
        xs, zs = (
            np.linspace(edge, width / 2, columns + 1),
            np.linspace(foot, height - 0.02, rows + 1),
        )
        for i in range(columns):
            for j in range(rows):
                parts += front(rng, xs[i], xs[i + 1], zs[j], zs[j + 1], depth, fronts, "drawer")
    return [Thing("cabinet", tuple(parts))]


def _feet(rng: Rng, width: float, depth: float, height: float, material: Material) -> list[Part]:
    if rng.random() < 0.5:
        return [
            Part(shapes.slab(width - 0.04, depth - 0.06, 0, height + 0.01) + [0, 0.01, 0], material)
        ]
    parts = []
    for x in (-1, 1):
        for y in (0.05, depth - 0.06):
            at = x * (width / 2 - 0.05)
            parts.append(
                Part(shapes.rod((at, y, 0), (at, y, height + 0.01), 0.015, 0.022), material)
            )
    return parts


def file_cabinet(rng: Rng) -> list[Thing]:
    """An office cabinet of drawers."""
    width, depth = rng.uniform(0.4, 0.5), rng.uniform(0.45, 0.62)
    rows = int(rng.integers(2, 5))
    material = materials.paint(rng) if rng.random() < 0.7 else materials.wood(rng)
    parts = drawers(rng, width, depth, 0.0, 0.07 + rows * rng.uniform(0.28, 0.34), rows, material)
    return [Thing("file cabinet", tuple(parts))]


def wardrobe(rng: Rng) -> list[Thing]:
    """A cabinet to hang clothes in, as high as a man or higher."""
    width, depth, height = rng.uniform(0.8, 1.8), rng.uniform(0.52, 0.64), rng.uniform(1.85, 2.25)
    body = materials.board(rng)
    fronts = body if rng.random() < 0.6 else materials.board(rng)
    parts = [Part(shapes.slab(width, depth - 0.02, 0.0, height), body)]
    low = 0.08
    if rng.random() < 0.35:
        top = rng.uniform(0.4, 0.6)
        for a, b in zip(np.linspace(low, top, 3)[:-1], np.linspace(low, top, 3)[1:]):
            parts += front(rng, -width / 2 + 0.01, width / 2 - 0.01, a, b, depth, fronts, "drawer")
        low = top
    parts += doors(rng, -width / 2 + 0.01, width / 2 - 0.01, low, height - 0.03, depth, fronts)
    return [Thing("wardrobe cabinet", tuple(parts))]


def bookshelf(rng: Rng) -> list[Thing]:
    """Open shelves with books, boxes and vases on them; the books are part of it."""
    width, depth, height = rng.uniform(0.6, 1.3), rng.uniform(0.26, 0.36), rng.uniform(0.9, 2.15)
    material = materials.board(rng)
    board = rng.uniform(0.018, 0.03)
    rows = max(2, round(height / rng.uniform(0.3, 0.4)))
    levels = np.linspace(rng.uniform(0.03, 0.1), height - board, rows + 1)
    parts = []
    for x in (-1, 1):
        at = x * (width / 2 - board / 2)
        parts.append(
            Part(shapes.box((at - board / 2, 0, 0), (at + board / 2, depth, height)), material)
        )
    for z in levels:
        parts.append(
            Part(
                shapes.box((-width / 2 + board, 0.0, z), (width / 2 - board, depth, z + board)),
                material,
            )
        )
    if rng.random() < 0.75:
        parts.append(
            Part(
                shapes.box((-width / 2 + board, 0, levels[0]), (width / 2 - board, 0.008, height)),
                material,
            )
        )
    for low, high in itertools.pairwise(levels):
        parts += shelf_content(
            rng, -width / 2 + board, width / 2 - board, low + board, high - 0.02, depth
        )
    return [Thing("bookshelf", tuple(parts))]


def shelf_content(
    rng: Rng, left: float, right: float, low: float, high: float, depth: float
) -> list[Part]:
    """What stands on a shelf: rows and heaps of books, boxes, a vase, or nothing for a stretch."""
    parts: list[Part] = []
    x = left + 0.01
    while x < right - 0.06:
        draw = rng.random()
        room = right - x - 0.005
        if draw < 0.68:
            run = min(room, rng.uniform(0.1, 0.45))
            parts += upright_books(rng, x, x + run, low, high, depth)
            x += run
        elif draw < 0.78 and room > 0.2:
            run = min(room, rng.uniform(0.18, 0.3))
            top = rng.uniform(low + 0.1, max(high - 0.02, low + 0.11))
            color = materials.cloth(rng) if rng.random() < 0.5 else materials.paint(rng)
            parts.append(
                Part(
                    shapes.box((x, 0.03, low), (x + run - 0.01, depth - 0.02, min(top, high))),
                    color,
                )
            )
            x += run
        elif draw < 0.84 and room > 0.14:
            size = min(0.06, (high - low) / 4)
            vase = shapes.turned(
                [(size * 0.6, 0), (size, size), (size * 0.4, size * 2.2), (size * 0.6, size * 2.8)],
                10,
            )
            parts.append(Part(vase + [x + 0.07, depth / 2, low], materials.white_ware(rng)))
            x += 0.14
        else:
            x += rng.uniform(0.05, 0.25)
    return parts


def upright_books(
    rng: Rng, left: float, right: float, low: float, high: float, depth: float
) -> list[Part]:
    """Books side by side, of all colours."""
    parts: list[Part] = []
    x = left
    room = high - low
    while True:
        thick, tall = rng.uniform(0.018, 0.055), room * rng.uniform(0.6, 0.95)
        if x + thick > right:
            return parts
        y = depth - rng.uniform(0.02, 0.07)
        cover = materials.plain(materials.pick(rng, materials.CLOTHS, 0.12), rng)
        parts.append(
            Part(
                shapes.box(
                    (x, max(0.02, y - 0.2), low), (x + thick - 0.001, y, low + min(tall, 0.34))
                ),
                cover,
            )
        )
        x += thick


def refrigerator(rng: Rng) -> list[Thing]:
    """A refrigerator with one door, a freezer above or below, or two doors side by side."""
    width, depth, height = rng.uniform(0.58, 0.9), rng.uniform(0.6, 0.74), rng.uniform(1.5, 1.9)
    draw = rng.random()
    body = (
        materials.white_ware(rng)
        if draw < 0.5
        else materials.metal(rng)
        if draw < 0.8
        else materials.paint(rng)
    )
    parts = [Part(shapes.slab(width, depth - 0.06, 0.02, height), body)]
    y, gap, handle = depth - 0.055, 0.006, materials.metal(rng)
    if width > 0.78:
        cells = [(-width / 2, 0.0, 0.06, height), (0.0, width / 2, 0.06, height)]
    else:
        split = height * (rng.uniform(0.62, 0.72) if rng.random() < 0.5 else rng.uniform(0.3, 0.4))
        cells = [(-width / 2, width / 2, 0.06, split), (-width / 2, width / 2, split, height)]
    for left, right, low, high in cells:
        door = shapes.box((left + gap / 2, y, low + gap), (right - gap / 2, depth, high))
        parts.append(Part(door, body))
        at = right - 0.05 if left < -0.01 else left + 0.05
        middle = high - 0.3 * (high - low) if low < 0.5 else low + 0.3 * (high - low)
        reach = 0.3 * (high - low)
        parts.append(
            Part(
                shapes.rod(
                    (at, depth + 0.025, middle - reach / 2),
                    (at, depth + 0.025, middle + reach / 2),
                    0.012,
                ),
                handle,
            )
        )
    return [Thing("refrigerator", tuple(parts))]
