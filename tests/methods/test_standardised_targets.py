"""Statistics of teachers' channels: dead channels, and statistics that came with weights."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pcpt.engine.init import initialise
from pcpt.methods.point_mcd import PointMCD
from tests.methods import test_i2p_mae as i2p
from tests.methods import test_point_mcd as mcd
from tests.methods import test_ppkt as ppkt


class Dead(i2p.CellMeans):
    """The last channel is zero until ``awake``."""

    awake = False

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found = super().features(images)
        found[:, 2] = found[:, 0] if self.awake else 0
        return found


class DeadMaps(torch.nn.Module):
    """A teacher without codewords of its own; of its two channels the second sleeps, too."""

    channels, stride, offset, needs_calibration, awake = 2, 8, 3.5, False, False

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grey = images.float().mean(1, keepdim=True)[:, :, ::8, ::8] / 255 * self.weight
        return torch.cat([grey, grey * self.awake], 1)


def test_i2p_mae_does_not_blow_up_a_channel_that_slept_in_calibration() -> None:
    teacher = Dead()
    method, batch = i2p.make(teacher), i2p.make_batch()
    method.prepare([batch])
    assert method.channel_scale[2] == 0 and bool((method.channel_scale[:2] > 0).all())
    teacher.awake = True
    assert float(method(batch).logs["loss_images"]) < 100


def test_point_mcd_does_not_blow_up_a_channel_that_slept_in_calibration() -> None:
    teacher = DeadMaps()
    batches = [mcd.batch_of(mcd.data(), range(n, n + 4)) for n in (0, 4)]
    method = mcd.method(teacher)
    method.prepare(iter(batches[:1]))
    assert method.codeword_scale[1] == 0 and method.codeword_scale[0] > 0
    teacher.awake = True
    assert float(method.teacher_codewords(batches[1]).abs().max()) < 100


def started_from(source: Any, method: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The method with the weights and buffers of another."""
    found = SimpleNamespace(
        name="a run", kind="a run folder", state=source.state_dict(), unused=[], student={},
        kernel_order="", origin={}, notes=[],
    )  # fmt: skip
    monkeypatch.setattr("pcpt.engine.init.read_source", lambda *arguments: found)
    initialise(method, "a run")
    return method


def test_i2p_mae_forgets_statistics_that_came_with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    source, batch = i2p.make(), i2p.make_batch()
    source.prepare([batch])
    raw = started_from(source, i2p.make(targets={"standardize": False}), monkeypatch)
    assert torch.equal(raw.channel_mean, source.channel_mean)
    raw.prepare([batch])
    assert not raw.channel_mean.any() and bool((raw.channel_scale == 1).all())


def test_point_mcd_forgets_statistics_that_came_with_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, source = mcd.batch_of(mcd.data()), mcd.method(DeadMaps())
    source.prepare(iter([batch]))
    raw: PointMCD = started_from(source, mcd.method(DeadMaps(), standardize=False), monkeypatch)
    assert torch.equal(raw.codeword_mean, source.codeword_mean)
    raw.prepare(iter([batch]))
    assert not raw.codeword_mean.any() and bool((raw.codeword_scale == 1).all())


def test_ppkt_does_both(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sleeping(ppkt.CellMeans):
        awake = False

        def features(self, images: torch.Tensor) -> torch.Tensor:
            found = super().features(images)
            return torch.cat([found[:, :5], found[:, 5:] * self.awake], 1)

    teacher, batch = Sleeping(), ppkt.make_batch()
    source = ppkt.make_method(teacher)
    source.prepare([batch])
    assert source.channel_scale[5] == 0 and bool((source.channel_scale[:5] > 0).all())
    teacher.awake = True
    assert float(source.teacher_map(batch.images).detach().abs().max()) < 100

    raw = started_from(source, ppkt.make_method(standardize=False), monkeypatch)
    assert torch.equal(raw.channel_mean, source.channel_mean)
    raw.prepare([batch])
    assert not raw.channel_mean.any() and bool((raw.channel_scale == 1).all())
