"""The linear classifiers, on voxels whose answer is known."""

import numpy as np
import pytest

from pcpt.data.rooms.baselines import Voxels, linear_miou, mean_iou, read_voxels
from tests.data.rooms.conftest import ROOMS


def made_up(seed: int) -> Voxels:
    """Height tells three classes apart, colour nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 600)
    shape = rng.normal(0, 0.05, (600, 7))
    shape[:, 0] += labels
    colors = rng.random((600, 6))
    return Voxels(colors.astype(np.float32), shape.astype(np.float32), labels, [600])


def test_mean_iou_by_hand() -> None:
    score, each = mean_iou(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]))
    assert each == {0: 1 / 2, 1: 1 / 3}
    assert score == pytest.approx(5 / 12)


@pytest.mark.parametrize("balanced", [False, True])
def test_linear_finds_what_is_linear(balanced: bool) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    train, test = made_up(0), made_up(1)
    assert linear_miou(train, test, "shape", balanced)[0] > 0.95
    assert linear_miou(train, test, "colors", balanced)[0] < 0.35


def test_voxels_of_rooms(rooms_folder) -> None:  # type: ignore[no-untyped-def]
    voxels = read_voxels(rooms_folder, "train")
    assert len(voxels.per_room) == ROOMS
    assert len(voxels.labels) == len(voxels.colors) == len(voxels.shape) < sum(voxels.per_room)
    assert voxels.colors.min() >= 0 and voxels.colors.max() <= 1
    floor = voxels.labels == 1
    assert abs(float(np.median(voxels.shape[floor, 0]))) < 0.05
    assert np.median(voxels.shape[floor, 5]) > 0.9  # normals point up
