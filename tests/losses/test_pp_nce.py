"""PP-NCE against a double loop written out from the paper's formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from pcpt.losses import pp_nce


def unit(rows, columns, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, columns, generator=generator, dtype=dtype), dim=1)


def double_loop(points, pixels, temperature, ignore=None):
    total = 0.0
    for i in range(len(points)):
        own = math.exp(float(points[i] @ pixels[i]) / temperature)
        everyone = 0.0
        for j in range(len(pixels)):
            if j == i or ignore is None or not ignore[i, j]:
                everyone += math.exp(float(points[i] @ pixels[j]) / temperature)
        total -= math.log(own / everyone)
    return total / len(points)


@pytest.mark.parametrize("count", [1, 2, 7, 33])
@pytest.mark.parametrize("temperature", [0.04, 0.5])
def test_equals_the_double_loop(count, temperature, device):
    points, pixels = unit(count, 5, 1).to(device), unit(count, 5, 2).to(device)
    loss = pp_nce(points, pixels, temperature)
    assert loss.item() == pytest.approx(
        double_loop(points, pixels, temperature), rel=1e-12, abs=1e-12
    )


def test_ignored_candidates_are_left_out_but_never_the_positive():
    points, pixels = unit(9, 4, 3), unit(9, 4, 4)
    ignore = torch.rand(9, 9, generator=torch.Generator().manual_seed(5)) < 0.5
    ignore |= torch.eye(9, dtype=torch.bool)
    expected = double_loop(points, pixels, 0.1, ignore)
    assert float(pp_nce(points, pixels, 0.1, ignore=ignore)) == pytest.approx(expected, rel=1e-12)


def test_more_candidates_with_shifted_targets_equal_a_slice_of_the_whole():
    points, pixels = unit(8, 4, 6), unit(8, 4, 7)
    whole = pp_nce(points, pixels, 0.2)
    halves = [
        pp_nce(
            points[part],
            pixels[part],
            0.2,
            candidates=pixels,
            target=torch.arange(part.start, part.stop),
        )
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), rel=1e-12)


def test_gradcheck():
    points, pixels = unit(6, 3, 8).requires_grad_(), unit(6, 3, 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, q: pp_nce(p, q, 0.3), (points, pixels))


def test_no_pairs_give_zero_and_a_gradient():
    points = torch.zeros(0, 4, requires_grad=True)
    loss = pp_nce(points, torch.zeros(0, 4))
    loss.backward()
    assert loss.item() == 0 and points.grad is not None


def test_no_pairs_still_ask_for_the_candidates_gradient():
    """Of candidates gathered over processes: the others wait for it."""
    points, candidates = torch.zeros(0, 4, requires_grad=True), unit(5, 4, 1).requires_grad_()
    loss = pp_nce(points, torch.zeros(0, 4), candidates=candidates, target=torch.zeros(0).long())
    loss.backward()
    assert loss.item() == 0 and candidates.grad is not None and not candidates.grad.any()


def test_a_perfect_match_beats_a_permuted_one():
    features = unit(16, 32, 10)
    assert pp_nce(features, features) < pp_nce(features, features.roll(1, 0))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match="temperature"):
        pp_nce(unit(2, 2, 0), unit(2, 2, 1), temperature)


def test_refuses_shapes_that_differ():
    with pytest.raises(ValueError, match="must both be"):
        pp_nce(unit(2, 3, 0), unit(3, 3, 1))
