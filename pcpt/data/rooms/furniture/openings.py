"""What is in and on the walls: doors, windows, curtains, pictures, mirrors, whiteboards. Made for a
wall whose surface is y = 0 and whose room is at y > 0; windows and closed doors lie behind it."""

# ruff: noqa: RUF005  (arrays are added to, not lists joined)

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture.bath import folds
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.things import Part, Thing

Rng = np.random.Generator


def door(rng: Rng, width: float, height: float, opened: float) -> list[Thing]:
    """A door in its frame, hinged on the left.

    Args:
        rng: draws everything else.
        width: of the hole in the wall, metres.
        height: of the hole.
        opened: radians that the leaf is turned into the room; 0 is closed.
    """
    trim, leaf = materials.board(rng), materials.board(rng)
    if rng.random() < 0.5:
        leaf = trim
    frame = 0.05
    parts = []
    for x in (-1, 1):
        ends = sorted((x * width / 2, x * (width / 2 - frame)))
        parts.append(Part(shapes.box((ends[0], -0.12, 0), (ends[1], 0.012, height)), trim))
        ends = sorted((x * width / 2, x * (width / 2 + 0.06)))
        parts.append(Part(shapes.box((ends[0], 0.0, 0), (ends[1], 0.016, height + 0.06)), trim))
    parts.append(
        Part(
            shapes.box(
                (-width / 2 + frame, -0.12, height - frame), (width / 2 - frame, 0.012, height)
            ),
            trim,
        )
    )
    parts.append(
        Part(shapes.box((-width / 2, 0.0, height), (width / 2, 0.016, height + 0.06)), trim)
    )
    left, right = -width / 2 + frame + 0.004, width / 2 - frame - 0.004
    panel = _leaf(rng, left, right, height - frame - 0.004, leaf)
    return [
        Thing("doorframe", tuple(parts)),
        Thing(
            "door",
            tuple(Part(shapes.rotated(p.quads, opened, (left, 0.0, 0)), p.material) for p in panel),
        ),
    ]


def _leaf(rng: Rng, left: float, right: float, top: float, material: Material) -> list[Part]:
    parts = [Part(shapes.box((left, -0.042, 0.008), (right, -0.002, top)), material)]
    style = rng.integers(3)
    if style:  # raised panels
        rows = (
            [(0.15, 0.85), (1.0, top - 0.15)]
            if style == 1
            else [(0.15, 0.7), (0.82, 1.3), (1.42, top - 0.15)]
        )
        for low, high in rows:
            for face in (-0.048, -0.004):
                parts.append(
                    Part(
                        shapes.box((left + 0.12, face, low), (right - 0.12, face + 0.008, high)),
                        material,
                    )
                )
    steel = materials.metal(rng)
    at = right - 0.07
    for y, turn in ((0.045, 1), (-0.09, -1)):
        base = shapes.rod((at, -0.002 if turn > 0 else -0.042, 1.02), (at, y, 1.02), 0.011)
        ends = sorted((y - 0.012, y + 0.012))
        lever = shapes.box((at - 0.11, ends[0], 1.01), (at + 0.012, ends[1], 1.03))
        parts += [Part(base, steel), Part(lever, steel)]
    return parts


def window(rng: Rng, width: float, low: float, high: float) -> list[Thing]:
    """A window set back in its hole: frame, bars, a pane that shows the outdoors, and a sill."""
    trim = (
        materials.board(rng)
        if rng.random() < 0.4
        else materials.plain(materials.pick(rng, materials.PAINTS[:3]), rng)
    )
    back, thick = -0.12, 0.06
    half = width / 2
    parts = []
    for ends in ((-half, -half + thick), (half - thick, half)):
        parts.append(Part(shapes.box((ends[0], back, low), (ends[1], back + 0.06, high)), trim))
    for z in (low, high - thick):
        parts.append(
            Part(shapes.box((-half + thick, back, z), (half - thick, back + 0.06, z + thick)), trim)
        )
    for x in np.linspace(-half, half, max(2, round(width / 0.7)) + 1)[1:-1]:
        parts.append(
            Part(
                shapes.box(
                    (x - 0.03, back + 0.005, low + thick), (x + 0.03, back + 0.055, high - thick)
                ),
                trim,
            )
        )
    if rng.random() < 0.4:
        z = low + (high - low) * rng.uniform(0.45, 0.7)
        parts.append(
            Part(
                shapes.box(
                    (-half + thick, back + 0.01, z - 0.02), (half - thick, back + 0.05, z + 0.02)
                ),
                trim,
            )
        )
    pane = shapes.box(
        (-half + 0.01, back - 0.01, low + 0.01), (half - 0.01, back + 0.02, high - 0.01)
    )
    view = materials.outdoors(rng)
    parts.append(
        Part(
            pane,
            Material(
                view.kind,
                view.colors,
                max(width, high - low) * 1.05,
                view.seed,
                emission=view.emission,
                loss=view.loss,
            ),
        )
    )
    if rng.random() < 0.7:
        parts.append(
            Part(
                shapes.box((-half - 0.05, back + 0.06, low - 0.03), (half + 0.05, 0.05, low)), trim
            )
        )
    return [Thing("window", tuple(parts))]


