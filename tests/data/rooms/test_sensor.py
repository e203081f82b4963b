"""The depth camera's faults, on made-up views."""

import numpy as np

from pcpt.data.rooms.render import View
from pcpt.data.rooms.sensor import DISPARITY, measure_depth


def flat(
    depth: np.ndarray, *, grazing: float = 1.0, darkness: float = 0.3, loss: float = 0.0
) -> View:
    shape = depth.shape
    return View(
        radiance=np.zeros((*shape, 3), np.float32),
        depth=depth.astype(np.float32),
        instance=np.zeros(shape, np.int32),
        grazing=np.full(shape, grazing, np.float32),
        darkness=np.full(shape, darkness, np.float32),
        loss=np.full(shape, loss, np.float32),
    )


def measured(view: View) -> np.ndarray:
    return measure_depth(np.random.default_rng(0), view)


def test_noise_grows_with_the_square_of_depth() -> None:
    near, far = (measured(flat(np.full((120, 160), z))).astype(float) for z in (1.0, 4.0))
    near, far = near[near > 0], far[far > 0]
    assert 995 < near.mean() < 1005 and 3980 < far.mean() < 4020
    assert far.std() > 5 * near.std() > 0


def test_steps_of_disparity() -> None:
    values = np.unique(measured(flat(np.full((120, 160), 3.0))))
    values = values[values > 0]
    step = 1000 * 3.0**2 / DISPARITY
    assert np.abs(np.diff(values) - step).max() < 0.15 * step


def test_nothing_is_measured_where_real_cameras_fail() -> None:
    usual = (measured(flat(np.full((120, 160), 2.0))) == 0).mean()
    assert usual < 0.03
    room = np.full((120, 160), 2.0)
    for view in (
        flat(room * 0.15),
        flat(room * 4),
        flat(room, grazing=0.05),
        flat(room * 0),
    ):
        assert (measured(view) == 0).mean() > 0.95
    assert (measured(flat(room, darkness=0.99)) == 0).mean() > 3 * usual + 0.05
    assert 0.3 < (measured(flat(room, loss=0.55)) == 0).mean() < 0.8


def test_edges_are_lost() -> None:
    room = np.full((120, 160), 3.0)
    room[:, :80] = 1.0
    lost = measured(flat(room)) == 0
    assert lost[:, 79:82].mean() > 0.6
    assert lost[:, 90:150].mean() < 0.05
