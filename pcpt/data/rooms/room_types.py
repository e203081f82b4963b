"""Recipes: what belongs into a bedroom, a living room, a kitchen, an office and a bathroom."""

from collections.abc import Callable, Sequence

import numpy as np

from pcpt.data.rooms import materials, shell
from pcpt.data.rooms.furniture import (
    bath,
    beds,
    clutter,
    kitchen,
    openings,
    seating,
    storage,
    tables,
)
from pcpt.data.rooms.plan import Plan
from pcpt.data.rooms.settings import desk_place, dining_place, lounge_place, on_top, rug_under
from pcpt.data.rooms.things import Part, Thing, centred, moved

Rng = np.random.Generator
Maker = Callable[[Rng], list[Thing]]


def _some(
    rng: Rng, plan: Plan, makers: Sequence[tuple[float, Maker]], clearance: float = 0.4
) -> None:
    """Each maker's thing along a wall, with its probability."""
    for chance, maker in makers:
        if rng.random() < chance:
            plan.along_wall(rng, maker(rng), clearance=clearance)


def _loose(rng: Rng, plan: Plan, makers: Sequence[tuple[float, Maker]]) -> None:
    """Each maker's thing somewhere on the free floor, mostly near walls."""
    for chance, maker in makers:
        if rng.random() < chance:
            made = centred(maker(rng))
            if rng.random() < 0.7:
                plan.along_wall(rng, made, clearance=0.0)
            else:
                plan.in_the_open(rng, made, turns=0)


def _decorate(
    rng: Rng, plan: Plan, pictures: int, makers: Sequence[tuple[float, Maker]] = ()
) -> None:
    """Pictures and the like on what is left of the walls."""
    for chance, maker in makers:
        if rng.random() < chance:
            plan.on_wall(rng, maker(rng), (1.3, 1.6))
    for _ in range(pictures):
        plan.on_wall(rng, openings.picture(rng), (1.35, 1.75))


def bedroom(rng: Rng, plan: Plan) -> None:
    """A bed with night stands; wardrobe, dresser, desk, shelf, chairs as there is room."""
    for _ in range(1 + (rng.random() < 0.15)):
        made = beds.bed(rng)
        width = made[0].bounds()[1][0] - made[0].bounds()[0][0]
        for side in (-1, 1):
            if rng.random() < 0.7:
                stand = tables.nightstand(rng)
                low, high = stand[0].bounds()
                if rng.random() < 0.55:
                    stand += moved(
                        clutter.table_lamp(rng), 0.0, (0, (low[1] + high[1]) / 2, high[2] + 0.001)
                    )
                half = (high[0] - low[0]) / 2
                made += moved(
                    stand, 0.0, (side * (width / 2 + half + rng.uniform(0.05, 0.12)), -0.02, 0)
                )
        placed = plan.along_wall(rng, made, clearance=0.3, tries=60)
        if placed is None:
            plan.along_wall(rng, beds.bed(rng), clearance=0.1, tries=80)
    _some(rng, plan, [(0.75, storage.wardrobe), (0.6, storage.cabinet)], 0.6)
    if rng.random() < 0.55:
        desk_place(rng, plan, computers=0.6)
    _some(
        rng, plan, [(0.6, storage.bookshelf), (0.45, seating.chair), (0.35, seating.armchair)], 0.3
    )
    _loose(
        rng,
        plan,
        [
            (0.4, clutter.floor_lamp),
            (0.4, clutter.trash_can),
            (0.4, clutter.basket),
            (0.4, seating.ottoman),
            (0.3, clutter.bench),
            (0.5, clutter.storage_box),
            (0.3, clutter.plant),
            (0.25, seating.stool),
        ],
    )
    if rng.random() < 0.5:
        rug_under(rng, plan)
    _decorate(rng, plan, int(rng.integers(1, 5)), [(0.4, openings.mirror)])


