"""PointGroup's offset losses against double loops."""

import math

import pytest
import torch

from pcpt.losses.offsets import centre_offsets, offset_direction, offset_distance


def vectors(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64)


def loop_distance(offsets, targets):
    total = 0.0
    for i in range(len(offsets)):
        for axis in range(3):
            total += abs(float(offsets[i, axis]) - float(targets[i, axis]))
    return total / len(offsets)


def loop_direction(offsets, targets):
    total = 0.0
    for o, t in zip(offsets.tolist(), targets.tolist()):
        lengths = math.sqrt(sum(v * v for v in o)) * math.sqrt(sum(v * v for v in t))
        if lengths > 0:
            total -= sum(a * b for a, b in zip(o, t)) / lengths
    return total / len(offsets)


@pytest.mark.parametrize("count", [1, 2, 7, 33])
def test_equal_the_double_loops(count, device):
    offsets, targets = vectors(count, 1), vectors(count, 2)
    targets[0] = 0  # a point that is the centre
    there = offsets.to(device), targets.to(device)
    assert float(offset_distance(*there)) == pytest.approx(
        loop_distance(offsets, targets), rel=1e-12
    )
    assert float(offset_direction(*there)) == pytest.approx(
        loop_direction(offsets, targets), rel=1e-12
    )


def test_offsets_that_are_right_are_the_best():
    targets = vectors(20, 3)
    assert float(offset_distance(targets, targets)) == 0
    assert float(offset_direction(targets, targets)) == pytest.approx(-1)
    assert float(offset_direction(-targets, targets)) == pytest.approx(1)


@pytest.mark.parametrize("loss", [offset_distance, offset_direction])
def test_gradcheck(loss):
    offsets, targets = vectors(6, 4).requires_grad_(), vectors(6, 5)
    assert torch.autograd.gradcheck(lambda o: loss(o, targets), (offsets,))


@pytest.mark.parametrize("loss", [offset_distance, offset_direction])
def test_no_points_give_zero_and_a_gradient(loss):
    offsets = torch.zeros(0, 3, requires_grad=True)
    value = loss(offsets, torch.zeros(0, 3))
    value.backward()
    assert value.item() == 0 and offsets.grad is not None


@pytest.mark.parametrize("loss", [offset_distance, offset_direction])
def test_an_offset_of_zero_has_a_finite_gradient(loss):
    offsets = torch.zeros(2, 3, requires_grad=True)
    loss(offsets, torch.ones(2, 3)).backward()
    assert torch.isfinite(offsets.grad).all()


@pytest.mark.parametrize("loss", [offset_distance, offset_direction])
def test_refuses_shapes_that_differ(loss):
    with pytest.raises(ValueError, match="must both be"):
        loss(torch.zeros(2, 3), torch.zeros(3, 3))


def test_centre_offsets_by_hand(device):
    points = torch.tensor([[0.0, 0, 0], [2.0, 0, 4.0], [5.0, 5.0, 5.0], [9.0, 9.0, 9.0]])
    found = centre_offsets(points.to(device), torch.tensor([1, 1, 0, -1]).to(device), 3)
    assert found.tolist() == [[1, 0, 2], [-1, 0, -2], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_centre_offsets_equal_the_double_loop(count):
    generator = torch.Generator().manual_seed(count)
    points = vectors(count, count)
    objects = torch.randint(-1, 4, (count,), generator=generator)
    found = centre_offsets(points, objects, 4)
    for i in range(count):
        mates = [points[j] for j in range(count) if objects[j] == objects[i]]
        expected = sum(mates) / len(mates) - points[i] if objects[i] >= 0 else torch.zeros(3)
        assert torch.allclose(found[i], expected.double(), atol=1e-12)
