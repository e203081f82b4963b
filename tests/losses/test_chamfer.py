"""Chamfer distance against a double loop, by hand, its gradient and its errors."""

import pytest
import torch

from pcpt.losses import chamfer


def double_loop(found, expected):
    total = []
    for a, b in zip(found.tolist(), expected.tolist()):
        squared = [[sum((x - y) ** 2 for x, y in zip(p, q)) for q in b] for p in a]
        there = sum(min(row) for row in squared) / len(a)
        back = sum(min(row[j] for row in squared) for j in range(len(b))) / len(b)
        total.append(there + back)
    return torch.tensor(total, dtype=found.dtype)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 7), (7, 1), (8, 8), (5, 33)])
def test_it_equals_the_double_loop(sizes) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    found, expected = (
        torch.randn(3, size, 3, generator=generator, dtype=torch.float64) for size in sizes
    )
    torch.testing.assert_close(chamfer(found, expected), double_loop(found, expected))


def test_by_hand() -> None:
    found = torch.tensor([[[0.0, 0, 0], [3.0, 0, 0]]])
    expected = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0]]])
    assert chamfer(found, expected).tolist() == [(1 + 4) / 2 + 1]
    assert chamfer(found, found.flip(1)).tolist() == [0], "order does not matter"


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    sets = [
        torch.randn(2, size, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        for size in (4, 5)
    ]
    assert torch.autograd.gradcheck(chamfer, sets)


def test_no_sets_and_bad_sets() -> None:
    assert chamfer(torch.zeros(0, 8, 3), torch.zeros(0, 8, 3)).shape == (0,)
    with pytest.raises(ValueError, match="no nearest"):
        chamfer(torch.zeros(2, 0, 3), torch.zeros(2, 4, 3))
    for shapes in (((2, 4, 3), (3, 4, 3)), ((2, 4, 2), (2, 4, 2)), ((4, 3), (4, 3))):
        with pytest.raises(ValueError, match=r"takes \(L, K, 3\)"):
            chamfer(*(torch.zeros(shape) for shape in shapes))
