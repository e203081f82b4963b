"""segment_reduce against a table, a loop over segments and its reference."""

import importlib
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops import segment_reduce
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.segment_reduce")
REDUCTIONS = ["sum", "mean", "max", "min"]


def naive(values: Tensor, index: Tensor, num_segments: int, reduce: str) -> Tensor:
    """Segment by segment."""
    out = values.new_zeros(num_segments, *values.shape[1:])
    for segment in range(num_segments):
        rows = values[index == segment]
        if len(rows):
            part = getattr(rows, {"max": "amax", "min": "amin"}.get(reduce, reduce))(0)
            out[segment] = part
    return out


def random_case(seed: int) -> tuple[Tensor, Tensor, int]:
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    num_rows, num_segments = draw.choice([0, 1, 7, 33, 300]), draw.choice([0, 1, 3, 40, 500])
    shape = draw.choice([(), (1,), (3,), (7,), (13,), (33,), (2, 5), (0,)])
    dtype = draw.choice([torch.float32, torch.float64, torch.bfloat16, torch.float16])
    values = torch.randn(num_rows, *shape, generator=generator).to(dtype)
    if draw.random() < 0.3:  # ties
        values = values.round()
    if draw.random() < 0.2:
        hit = torch.rand(values.shape, generator=generator) < 0.05
        values[hit] = draw.choice([torch.nan, torch.inf, -torch.inf])
    lowest = -1 if num_segments == 0 or draw.random() < 0.5 else 0
    index = torch.randint(lowest, max(num_segments, 0), (num_rows,), generator=generator)
    return values, index, num_segments


@pytest.mark.parametrize(
    "reduce, expected",
    [
        ("sum", [[6.0, 1.0], [0.0, 0.0], [-1.0, 5.0]]),
        ("mean", [[3.0, 0.5], [0.0, 0.0], [-1.0, 5.0]]),
        ("max", [[4.0, 2.0], [0.0, 0.0], [-1.0, 5.0]]),
        ("min", [[2.0, -1.0], [0.0, 0.0], [-1.0, 5.0]]),
    ],
)
def test_hand_worked_table(
    device: torch.device, path: str, reduce: str, expected: list[list[float]]
) -> None:
    values = torch.tensor([[4.0, -1], [-1, 5], [9, 9], [2, 2]], device=device)
    index = torch.tensor([0, 2, -1, 0], device=device)
    result = segment_reduce(values, index, 3, reduce)
    assert result.tolist() == expected and result.device.type == device.type
    # (N,) and (N, ..., C) alike
    assert segment_reduce(values[:, 0], index.int(), 3, reduce).tolist() == [
        row[0] for row in expected
    ]
    wide = segment_reduce(values[:, None, :, None], index, 3, reduce)
    assert wide.shape == (3, 1, 2, 1) and torch.equal(wide.reshape(3, 2), result)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("num_rows, num_segments", [(0, 3), (1, 1), (7, 12), (1023, 33), (1023, 2)])
