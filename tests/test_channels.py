"""The scale of channels: one over their deviation, and nothing for those that are dead."""

import pytest
import torch

from pcpt.channels import channel_scale
from pcpt.tasks.frozen import channel_statistics


def test_living_channels_have_one_over_their_deviation_to_the_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(1000, generator=generator)
    deviation = torch.rand(1000, generator=generator) * 10 + 1e-5
    expected = deviation.clamp(min=1e-6).reciprocal()
    assert torch.equal(channel_scale(mean, deviation), expected)
    assert torch.equal(channel_scale(mean.double(), deviation.double()), 1 / deviation.double())


@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e4])
def test_dead_channels_have_none_whatever_the_scale_of_all(factor: float) -> None:
    mean = torch.tensor([0.3, 0.0, 5.0]) * factor
    deviation = torch.tensor([1.0, 0.0, 3e-7]) * factor  # the last is rounding
    found = channel_scale(mean, deviation)
    assert found.tolist() == [pytest.approx(1 / factor), 0, 0]
    assert channel_scale(torch.zeros(2), torch.zeros(2)).tolist() == [0, 0]


def test_a_large_constant_is_dead_though_rounding_moves_it() -> None:
    features = torch.full((1001, 2), 1000.1)
    features[::2, 0] = torch.nextafter(features[0, 0], torch.tensor(torch.inf))
    features[:, 1] = torch.linspace(0, 1, 1001)
    mean, scale = channel_statistics(features)
    assert mean[1] == pytest.approx(0.5) and scale[0] == 0
    assert scale[1] == pytest.approx(1 / float(features[:, 1].std()))
