"""gather_max against a table, torch's embedding_bag, a loop over bags and its reference."""

import importlib
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.ops import gather_max
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.gather_max")


def naive(values: Tensor, bags: list[Tensor]) -> Tensor:
    """Bag by bag."""
    out = values.new_zeros(len(bags), values.shape[1])
    for bag, index in enumerate(bags):
        rows = values[index[index >= 0]]
        if len(rows):
            out[bag] = rows.amax(0)
    return out


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor | None]:
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    num_rows, num_bags = draw.choice([1, 7, 33, 300]), draw.choice([0, 1, 3, 40, 500])
    channels = draw.choice([0, 1, 3, 7, 16, 33])
    dtype = draw.choice([torch.float32, torch.float64, torch.bfloat16, torch.float16])
    values = torch.randn(num_rows, channels, generator=generator).to(dtype)
    if draw.random() < 0.3:  # ties
        values = values.round()
    if draw.random() < 0.2:
        hit = torch.rand(values.shape, generator=generator) < 0.05
        values[hit] = draw.choice([torch.nan, torch.inf, -torch.inf])
    lowest = draw.choice([-1, 0])
    if draw.random() < 0.5:
        shape = (num_bags, draw.choice([0, 1, 5, 20]))
        return values, torch.randint(lowest, num_rows, shape, generator=generator), None
    count = draw.choice([0, 1, 5, 700])
    index = torch.randint(lowest, num_rows, (count,), generator=generator)
    starts = torch.randint(count + 1, (num_bags,), generator=generator).sort().values
    return values, index, starts


def bags_of(index: Tensor, starts: Tensor | None) -> list[Tensor]:
    if starts is None:
        return list(index)
    ends = [*starts.tolist()[1:], len(index)]
    return [index[begin:end] for begin, end in zip(starts.tolist(), ends)]


def moved(device: torch.device, *tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.to(device) for tensor in tensors]


def test_hand_worked_table(device: torch.device, path: str) -> None:
    values = torch.tensor([[4.0, -1], [-1, 5], [-2, -9]], device=device)
    index = torch.tensor([[0, 1], [2, -1], [-1, -1], [0, 0]], device=device)
    result = gather_max(values, index)
    assert result.tolist() == [[4, 5], [-2, -9], [0, 0], [4, -1]]
    assert result.device.type == device.type
    starts = torch.tensor([0, 2, 4, 6], device=device)
    assert torch.equal(gather_max(values, index.flatten().int(), starts.int()), result)
    # what lies before the first start is in no bag
    assert gather_max(values, index.flatten(), starts[1:2]).tolist() == [[4, -1]]


@pytest.mark.parametrize("part", range(10))
def test_against_the_loop(device: torch.device, path: str, part: int) -> None:
    for seed in range(20 * part, 20 * part + 20):
        values, index, starts = random_case(seed)
        result = gather_max(*moved(device, values, index, starts))
        expected = naive(values, bags_of(index, starts))
        assert result.dtype == values.dtype
        torch.testing.assert_close(
            result.cpu(), expected, rtol=0, atol=0, equal_nan=True, msg=f"{seed}"
        )


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("part", range(10))
def test_kernel_equals_reference(
    device: torch.device, reference: Callable[..., Tensor], part: int
) -> None:
    """Values and gradients."""
    for seed in range(20 * part, 20 * part + 20):
        values, index, starts = random_case(seed)
        results = []
        for function in (gather_max, reference):
            leaf = values.to(device).clone().requires_grad_()
            out = function(leaf, *moved(device, index, starts))
            weight = torch.linspace(-1, 1, out.numel(), device=device).reshape(out.shape)
            out.backward(weight.to(out.dtype))
            results.append((out.detach(), leaf.grad))
        (out, grad), (expected, expected_grad) = results
        assert torch.equal(out.nan_to_num(7), expected.nan_to_num(7)), seed
        # a row's gradients may be added in another order
        torch.testing.assert_close(grad, expected_grad, msg=f"{seed}")


def test_against_embedding_bag(device: torch.device, path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 24, generator=generator).to(device).requires_grad_()
    index = torch.randint(200, (150, 9), generator=generator).to(device)
    weight = torch.randn(150, 24, generator=generator).to(device)
    results = []
    for out in (gather_max(values, index), F.embedding_bag(index, values, mode="max")):
        results.append((out, *torch.autograd.grad((out * weight).sum(), values)))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_ties_give_the_gradient_to_the_first(device: torch.device, path: str) -> None:
    values = torch.tensor([[1.0], [2.0], [2.0]], device=device, requires_grad=True)
    index = torch.tensor([[0, 2, 1, 2], [0, 1, 2, 0]], device=device)
    gather_max(values, index).backward(torch.tensor([[3.0], [5.0]], device=device))
    assert values.grad is not None and values.grad.squeeze(1).tolist() == [0, 5, 3]


def test_nan_and_infinity(device: torch.device, path: str) -> None:
    inf, nan = torch.inf, torch.nan
    values = torch.tensor([[1.0], [nan], [inf], [-inf]], device=device, requires_grad=True)
    index = torch.tensor([[0, 1, 1, 2], [0, 2, 2, 3], [3, 3, 3, 3]], device=device)
    result = gather_max(values, index)
    assert result[0].isnan().all() and result[1:].flatten().tolist() == [inf, -inf]
    result.sum().backward()
    assert values.grad is not None and values.grad.flatten().tolist() == [0, 1, 1, 1]