def living_room(rng: Rng, plan: Plan) -> None:
    """Sofas around a coffee table before a television, and a dining table if it fits."""
    lounge_place(rng, plan)
    if rng.random() < 0.75:
        stand = storage.cabinet(rng) if rng.random() < 0.6 else tables.coffee_table(rng)
        made = stand + on_top(rng, stand[0], [clutter.television], 1)
        plan.along_wall(rng, made, clearance=0.5)
    if rng.random() < 0.65:
        dining_place(rng, plan)
    if rng.random() < 0.25:
        desk_place(rng, plan, computers=0.5)
    _some(
        rng,
        plan,
        [
            (0.8, storage.bookshelf),
            (0.5, storage.bookshelf),
            (0.6, storage.cabinet),
            (0.6, seating.armchair),
            (0.35, seating.chair),
        ],
        0.3,
    )
    _loose(
        rng,
        plan,
        [
            (0.5, clutter.floor_lamp),
            (0.6, clutter.plant),
            (0.4, seating.ottoman),
            (0.3, clutter.bench),
            (0.3, clutter.storage_box),
            (0.25, clutter.trash_can),
            (0.3, seating.stool),
            (0.3, clutter.basket),
        ],
    )
    if rng.random() < 0.6:
        rug_under(rng, plan)
    _decorate(rng, plan, int(rng.integers(2, 6)), [(0.2, openings.mirror)])


def kitchen_room(rng: Rng, plan: Plan) -> None:
    """A row of counters with sink, cooker and refrigerator; a table with chairs."""
    style = (materials.board(rng), materials.stone(rng))
    for _ in range(8):
        row = _kitchen_row(rng, style, hung=rng.random() < 0.8)
        if plan.along_wall(rng, row, clearance=0.7, tries=15, corner=True) is not None:
            break
    for _ in range(int(rng.integers(0, 3))):
        length = rng.uniform(0.8, 1.8)
        run = kitchen.kitchen_run(rng, length, False, style)
        things = run + on_top(rng, run[0], [clutter.appliance, clutter.dishes, clutter.dishes], 3)
        plan.along_wall(rng, things, clearance=0.6)
    if not any(one.label == "refrigerator" for one in plan.things):
        plan.along_wall(rng, storage.refrigerator(rng), clearance=0.6)
    dining_place(rng, plan)
    _some(rng, plan, [(0.3, storage.cabinet), (0.2, storage.bookshelf)])
    _loose(
        rng,
        plan,
        [
            (0.75, clutter.trash_can),
            (0.35, seating.stool),
            (0.25, clutter.storage_box),
            (0.25, clutter.plant),
            (0.2, clutter.bench),
        ],
    )
    _decorate(rng, plan, int(rng.integers(0, 4)))


def _kitchen_row(
    rng: Rng, style: tuple[materials.Material, materials.Material], hung: bool
) -> list[Thing]:
    x = 0.0
    row: list[Thing] = []
    order = (
        ["fridge", "sink", "stove", "run"]
        if rng.random() < 0.6
        else ["run", "stove", "sink", "fridge"]
    )
    for kind in order:
        if kind == "run" and rng.random() < 0.35:
            continue
        if kind == "fridge":
            made = storage.refrigerator(rng)
        elif kind == "stove":
            made = kitchen.stove(rng)
        else:
            made = kitchen.kitchen_run(
                rng,
                rng.uniform(1.0, 1.7) if kind == "sink" else rng.uniform(0.5, 1.1),
                kind == "sink",
                style,
            )
            made += on_top(
                rng,
                made[0],
                [clutter.dishes, clutter.appliance, clutter.dishes],
                2,
                keep_left=kind == "sink",
            )
            if hung:
                low, high = made[0].bounds()
                made += kitchen.wall_cabinets(rng, float(high[0] - low[0]), style[0])
        low, high = made[0].bounds()
        row += moved(made, 0.0, (x - low[0], 0, 0))
        x += high[0] - low[0] + 0.004
    return moved(row, 0.0, (-x / 2, 0, 0))


def office(rng: Rng, plan: Plan) -> None:
    """Desks with monitors and swivel chairs, shelves, filing cabinets, a meeting table."""
    for _ in range(int(rng.integers(1, 5))):
        desk_place(rng, plan, computers=0.9)
    if rng.random() < 0.45:
        dining_place(rng, plan)
    _some(
        rng,
        plan,
        [
            (0.8, storage.bookshelf),
            (0.5, storage.bookshelf),
            (0.7, storage.file_cabinet),
            (0.5, storage.cabinet),
            (0.3, seating.sofa),
            (0.3, seating.chair),
            (0.2, seating.armchair),
        ],
    )
    _loose(
        rng,
        plan,
        [
            (0.8, clutter.trash_can),
            (0.4, clutter.plant),
            (0.5, clutter.storage_box),
            (0.3, clutter.floor_lamp),
            (0.25, seating.stool),
            (0.2, clutter.bench),
        ],
    )
    if rng.random() < 0.2:
        rug_under(rng, plan)
    _decorate(rng, plan, int(rng.integers(1, 4)), [(0.5, openings.whiteboard)])


