"""The room itself: walls with holes for doors and windows, floor, ceiling, skirting, doorways."""

import itertools
from dataclasses import dataclass

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture import openings
from pcpt.data.rooms.materials import Material
from pcpt.data.rooms.plan import Plan, Slot, rectangle
from pcpt.data.rooms.things import Part, Thing, bounds, moved

Rng = np.random.Generator
THICK = 0.16


@dataclass(frozen=True)
class Hole:
    """An opening in a wall, in metres along it and above the floor."""

    wall: int
    left: float
    right: float
    low: float
    high: float


def cut_doors(rng: Rng, plan: Plan) -> list[Hole]:
    """One door, sometimes two, closed or open by some angle; keeps their swing free."""
    holes: list[Hole] = []
    for number in range(1 + (rng.random() < 0.3)):
        for _ in range(20):
            index = int(rng.integers(len(plan.walls)))
            wall = plan.walls[index]
            width, height = rng.uniform(0.82, 1.0), rng.uniform(2.0, 2.12)
            if not wall.outer or wall.length < width + 0.5:
                continue
            near_end = rng.random() < 0.6
            along = (
                width / 2 + 0.15
                if near_end
                else rng.uniform(width / 2 + 0.15, wall.length - width / 2 - 0.15)
            )
            slot = Slot(
                index, along - width / 2 - 0.08, along + width / 2 + 0.08, 0.0, height + 0.1
            )
            at = wall.at(along)
            swing = rectangle((-width / 2, 0.0), (width / 2, 0.95), wall.angle, at)
            if not plan.slot_free(slot) or not plan.free(swing, clear=False):
                continue
            plan.slots.append(slot)
            plan.clear.append(swing)
            opened = float(
                rng.choice([0.0, rng.uniform(0.2, 1.0), rng.uniform(1.0, 1.6)], p=[0.4, 0.25, 0.35])
            )
            plan.things += moved(openings.door(rng, width, height, opened), wall.angle, at)
            holes.append(Hole(index, along - width / 2, along + width / 2, 0.0, height))
            break
        if number == 0 and not holes:
            raise ValueError(f"no wall of a room of {plan.size} m takes a door")
    return holes


def cut_windows(rng: Rng, plan: Plan, count: int, high_sill: bool, curtain: float) -> list[Hole]:
    """Up to ``count`` windows; ``curtain`` is the probability that one has curtains."""
    holes: list[Hole] = []
    for _ in range(12 * count):
        if len(holes) == count:
            break
        index = int(rng.integers(len(plan.walls)))
        wall = plan.walls[index]
        width = rng.uniform(0.5, 0.9) if high_sill else rng.uniform(0.8, 2.0)
        low = rng.uniform(1.2, 1.45) if high_sill else rng.uniform(0.35, 1.05)
        high = min(
            plan.height - 0.25,
            low + rng.uniform(0.6, 0.8) if high_sill else rng.uniform(1.95, 2.25),
        )
        if not wall.outer or wall.length < width + 0.9:
            continue
        along = rng.uniform(width / 2 + 0.4, wall.length - width / 2 - 0.4)
        dressed = rng.random() < curtain
        margin = 0.4 if dressed else 0.1
        slot = Slot(
            index, along - width / 2 - margin, along + width / 2 + margin, low - 0.08, high + 0.05
        )
        if not plan.slot_free(slot):
            continue
        plan.slots.append(slot)
        plan.things += moved(openings.window(rng, width, low, high), wall.angle, wall.at(along))
        holes.append(Hole(index, along - width / 2, along + width / 2, low, high))
        if dressed:
            _dress(rng, plan, index, along, width, low, high)
    return holes


def _dress(
    rng: Rng, plan: Plan, index: int, along: float, width: float, low: float, high: float
) -> None:
    wall = plan.walls[index]
    made = openings.curtains(rng, width, high, low)
    plan.things += moved(made, wall.angle, wall.at(along))
    for one in made:
        first, last = bounds([Thing(one.label, one.parts[:1])])  # the cloth without the rod
        if first[2] < 0.5:  # floor-length: nothing may stand in it
            ring = rectangle(first, last, wall.angle, wall.at(along))
            plan.solid.append(ring)
            plan.slots.append(Slot(index, along + first[0], along + last[0], 0.0, high))


