"""Telling the order of a kernel's taps: right on trained kernels, silent on all others."""

import pytest
import torch

from pcpt.students.kernel_order import guess_kernel_order
from tests.students.minkowski_files import to_minkowski, trained


def kernels(order: str) -> list[torch.Tensor]:
    state = to_minkowski(trained().state_dict(), order)
    return [t for name, t in state.items() if name.startswith("block") and t.ndim == 3]


@pytest.mark.parametrize("order", ["cube", "hybrid"])
def test_trained_kernels(order):
    guess = guess_kernel_order(kernels(order))
    assert guess.order == order
    assert guess.num_kernels == 22 and guess.sigma > 10
    assert "22 kernels agree" in str(guess)


def test_nothing_is_said_of_random_kernels():
    generator = torch.Generator().manual_seed(0)
    for case in range(60):
        count, width = (1, 4, 16, 46)[case % 4], (1, 3, 8)[case % 3]
        random = [torch.randn(27, width, width, generator=generator) for _ in range(count)]
        guess = guess_kernel_order(random)
        assert guess.order is None and guess.sigma < 6


def test_nothing_is_said_of_a_third_order():
    shuffle = torch.randperm(27, generator=torch.Generator().manual_seed(1))
    assert guess_kernel_order([kernel[shuffle] for kernel in kernels("cube")]).order is None


def test_kernels_without_anything_to_tell():
    odd = [torch.ones(27, 2, 2), torch.zeros(27, 2, 2), torch.rand(8, 2, 2), torch.rand(2, 2)]
    odd.append(torch.full((27, 2, 2), torch.nan))
    guess = guess_kernel_order(odd)
    assert guess.order is None and guess.sigma == 0
    assert guess_kernel_order([]).num_kernels == 0