def test_gradcheck(path: str) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(11, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.randint(-1, 11, (6, 4), generator=generator)
    starts = torch.tensor([1, 1, 9, 24])

    def by_row(x: Tensor) -> Tensor:
        return gather_max(x, index)

    def by_start(x: Tensor) -> Tensor:
        return gather_max(x, index.flatten(), starts)

    for function in (by_row, by_start):
        assert torch.autograd.gradcheck(function, (values,))
        assert torch.autograd.gradgradcheck(function, (values,))


def test_does_not_depend_on_the_number_of_threads(path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 37, generator=generator)
    index = torch.randint(-1, 2000, (900, 12), generator=generator)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            leaf = values.clone().requires_grad_()
            out = gather_max(leaf, index)
            (out * out.detach().cos()).sum().backward()
            results.append((out.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0]) and torch.equal(grad, results[0][1])


def test_any_strides(path: str) -> None:
    values = torch.randn(3, 50).mT
    index = torch.randint(50, (8, 40)).mT[::2]
    expected = gather_max(values.contiguous(), index.contiguous())
    assert torch.equal(gather_max(values, index), expected)


@pytest.mark.parametrize("rows, channels", [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("bags, k", [(0, 2), (5, 0), (5, 2)])
def test_empty_inputs(
    device: torch.device, path: str, rows: int, channels: int, bags: int, k: int
) -> None:
    values = torch.ones(rows, channels, device=device, requires_grad=True)
    out = gather_max(values, torch.full((bags, k), -1, device=device))
    assert torch.equal(out, torch.zeros(bags, channels, device=device))
    out.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, torch.zeros_like(values))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_100_iterations_do_not_leak(check_leaks: Callable[..., None]) -> None:
    values = torch.randn(2_000, 33, requires_grad=True)
    index = torch.randint(2_000, (2_000, 9))

    def step() -> None:
        gather_max(values, index).square().sum().backward()
        values.grad = None

    check_leaks(step)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"values": torch.zeros(3, 2, dtype=torch.int64)}, "int64"),
        ({"values": torch.zeros(3)}, r"expected floating \(N, C\)"),
        ({"values": torch.zeros(1).expand(3, 2**30)}, r"at most 2\^31 - 1"),
        ({"index": torch.zeros(3, 2)}, r"float32 \(3, 2\), expected int64 \(S, k\)"),
        ({"index": torch.tensor([0, 1])}, r"\(2,\), expected int64 \(S, k\)"),
        ({"starts": torch.tensor([0])}, r"\(2, 2\), expected int64 \(M,\) with starts"),
        ({"index": torch.zeros(3, 2, device="meta").long()}, "index on meta"),
        ({"index": torch.tensor([0]), "starts": torch.tensor([0.0])}, r"starts are .*int64 \(S,\)"),
        ({"index": torch.tensor([0]), "starts": torch.tensor([[0]])}, r"expected int64 \(S,\)"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {"values": torch.zeros(3, 2), "index": torch.tensor([[0, 1], [1, 2]])}
    with pytest.raises(ValueError, match=message):
        gather_max(**(arguments | change))


@pytest.mark.parametrize(
    "index, starts, message",
    [
        ([[0, 3]], None, "from 0 to 3, expected -1..2"),
        ([[-2, 0]], None, "from -2 to 0"),
        ([0], [1, 0], "ascend in 0..1"),
        ([0], [2], "ascend in 0..1"),
        ([0], [-1], "ascend in 0..1"),
    ],
)
def test_out_of_range_on_a_cpu(
    path: str, clamps: bool, index: list[Any], starts: list[int] | None, message: str
) -> None:
    if path == "kernel" and clamps:
        pytest.skip("CUDA passes over them: test_direct_calls_stay_in_their_tensors")
    with pytest.raises(ValueError, match=message):
        gather_max(
            torch.zeros(3, 2),
            torch.tensor(index),
            None if starts is None else torch.tensor(starts),
        )


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_direct_calls_stay_in_their_tensors(device: torch.device, clamps: bool) -> None:
    """CUDA's kernel passes over what the CPU's refuses."""
    values = torch.tensor([[1.0], [5.0]], device=device)
    for index, starts in (([0, 2], [0, 2]), ([-7, 0], [0, 2]), ([0, 0], [-3, 9]), ([0], [1, 0])):
        arguments = (torch.tensor(part, device=device) for part in (index, starts))
        if clamps:
            out, row = torch.ops.pcpt.gather_max(values, *arguments)
            assert (out.item(), row.item()) == ((0.0, -1) if starts == [1, 0] else (1.0, 0))
        else:
            with pytest.raises(RuntimeError, match="gather_max"):
                torch.ops.pcpt.gather_max(values, *arguments)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    values = torch.randn(33, 5, requires_grad=True)
    arguments = values, torch.randint(-1, 33, (40,)), torch.tensor([0, 0, 7, 40])
    torch.library.opcheck(torch.ops.pcpt.gather_max.default, arguments)