def build_shell(rng: Rng, plan: Plan, holes: list[Hole], wet: bool) -> list[Thing]:
    """Walls, floor and ceiling as things, and what is behind each doorway."""
    paper = materials.wall(rng, wet)
    accent = materials.wall(rng, wet) if rng.random() < 0.3 else paper
    chosen = int(rng.integers(len(plan.walls)))
    dado = (rng.uniform(0.9, 1.5), materials.tiles(rng)) if wet and rng.random() < 0.5 else None
    skirting = materials.board(rng) if rng.random() < 0.8 and dado is None else None
    ground = materials.floor(rng, wet)
    things = []
    for index in range(len(plan.walls)):
        own = [hole for hole in holes if hole.wall == index]
        paint = accent if index == chosen else paper
        things.append(_wall(plan, index, own, paint, dado, skirting))
    doorways = [(hole, _doorway(plan, hole, paper)) for hole in holes if hole.low == 0]
    things += [one for _, one in doorways]
    things += [_floor(plan, holes, ground), _ceiling(rng, plan)]
    return things


def _wall(
    plan: Plan,
    index: int,
    holes: list[Hole],
    paint: Material,
    dado: tuple[float, Material] | None,
    skirting: Material | None,
) -> Thing:
    wall = plan.walls[index]
    xs = sorted({0.0, wall.length, *(h.left for h in holes), *(h.right for h in holes)})
    zs = {0.0, plan.height, *(h.low for h in holes), *(h.high for h in holes)}
    if dado is not None:
        zs.add(dado[0])
    rows = sorted(zs)
    cells: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for left, right in itertools.pairwise(xs):
        for low, high in itertools.pairwise(rows):
            x, z = (left + right) / 2, (low + high) / 2
            if not any(h.left < x < h.right and h.low < z < h.high for h in holes):
                lower = dado is not None and z < dado[0]
                cells[lower].append(shapes.box((left, -THICK, low), (right, 0.0, high)))
    parts = []
    for lower, material in ((False, paint), (True, dado[1] if dado else paint)):
        if cells[lower]:
            parts.append(Part(np.concatenate(cells[lower]), material))
    if skirting is not None:
        gaps = [(h.left - 0.06, h.right + 0.06) for h in holes if h.low == 0]
        edges = [0.0, *(x for gap in sorted(gaps) for x in gap), wall.length]
        for left, right in zip(edges[0::2], edges[1::2]):
            if right - left > 0.02:
                parts.append(Part(shapes.box((left, 0.0, 0.001), (right, 0.011, 0.075)), skirting))
    return Thing("wall", tuple(parts)).moved(wall.angle, wall.at(0.0))


def _doorway(plan: Plan, hole: Hole, paint: Material) -> Thing:
    """A stub of the corridor outside, so that an open door shows something."""
    wall = plan.walls[hole.wall]
    wide, far, top = (hole.right - hole.left) / 2 + 0.25, 1.3, hole.high + 0.2
    boxes = [
        shapes.box((-wide, -THICK - far - 0.05, 0), (wide, -THICK - far, top)),
        shapes.box((-wide - 0.05, -THICK - far, 0), (-wide, -THICK, top)),
        shapes.box((wide, -THICK - far, 0), (wide + 0.05, -THICK, top)),
        shapes.box((-wide, -THICK - far, top), (wide, -THICK, top + 0.05)),
    ]
    middle = wall.at((hole.left + hole.right) / 2)
    return Thing("wall", (Part(np.concatenate(boxes), paint),)).moved(wall.angle, middle)


def _floor(plan: Plan, holes: list[Hole], material: Material) -> Thing:
    (w, d), (a, b) = plan.size, plan.notch
    rectangles = [((0.0, 0.0), (w, d - b))]
    if a > 0:
        rectangles.append(((0.0, d - b), (w - a, d)))
    boxes = [shapes.box((*low, -0.1), (*high, 0.0)) for low, high in rectangles]
    for hole in holes:
        if hole.low == 0:
            wall = plan.walls[hole.wall]
            half = (hole.right - hole.left) / 2 + 0.3
            strip = shapes.box((-half, -THICK - 1.35, -0.1), (half, 0.0, 0.0))
            boxes.append(
                shapes.rotated(strip, wall.angle) + np.array(wall.at((hole.left + hole.right) / 2))
            )
    return Thing("floor", (Part(np.concatenate(boxes), material),))


def _ceiling(rng: Rng, plan: Plan) -> Thing:
    (w, d), z = plan.size, plan.height
    paint = Material(
        "plaster", (materials.pick(rng, materials.PAINTS[:2]),), 1.5, int(rng.integers(1 << 20))
    )
    return Thing("ceiling", (Part(shapes.box((0, 0, z), (w, d, z + 0.1)), paint),))
