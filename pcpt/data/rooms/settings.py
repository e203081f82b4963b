"""Groups that belong together: chairs at tables, a desk with its chair and screen, a sofa with its
low table, rugs, and what lies on tops."""

from collections.abc import Callable, Sequence

import numpy as np

from pcpt.data.rooms import materials, shapes
from pcpt.data.rooms.furniture import clutter, seating, tables
from pcpt.data.rooms.plan import Plan, overlaps, rectangle
from pcpt.data.rooms.things import Part, Thing, bounds, centred, moved

Rng = np.random.Generator
Maker = Callable[[Rng], list[Thing]]


def on_top(
    rng: Rng, base: Thing, makers: Sequence[Maker], count: int, keep_left: bool = False
) -> list[Thing]:
    """Things that lie on a top without touching each other.

    Args:
        rng: draws what lies where.
        base: what they lie on, in its own frame (its highest point is the top).
        makers: of what may lie there.
        count: how many to try.
        keep_left: only at the left third, beside a sink.
    """
    low, high = base.bounds()
    made: list[Thing] = []
    taken: list[np.ndarray] = []
    right = low[0] + 0.25 if keep_left else high[0]
    for index in range(count):
        things = makers[index % len(makers)](rng)
        first, last = bounds(things)
        angle = rng.normal(0, 0.12)
        room = (
            (right - low[0]) - (last[0] - first[0]) - 0.06,
            (high[1] - low[1]) - (last[1] - first[1]) - 0.08,
        )
        if room[0] <= 0 or room[1] <= 0:
            continue
        offset = (
            low[0] + 0.03 - first[0] + rng.random() * room[0],
            low[1] + 0.04 - first[1] + rng.random() ** 1.5 * room[1],
            high[2] + 0.001,
        )
        ring = rectangle(first, last, angle, offset)
        if not overlaps(ring, np.array(taken).reshape(-1, 4, 2)).any():
            taken.append(ring)
            made += moved(things, angle, offset)
    return made


def _reaches_under(chair: Thing) -> bool:
    """Whether a chair can be pushed under a table: it has no arms."""
    for part in chair.parts:
        high, low = part.quads[..., 2].max(), part.quads[..., 2].min()
        if high > 0.55 and part.quads[..., 1].max() > 0.3 and low > 0.4:
            return False
    return True


def seat_at(
    rng: Rng,
    plan: Plan,
    chair: list[Thing],
    number: int,
    centre: np.ndarray,
    towards: float,
    distance: float,
    under: float,
) -> None:
    """Puts a chair that looks in the direction ``towards`` (radians) at ``distance`` from the point
    ``centre`` to its front edge, on ``plan.solid[number]``'s side; pushed in by up to ``under``."""
    _, high = bounds(chair)
    push = rng.uniform(-0.2, under) if _reaches_under(chair[0]) else rng.uniform(-0.22, -0.03)
    turn = rng.normal(0, 0.1) if push > -0.05 else rng.normal(0, 0.35)
    direction = np.array([np.cos(towards), np.sin(towards)])
    origin = centre - direction * (distance - push + high[1])
    skip = (number,) if push > 0 else ()
    plan.put(
        chair,
        towards - np.pi / 2 + (0 if push > 0 else turn),
        (float(origin[0]), float(origin[1])),
        skip=skip,
    )


def dining_place(rng: Rng, plan: Plan) -> None:
    """A table with two to six alike chairs around it."""
    made = centred(tables.table(rng))
    low, high = bounds(made)
    made += on_top(
        rng, made[0], [clutter.dishes, clutter.books, clutter.dishes], int(rng.integers(0, 4))
    )
    number = plan.in_the_open(rng, made, around=0.45, tries=60)
    if number is None:
        number = plan.in_the_open(rng, made, around=0.1, tries=60)
    if number is None:
        return
    ring = plan.solid[number]
    centre, along = ring.mean(0), ring[1] - ring[0]
    angle = float(np.arctan2(along[1], along[0]))
    length, depth = high[0] - low[0], high[1] - low[1]
    design = int(rng.integers(1 << 40))  # all chairs of a table are of one design
    maker = seating.office_chair if rng.random() < 0.12 else seating.chair
    per_side = 2 if length > 1.25 else 1
    places = [
        (a, s)
        for a in (0.0, np.pi)
        for s in (np.linspace(-0.25, 0.25, 2) * length if per_side == 2 else [0.0])
    ]
    if length - depth < 0.15 or rng.random() < 0.4:
        places += [(np.pi / 2, 0.0), (-np.pi / 2, 0.0)]
    for side, shift in places:
        if rng.random() < 0.88:
            look = angle + side + np.pi / 2  # towards the table from below, left, ...
            across = np.array([np.cos(angle + side), np.sin(angle + side)])
            half = depth / 2 if abs(np.sin(side)) < 0.5 else length / 2
            chair = maker(np.random.default_rng(design))
            seat_at(rng, plan, chair, number, centre + across * shift, look, half, 0.10)


