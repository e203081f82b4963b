"""Every maker of furniture: closed shapes of the size that such things have, for 20 seeds each."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from pcpt.data.rooms import shapes
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
from pcpt.data.rooms.labels import NYU40_OF
from pcpt.data.rooms.things import Thing, bounds

Rng = np.random.Generator


def _shower(rng: Rng) -> list[Thing]:
    return bath.shower_curtain(rng, 1.6, 0.8)


def _run(rng: Rng) -> list[Thing]:
    from pcpt.data.rooms import materials

    return kitchen.kitchen_run(rng, 1.5, True, (materials.board(rng), materials.stone(rng)))


# maker -> least and largest width (x), depth (y), height (z) of the first thing, metres
MAKERS: dict[str, tuple[Callable[[Rng], list[Thing]], tuple[float, ...]]] = {
    "chair": (seating.chair, (0.38, 0.62, 0.38, 0.65, 0.7, 1.1)),
    "office chair": (seating.office_chair, (0.45, 0.75, 0.5, 0.8, 0.8, 1.25)),
    "stool": (seating.stool, (0.28, 0.45, 0.28, 0.45, 0.4, 0.75)),
    "ottoman": (seating.ottoman, (0.4, 0.85, 0.4, 0.85, 0.3, 0.5)),
    "armchair": (seating.armchair, (0.65, 1.15, 0.75, 1.0, 0.65, 1.0)),
    "sofa": (seating.sofa, (0.9, 2.75, 0.75, 1.65, 0.65, 1.0)),
    "table": (tables.table, (0.85, 2.0, 0.7, 2.0, 0.68, 0.8)),
    "coffee table": (tables.coffee_table, (0.5, 1.35, 0.4, 1.35, 0.3, 0.5)),
    "side table": (tables.side_table, (0.35, 0.6, 0.35, 0.6, 0.4, 0.65)),
    "desk": (tables.desk, (0.95, 1.8, 0.55, 0.85, 0.65, 0.8)),
    "nightstand": (tables.nightstand, (0.33, 0.6, 0.3, 0.5, 0.4, 0.65)),
    "cabinet": (storage.cabinet, (0.38, 1.7, 0.33, 0.7, 0.5, 1.5)),
    "file cabinet": (storage.file_cabinet, (0.38, 0.55, 0.4, 0.7, 0.55, 1.5)),
    "wardrobe": (storage.wardrobe, (0.75, 1.9, 0.5, 0.7, 1.8, 2.3)),
    "bookshelf": (storage.bookshelf, (0.55, 1.4, 0.24, 0.4, 0.85, 2.2)),
    "refrigerator": (storage.refrigerator, (0.55, 0.95, 0.58, 0.82, 1.45, 1.95)),
    "bed": (beds.bed, (0.9, 2.3, 1.95, 2.25, 0.6, 1.3)),
    "toilet": (bath.toilet, (0.33, 0.56, 0.6, 0.75, 0.68, 1.2)),
    "sink": (bath.sink, (0.38, 0.68, 0.36, 0.6, 0.2, 1.2)),
    "bathtub": (bath.bathtub, (1.4, 1.8, 0.65, 0.85, 0.45, 0.8)),
    "towel": (bath.towel, (0.3, 0.65, 0.01, 0.1, 0.4, 0.8)),
    "shower curtain": (_shower, (1.55, 1.65, 0.02, 0.15, 1.5, 2)),
    "stove": (kitchen.stove, (0.5, 0.66, 0.6, 0.7, 0.85, 1.0)),
    "kitchen counter": (_run, (1.45, 1.55, 0.6, 0.65, 0.03, 0.15)),
    "wall cabinets": (
        lambda r: kitchen.wall_cabinets(r, 1.2, _plain(r)),
        (1.15, 1.25, 0.3, 0.45, 0.5, 1.0),
    ),
    "doorframe": (lambda r: openings.door(r, 0.9, 2.05, 1.0), (0.95, 1.1, 0.1, 0.2, 2.0, 2.2)),
    "window": (lambda r: openings.window(r, 1.3, 0.9, 2.1), (1.25, 1.45, 0.05, 0.25, 1.1, 1.3)),
    "curtain": (lambda r: openings.curtains(r, 1.3, 2.1, 0.9), (0.4, 2.2, 0.03, 0.15, 1.2, 2.4)),
    "picture": (openings.picture, (0.25, 1.0, 0.005, 0.05, 0.15, 1.5)),
    "mirror": (openings.mirror, (0.4, 1.05, 0.01, 0.05, 0.55, 1.05)),
    "whiteboard": (openings.whiteboard, (1.1, 2.1, 0.05, 0.12, 0.8, 1.3)),
    "radiator": (openings.radiator, (0.55, 1.4, 0.03, 0.12, 0.45, 0.75)),
    "monitor": (clutter.monitor, (0.4, 0.75, 0.1, 0.25, 0.3, 0.65)),
    "keyboard": (clutter.keyboard, (0.4, 0.6, 0.1, 0.2, 0.01, 0.06)),
    "laptop": (clutter.laptop, (0.3, 0.4, 0.2, 0.4, 0.15, 0.3)),
    "television": (clutter.television, (0.65, 1.3, 0.15, 0.3, 0.4, 0.85)),
    "books": (clutter.books, (0.15, 0.4, 0.18, 0.45, 0.01, 0.25)),
    "table lamp": (clutter.table_lamp, (0.18, 0.4, 0.18, 0.4, 0.3, 0.65)),
    "floor lamp": (clutter.floor_lamp, (0.25, 0.5, 0.25, 0.5, 1.35, 1.8)),
    "plant": (clutter.plant, (0.3, 1.0, 0.3, 1.0, 0.35, 1.4)),
    "trash can": (clutter.trash_can, (0.2, 0.42, 0.2, 0.42, 0.24, 0.65)),
    "storage box": (clutter.storage_box, (0.25, 0.7, 0.22, 0.6, 0.15, 0.8)),
    "basket": (clutter.basket, (0.33, 0.5, 0.33, 0.5, 0.38, 0.65)),
    "bench": (clutter.bench, (0.75, 1.35, 0.3, 0.45, 0.4, 0.55)),
    "dishes": (clutter.dishes, (0.05, 0.3, 0.05, 0.3, 0.05, 0.3)),
    "appliance": (clutter.appliance, (0.28, 0.55, 0.22, 0.42, 0.2, 0.36)),
}  # fmt: skip


def _plain(rng: Rng):  # type: ignore[no-untyped-def]
    from pcpt.data.rooms import materials

    return materials.board(rng)


def is_closed(quads: np.ndarray) -> bool:
    """Whether every edge is run through as often one way as the other."""
    corners = np.round(quads.reshape(-1, 3) * 1e6).astype(np.int64)
    _, number = np.unique(corners, axis=0, return_inverse=True)
    ring = number.reshape(-1, 4)
    edges = Counter(
        (int(a), int(b)) for a, b in zip(ring.ravel(), np.roll(ring, -1, 1).ravel()) if a != b
    )
    return all(edges[b, a] == count for (a, b), count in edges.items())


@pytest.mark.parametrize("name", MAKERS)
def test_closed_and_of_plausible_size(name: str) -> None:
    maker, (x0, x1, y0, y1, z0, z1) = MAKERS[name]
    for seed in range(20):
        things = maker(np.random.default_rng(seed))
        low, high = bounds(things[:1])
        size = high - low
        assert x0 <= size[0] <= x1, (seed, size)
        assert y0 <= size[1] <= y1, (seed, size)
        assert z0 <= size[2] <= z1, (seed, size)
        for thing in things:
            assert thing.label in NYU40_OF
            for part in thing.parts:
                assert np.isfinite(part.quads).all()
                assert is_closed(part.quads), (seed, thing.label)
                assert shapes.signed_volume(part.quads) > 0, (seed, thing.label)


def test_makers_vary() -> None:
    for name, (maker, _) in MAKERS.items():
        made = [bounds(maker(np.random.default_rng(seed))) for seed in range(4)]
        colors = {
            part.material
            for seed in range(4)
            for thing in maker(np.random.default_rng(seed))
            for part in thing.parts
        }
        sizes = {tuple(np.round(high - low, 4)) for low, high in made}
        assert len(sizes) > 1 or len(colors) > 3, name


def test_an_open_box_is_not_closed() -> None:
    assert not is_closed(shapes.box((0, 0, 0), (1, 1, 1))[1:])


def test_a_box_without_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="no volume"):
        shapes.box((0, 0, 0), (1, 0, 1))


def test_volumes_by_hand() -> None:
    assert shapes.signed_volume(shapes.box((1, 2, 3), (2, 4, 6))) == pytest.approx(6)
    cone = shapes.turned([(1.0, 0.0), (1e-9, 3.0)], corners=64)
    assert shapes.signed_volume(cone) == pytest.approx(np.pi, rel=0.01)
    assert shapes.signed_volume(shapes.mirrored(shapes.box((0, 0, 0), (1, 2, 1)))) == pytest.approx(
        2
    )