def curtains(rng: Rng, width: float, high: float, sill: float) -> list[Thing]:
    """A pair of curtains (sometimes one) at the sides of a window, on a rod.

    Args:
        rng: draws everything else.
        width: of the window, metres.
        high: top of the window.
        sill: its lower edge; curtains end below it or near the floor.
    """
    material = materials.cloth(rng)
    reach = width / 2 + rng.uniform(0.12, 0.3)
    rail = high + rng.uniform(0.06, 0.16)
    low = rng.uniform(0.02, 0.1) if rng.random() < 0.65 else sill - rng.uniform(0.1, 0.25)
    depth = rng.uniform(0.02, 0.035)
    wide = reach * rng.uniform(0.28, 0.75)
    sides = (-1, 1) if rng.random() < 0.85 else (int(rng.choice((-1, 1))),)
    things: list[Thing] = []
    bar = Part(
        shapes.rod((-reach - 0.06, 0.09, rail), (reach + 0.06, 0.09, rail), 0.013),
        materials.metal(rng),
    )
    for side in sides:
        ends = sorted((side * reach, side * (reach - wide)))
        cloth = Part(folds(rng, ends[0], ends[1], low, rail, 0.09, depth), material)
        things.append(Thing("curtain", (cloth,) if things else (cloth, bar)))
    return things


def picture(rng: Rng) -> list[Thing]:
    """A framed picture or a poster, centred at height 0 on the wall."""
    size = rng.uniform(0.3, 0.95)
    ratio = rng.uniform(0.62, 1.5)
    half, tall = size / 2, size * ratio / 2
    thick = rng.uniform(0.015, 0.035)
    motif = materials.picture(rng)
    motif = Material(motif.kind, motif.colors, 2.04 * max(half, tall), motif.seed)
    inner_half, inner_tall = half, tall
    parts = []
    if rng.random() < 0.75:
        wide = rng.uniform(0.02, 0.05)
        frame = materials.wood(rng) if rng.random() < 0.6 else materials.metal(rng)
        for x in (-half, half - wide):
            parts.append(Part(shapes.box((x, 0.002, -tall), (x + wide, thick, tall)), frame))
        for z in (-tall, tall - wide):
            parts.append(
                Part(shapes.box((-half + wide, 0.002, z), (half - wide, thick, z + wide)), frame)
            )
        inner_half, inner_tall = half - wide, tall - wide
    parts.insert(
        0,
        Part(
            shapes.box((-inner_half, 0.002, -inner_tall), (inner_half, thick * 0.6, inner_tall)),
            motif,
        ),
    )
    return [Thing("picture", tuple(parts))]


def mirror(rng: Rng) -> list[Thing]:
    """A wall mirror, centred at height 0."""
    half, tall = rng.uniform(0.22, 0.5), rng.uniform(0.3, 0.5)
    frame = materials.board(rng)
    glass = shapes.box((-half + 0.03, 0.002, -tall + 0.03), (half - 0.03, 0.018, tall - 0.03))
    back = shapes.box((-half, 0.001, -tall), (half, 0.014, tall))
    return [Thing("mirror", (Part(glass, materials.mirror()), Part(back, frame)))]


def whiteboard(rng: Rng) -> list[Thing]:
    """A whiteboard, centred at height 0."""
    half, tall = rng.uniform(0.6, 1.0), rng.uniform(0.42, 0.6)
    board = shapes.box((-half, 0.002, -tall), (half, 0.02, tall))
    tray = shapes.box((-half * 0.6, 0.02, -tall - 0.02), (half * 0.6, 0.09, -tall))
    return [
        Thing(
            "whiteboard",
            (
                Part(board, materials.plain((0.93, 0.94, 0.95), rng, 0.08)),
                Part(tray, materials.metal(rng)),
            ),
        )
    ]


def radiator(rng: Rng) -> list[Thing]:
    """A radiator, standing clear of the floor; goes below windows."""
    width, high = rng.uniform(0.6, 1.3), rng.uniform(0.5, 0.68)
    enamel = materials.paint(rng)
    parts = [Part(shapes.slab(width, 0.03, 0.12, high) + [0, 0.03, 0], enamel)]
    for x in np.arange(-width / 2 + 0.03, width / 2 - 0.02, 0.07):
        parts.append(Part(shapes.box((x, 0.055, 0.13), (x + 0.045, 0.085, high - 0.01)), enamel))
    parts.append(
        Part(
            shapes.rod((width / 2 - 0.02, 0.045, 0), (width / 2 - 0.02, 0.045, 0.14), 0.01), enamel
        )
    )
    return [Thing("radiator", tuple(parts))]
