"""Where furniture stands: nothing in anything else, everything in the room, doors free."""

import numpy as np
import pytest

from pcpt.data.rooms.path import walk
from pcpt.data.rooms.plan import Plan, overlaps, rectangle
from pcpt.data.rooms.room_types import TYPES, furnish


def test_overlaps_of_rectangles() -> None:
    one = rectangle((0, 0), (2, 1), 0.0, (0, 0))
    others = np.stack([
        rectangle((0, 0), (1, 1), 0.0, (1.5, 0.5)),  # a corner inside
        rectangle((0, 0), (1, 1), 0.0, (2.0, 0.0)),  # touching
        rectangle((-0.5, -0.5), (0.5, 0.5), np.pi / 4, (2.6, 1.0)),  # its corner reaches in
        rectangle((-0.5, -0.5), (0.5, 0.5), np.pi / 4, (2.6, 1.6)),  # boxes overlap, they do not
    ])  # fmt: skip
    assert overlaps(one, others).tolist() == [True, False, True, False]


def test_a_put_thing_takes_its_floor_once() -> None:
    from pcpt.data.rooms.furniture import clutter

    plan = Plan((3.0, 3.0), (0.0, 0.0), 2.5)
    box = clutter.storage_box(np.random.default_rng(0))
    assert plan.put(box, 0.0, (1.5, 1.5)) is not None
    assert plan.put(box, 0.0, (1.5, 1.5)) is None
    assert plan.put(box, 0.0, (2.95, 1.5)) is None  # reaches through the wall


@pytest.mark.parametrize("kind", TYPES)
def test_rooms_are_plausible(kind: str) -> None:
    for seed in range(6):
        plan = furnish(np.random.default_rng([3, seed]), kind)
        labels = {thing.label for thing in plan.things}
        assert {"wall", "floor", "ceiling", "door"} <= labels
        for thing in plan.things:
            low, high = thing.bounds()
            if thing.label not in ("wall", "floor", "ceiling", "door", "doorframe", "window"):
                assert (low[:2] > -0.06).all() and (high[:2] < np.array(plan.size) + 0.06).all(), (
                    thing.label
                )
                assert low[2] > -0.01 and high[2] < plan.height + 0.1, thing.label
        first = 1 if plan.notch[0] > 0 else 0
        for index in range(first, len(plan.solid)):  # a chair may be pushed under its table
            mine, others = plan.solid[index], np.array(plan.solid[first:index]).reshape(-1, 4, 2)
            shrunk = mine.mean(0) + (mine - mine.mean(0)) * 0.62
            assert not overlaps(shrunk, others).any(), (kind, seed, index)
        assert not any(overlaps(zone, np.array(plan.solid)).any() for zone in plan.clear[:1])


@pytest.mark.parametrize("kind", TYPES)
def test_the_camera_walks_the_free_floor(kind: str) -> None:
    inside = total = 0
    for seed in range(4):
        rng = np.random.default_rng([9, seed])
        plan = furnish(rng, kind)
        poses = walk(rng, plan, 40)
        assert poses.shape == (40, 4, 4)
        rotation = poses[:, :3, :3]
        np.testing.assert_allclose(
            rotation @ rotation.transpose(0, 2, 1), np.eye(3)[None].repeat(40, 0), atol=1e-9
        )
        assert (np.linalg.det(rotation) > 0).all()
        assert (poses[:, :2, 3] > 0).all() and (poses[:, :2, 3] < plan.size).all()
        assert poses[:, 2, 3].min() > 1.15 and poses[:, 2, 3].max() < 1.85
        assert (poses[:, 2, 1] < 0).all()  # y down
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        assert steps.max() < 0.7
        point = poses[:, None, :2, 3] + np.array(
            [(-1e-3, -1e-3), (1e-3, -1e-3), (1e-3, 1e-3), (-1e-3, 1e-3)]
        )
        inside += sum(int(overlaps(p * 1.0, np.array(plan.solid)).any()) for p in _grown(point))
        total += 40
    assert inside <= 0.08 * total


def _grown(rings: np.ndarray) -> np.ndarray:
    """Rectangles of 2 cm around the small ones, larger than what overlaps() forgives."""
    centre = rings.mean(1, keepdims=True)
    return centre + (rings - centre) * 10
