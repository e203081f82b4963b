"""The control with random weights: seeded, calibrated, features that do not vanish."""

import pytest
import torch

from pcpt import registry
from pcpt.teachers.random import Random

BATCHES = [torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8) for _ in range(2)]


@pytest.fixture(autouse=True)
def tiny_variants(monkeypatch) -> None:
    monkeypatch.setitem(
        registry.get("teachers", "dinov2").__init__.__globals__["VARIANTS"], "small", (16, 2, 2)
    )
    monkeypatch.setitem(
        registry.get("teachers", "clip").__init__.__globals__["VARIANTS"],
        "base-patch16",
        (16, 32, 2, 2, 16, 8),
    )


def make(of: str, seed: int = 0) -> Random:
    teacher = Random(Random.Config(of=of, seed=seed))
    if teacher.needs_calibration:
        teacher.calibrate(BATCHES)
    return teacher


@pytest.mark.parametrize("of", ["lite0", "resnet18", "dinov2", "clip"])
def test_seeded_and_deterministic(of) -> None:
    first, again, other = make(of), make(of), make(of, seed=1)
    assert torch.equal(first(BATCHES[0]), again(BATCHES[0]))
    assert not torch.allclose(first(BATCHES[0]), other(BATCHES[0]))


@pytest.mark.parametrize("of", ["lite0", "resnet18"])
def test_calibration_keeps_features_alive(of) -> None:
    teacher = Random(Random.Config(of=of))
    with pytest.raises(ValueError, match="call calibrate"):
        teacher(BATCHES[0])
    with pytest.raises(ValueError, match="given no batch"):
        teacher.calibrate([])
    teacher.calibrate(BATCHES)
    assert not teacher.needs_calibration and not any(m.training for m in teacher.modules())
    deviation = teacher(BATCHES[0]).std((0, 2, 3))
    assert 0.2 < deviation.mean() < 5
    with pytest.raises(ValueError, match="needs no calibration"):
        teacher.calibrate(BATCHES)


def test_calibration_is_the_mean_over_batches() -> None:
    """The first layer's mean over two batches of equal size is that of their union."""
    teacher = registry.get("teachers", "lite0")
    split, joined = (teacher(teacher.Config(weights="random", stage=3)) for _ in range(2))
    split.freeze = joined.freeze = lambda: None  # keep batch norm readable
    split.calibrate(BATCHES)
    joined.calibrate([torch.cat(BATCHES)])
    torch.testing.assert_close(split.layers._bn0.running_mean, joined.layers._bn0.running_mean)


def test_options_reach_the_family() -> None:
    teacher = Random(Random.Config(of="lite0", options={"stage": 3}))
    assert (teacher.channels, teacher.stride, teacher.offset) == (40, 8, 7.0)
    with pytest.raises(ValueError, match="lite0 has no option 'layer'; it has stage"):
        Random(Random.Config(of="lite0", options={"layer": 3}))
    with pytest.raises(ValueError, match="offers no random weights"):
        Random(Random.Config(of="random"))