def desk_place(rng: Rng, plan: Plan, computers: float) -> None:
    """A desk at a wall with a chair, and on it a monitor, lamp, books."""
    made = tables.desk(rng)
    on: list[Maker] = [clutter.monitor] if rng.random() < computers else [clutter.laptop]
    on += [clutter.table_lamp] if rng.random() < 0.4 else []
    on += [clutter.keyboard, clutter.books, clutter.books, clutter.dishes]
    made += on_top(rng, made[0], on, int(rng.integers(2, 7)))
    number = plan.along_wall(rng, made, clearance=0.75, tries=40)
    if number is None or rng.random() < 0.08:
        return
    front = plan.clear.pop()  # the zone that was kept for this chair
    ring = plan.solid[number]
    out = ring[3] - ring[0]
    look = float(np.arctan2(-out[1], -out[0]))
    edge = (ring[2] + ring[3]) / 2
    chair = seating.office_chair(rng) if rng.random() < 0.75 else seating.chair(rng)
    seat_at(rng, plan, chair, number, edge, look, 0.0, -0.03)
    plan.clear.append(front)


def lounge_place(rng: Rng, plan: Plan) -> None:
    """One or two sofas along walls, a coffee table before the first."""
    made = seating.sofa(rng)
    number = plan.along_wall(rng, made, clearance=1.0, tries=60)
    if number is None:
        number = plan.along_wall(rng, made, clearance=0.2, tries=60)
    if number is not None and rng.random() < 0.8:
        ring = plan.solid[number]
        out = (ring[3] - ring[0]) / np.linalg.norm(ring[3] - ring[0])
        low_table = centred(tables.coffee_table(rng))
        low_table += on_top(
            rng, low_table[0], [clutter.books, clutter.dishes], int(rng.integers(0, 3))
        )
        low, high = bounds(low_table)
        centre = (ring[2] + ring[3]) / 2 + out * (rng.uniform(0.3, 0.45) + (high[1] - low[1]) / 2)
        front = plan.clear.pop()
        angle = float(np.arctan2(ring[1][1] - ring[0][1], ring[1][0] - ring[0][0]))
        plan.put(low_table, angle, (float(centre[0]), float(centre[1])))
        plan.clear.append(front)
    if rng.random() < 0.5:
        plan.along_wall(rng, seating.sofa(rng), clearance=0.5)
    if rng.random() < 0.4:
        beside = tables.side_table(rng)
        plan.along_wall(
            rng, beside + on_top(rng, beside[0], [clutter.table_lamp], 1), clearance=0.1
        )


def rug_under(rng: Rng, plan: Plan, small: bool = False) -> None:
    """A rug on the floor; furniture may stand on it."""
    length, width = (
        (rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.55))
        if small
        else (rng.uniform(1.2, 2.4), rng.uniform(0.9, 1.7))
    )
    centre = np.array(plan.size) * rng.uniform(0.35, 0.65, 2)
    angle = float(rng.integers(2)) * np.pi / 2 + rng.normal(0, 0.05)
    ring = rectangle((-length / 2, -width / 2), (length / 2, width / 2), angle, centre)
    if plan.inside(ring) and not (plan.notch[0] > 0 and overlaps(ring, plan.solid[0][None]).any()):
        quads = shapes.slab(length, width, 0.0005, 0.008) - [0, width / 2, 0]
        plan.things += moved(
            [Thing("rug", (Part(quads, materials.rug(rng)),))], angle, (*centre, 0.0)
        )