@pytest.mark.parametrize("channels", [1, 3, 13, 33])
def test_against_the_loop(
    device: torch.device, path: str, num_rows: int, num_segments: int, channels: int, reduce: str
) -> None:
    generator = torch.Generator().manual_seed(num_rows)
    values = torch.randn(num_rows, channels, generator=generator, dtype=torch.float64)
    index = torch.randint(-1, num_segments, (num_rows,), generator=generator)
    result = segment_reduce(values.to(device), index.to(device), num_segments, reduce)
    expected = naive(values, index, num_segments, reduce)
    torch.testing.assert_close(result.cpu(), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("part", range(20))
def test_kernel_equals_reference(
    device: torch.device, reference: Callable[..., Tensor], part: int
) -> None:
    """Values and gradients."""
    for seed in range(10 * part, 10 * part + 10):
        values, index, num_segments = random_case(seed)
        reduce = REDUCTIONS[seed % 4]
        results = []
        for function in (segment_reduce, reference):
            leaf = values.to(device).clone().requires_grad_()
            out = function(leaf, index.to(device), num_segments, reduce)
            weight = torch.linspace(-1, 1, out.numel(), device=device).reshape(out.shape)
            out.backward(weight.to(out.dtype))
            results.append((out.detach(), leaf.grad))
        # Up to 300 rows of a segment may be added in another order.
        torch.testing.assert_close(*(out for out, _ in results), equal_nan=True, msg=f"{seed}")
        torch.testing.assert_close(*(grad for _, grad in results), equal_nan=True, msg=f"{seed}")


@pytest.mark.parametrize("reduce", ["max", "min"])
def test_ties_give_the_gradient_to_the_first(device: torch.device, path: str, reduce: str) -> None:
    values = torch.tensor([[1.0], [2.0], [2.0], [1.0], [5.0]], device=device, requires_grad=True)
    segment_reduce(values, torch.tensor([0, 0, 0, 0, -1], device=device), 1, reduce).backward(
        torch.tensor([[3.0]], device=device)
    )
    assert values.grad is not None
    expected = {"max": [0, 3, 0, 0, 0], "min": [3, 0, 0, 0, 0]}[reduce]
    assert values.grad.squeeze(1).tolist() == expected


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_nan_and_infinity(device: torch.device, path: str, reduce: str) -> None:
    inf, nan = torch.inf, torch.nan
    values = torch.tensor([1.0, nan, nan, inf, inf, -inf, -inf], device=device, requires_grad=True)
    index = torch.tensor([0, 0, 0, 1, 1, 2, 2], device=device)
    result = segment_reduce(values, index, 4, reduce)
    assert result.isnan().tolist() == [True, False, False, False]
    assert result[1:].tolist() == [inf, -inf, 0]
    if reduce in ("max", "min"):
        result.sum().backward()
        assert values.grad is not None and values.grad.tolist() == [0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradcheck(path: str, reduce: str) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(11, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    index = torch.randint(-1, 5, (11,), generator=generator)

    def function(x: Tensor) -> Tensor:
        return segment_reduce(x, index, 6, reduce)

    assert torch.autograd.gradcheck(function, (values,))
    assert torch.autograd.gradgradcheck(function, (values,))


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("num_segments", [2, 300])
def test_does_not_depend_on_the_number_of_threads(
    path: str, reduce: str, num_segments: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2000, 37, generator=generator)
    index = torch.randint(-1, num_segments, (2000,), generator=generator)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            leaf = values.clone().requires_grad_()
            out = segment_reduce(leaf, index, num_segments, reduce)
            (out * out.detach().cos()).sum().backward()
            results.append((out.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for out, grad in results[1:]:
        assert torch.equal(out, results[0][0]) and torch.equal(grad, results[0][1])


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_any_strides(path: str, reduce: str) -> None:
    values = torch.randn(4, 50, 3)
    index = torch.randint(5, (100,))[::2]
    expected = segment_reduce(values.mT.contiguous().mT[1].contiguous(), index.clone(), 5, reduce)
    assert torch.equal(segment_reduce(values.mT.contiguous().mT[1], index, 5, reduce), expected)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("shape, segments", [((0, 3), 0), ((0, 3), 4), ((5, 0), 2), ((5, 2), 0)])
def test_empty_inputs(
    device: torch.device, path: str, shape: tuple[int, int], segments: int, reduce: str
) -> None:
    values = torch.ones(shape, device=device, requires_grad=True)
    index = torch.full((shape[0],), -1 if segments == 0 else 0, device=device)
    out = segment_reduce(values, index, segments, reduce)
    assert torch.equal(out, torch.zeros(segments, shape[1], device=device))
    out.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, torch.zeros_like(values))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_100_iterations_do_not_leak(check_leaks: Callable[..., None]) -> None:
    values = torch.randn(2_000, 33, requires_grad=True)
    index = torch.randint(300, (2_000,))

    def step() -> None:
        for reduce in REDUCTIONS:
            segment_reduce(values, index, 300, reduce).square().sum().backward()
            values.grad = None

    check_leaks(step)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"values": torch.zeros(3, 2, dtype=torch.int64)}, "int64"),
        ({"values": torch.tensor(1.0)}, r"expected floating \(N, ...\)"),
        ({"values": torch.zeros(1).expand(3, 2**30)}, r"at most 2\^31 - 1"),
        ({"segment_index": torch.tensor([0, 1])}, r"\(2,\), expected int64 \(3,\)"),
        ({"segment_index": torch.tensor([0.0, 1, 1])}, "float32"),
        ({"segment_index": torch.tensor([0, 1, 2])}, "from 0 to 2, expected -1..1"),
        ({"segment_index": torch.tensor([0, 1, -2])}, "from -2 to 1"),
        ({"segment_index": torch.zeros(3, device="meta").long()}, "meta"),
        ({"num_segments": -1}, "num_segments is -1"),
        ({"num_segments": 2.0}, "num_segments is 2.0"),
        ({"num_segments": 2**30}, r"at most 2\^31 - 1"),
        ({"reduce": "median"}, "'median', expected one of sum, mean, max, min"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {
        "values": torch.zeros(3, 2),
        "segment_index": torch.tensor([0, 1, 1]),
        "num_segments": 2,
        "reduce": "sum",
    }
    with pytest.raises(ValueError, match=message):
        segment_reduce(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    values = torch.randn(33, 5, requires_grad=True)
    index = torch.randint(7, (33,))
    torch.library.opcheck(torch.ops.pcpt.segment_sum.default, (values, index, 7))
    for largest in (True, False):
        arguments = values, index, 7, largest
        torch.library.opcheck(torch.ops.pcpt.segment_extreme.default, arguments)