def bathroom(rng: Rng, plan: Plan) -> None:
    """Tub or shower with its curtain, toilet, washbasin, mirror, towels."""
    tub = bath.bathtub(rng) if rng.random() < 0.75 else _shower_tray(rng)
    low, high = tub[0].bounds()
    if rng.random() < 0.9:
        tub += bath.shower_curtain(rng, float(high[0] - low[0]), float(high[1]) - 0.035)
    plan.along_wall(rng, tub, clearance=0.4, tries=80, corner=True)
    plan.along_wall(rng, bath.toilet(rng), clearance=0.5, tries=60)
    basin = bath.sink(rng)
    low, high = basin[0].bounds()
    if rng.random() < 0.75:
        basin += moved(openings.mirror(rng), 0.0, (0, 0, rng.uniform(1.45, 1.6)))
    plan.along_wall(rng, basin, clearance=0.5, tries=60)
    _some(rng, plan, [(0.45, storage.cabinet), (0.15, bath.sink)], 0.3)
    _loose(
        rng,
        plan,
        [
            (0.6, clutter.trash_can),
            (0.5, clutter.basket),
            (0.25, seating.stool),
            (0.2, clutter.storage_box),
        ],
    )
    if rng.random() < 0.5:
        rug_under(rng, plan, small=True)
    for _ in range(int(rng.integers(1, 3))):
        plan.on_wall(rng, bath.towel(rng), (1.2, 1.5))
    _decorate(rng, plan, int(rng.integers(0, 3)))


def _shower_tray(rng: Rng) -> list[Thing]:
    """A low tray instead of a tub; ScanNet's annotators call such a thing a shower."""
    length, width = rng.uniform(0.9, 1.2), rng.uniform(0.8, 0.95)
    quads = bath.shapes.slab(length, width, 0.0, 0.12, 0.02)
    return [Thing("shower", (Part(quads, materials.white_ware(rng)),))]


# name -> (least and largest sides in metres, wet, high sills, windows, curtains, recipe)
TYPES: dict[
    str, tuple[tuple[float, float, float, float], bool, float, Callable[[Rng, Plan], None]]
] = {
    "Bedroom": ((3.0, 4.6, 3.3, 5.0), False, 0.8, bedroom),
    "Living room": ((3.5, 5.0, 4.0, 5.8), False, 0.7, living_room),
    "Kitchen": ((2.9, 4.4, 3.4, 5.4), True, 0.35, kitchen_room),
    "Office": ((3.2, 5.0, 3.6, 5.8), False, 0.4, office),
    "Bathroom": ((2.1, 3.0, 2.4, 3.5), True, 0.15, bathroom),
}


def furnish(rng: Rng, kind: str) -> Plan:
    """A whole room of one of ``TYPES``, in its own axes, with a corner at the origin and z up."""
    (least_w, most_w, least_d, most_d), wet, curtain, recipe = TYPES[kind]
    size = (float(rng.uniform(least_w, most_w)), float(rng.uniform(least_d, most_d)))
    notch = (0.0, 0.0)
    if min(size) > 3.4 and rng.random() < 0.35:
        notch = (float(size[0] * rng.uniform(0.25, 0.45)), float(size[1] * rng.uniform(0.22, 0.42)))
    plan = Plan(size, notch, float(rng.uniform(2.4, 2.85)))
    holes = shell.cut_doors(rng, plan)
    count = 1 if wet and kind == "Bathroom" else int(rng.integers(1, 4))
    holes += shell.cut_windows(rng, plan, count, kind == "Bathroom" and rng.random() < 0.8, curtain)
    for hole in holes:
        if 0.72 < hole.low < 1.2 and rng.random() < 0.4:
            wall = plan.walls[hole.wall]
            plan.put(
                openings.radiator(rng),
                wall.angle,
                wall.at((hole.left + hole.right) / 2),
                hides=False,
            )
    recipe(rng, plan)
    plan.things[:0] = shell.build_shell(rng, plan, holes, wet)
    return plan
