"""farthest_points against tables, a naive loop and its reference."""

import importlib
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops import farthest_points
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.farthest_points")
SIZES = [0, 1, 7, 16, 17, 33, 100, 257]


def naive(points: list[list[float]], num_samples: int, start: int) -> list[int]:
    """Point by point, in float64."""
    taken = [start]
    while len(taken) < min(num_samples, len(points)):
        best, best_distance = -1, -1.0
        for i, point in enumerate(points):
            if i in taken:
                continue
            distance = min(sum((a - b) ** 2 for a, b in zip(point, points[j])) for j in taken)
            if distance > best_distance:
                best, best_distance = i, distance
        taken.append(best)
    return (taken + [-1] * num_samples)[:num_samples]


def test_hand_worked_table(device: torch.device, path: str) -> None:
    points = torch.tensor([[[0.0], [1.0], [5.0], [4.0]], [[2.0], [2.0], [0.0], [4.0]]])
    result = farthest_points(points.to(device), 5)
    # Second cloud: 2 and 3 are equally far from the start, the lower goes first; the copy last.
    assert result.tolist() == [[0, 2, 1, 3, -1], [0, 2, 3, 1, -1]]
    assert result.dtype == torch.int64 and result.device.type == device.type
    assert farthest_points(points.to(device), 2, start_index=3).tolist() == [[3, 0], [3, 2]]
    start = torch.tensor([1, 2], dtype=torch.int32, device=device)
    assert farthest_points(points.to(device), 2, start_index=start).tolist() == [[1, 2], [2, 3]]
    lengths = torch.tensor([2, 0], device=device)
    assert farthest_points(points.to(device), 3, lengths=lengths).tolist() == [[0, 1, -1], [-1] * 3]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("num_points", [1, 7, 33, 70])
def test_against_the_naive_loop(
    device: torch.device, path: str, num_points: int, channels: int
) -> None:
    generator = torch.Generator().manual_seed(num_points)
    # Whole numbers: distances are exact, and many tie.
    points = torch.randint(-3, 4, (2, num_points, channels), generator=generator).double()
    start = num_points // 2
    result = farthest_points(points.to(device), num_points + 2, start_index=start)
    expected = [naive(cloud.tolist(), num_points + 2, start) for cloud in points]
    assert result.tolist() == expected


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("part", range(20))
def test_kernel_equals_reference(
    device: torch.device,
    reference: Callable[..., Tensor],
    odd_clouds: Callable[..., Tensor],
    part: int,
) -> None:
    for seed in range(10 * part, 10 * part + 10):
        draw = random.Random(seed)
        num_clouds, num_points = draw.choice([0, 1, 2, 3]), draw.choice(SIZES)
        points = odd_clouds(draw, num_clouds, num_points, draw.choice([1, 2, 3, 3, 3, 4, 7]))
        lengths = torch.tensor(
            [draw.randint(0, num_points) for _ in range(num_clouds)], dtype=torch.int64
        )
        start = torch.tensor(
            [draw.randrange(max(length, 1)) for length in lengths.tolist()], dtype=torch.int64
        )
        arguments = points.to(device), draw.choice([0, 1, 5, num_points // 2, num_points + 3])
        options = {"lengths": lengths.to(device), "start_index": start.to(device)}
        result = farthest_points(*arguments, **options)
        assert torch.equal(result, reference(*arguments, **options)), f"seed {seed}"


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize(
    "num_points, num_samples", [(1023, 200), (4500, 40), (9000, 30), (40000, 12)]
)
def test_large_clouds_equal_reference(
    device: torch.device, reference: Callable[..., Tensor], num_points: int, num_samples: int
) -> None:
    generator = torch.Generator().manual_seed(num_points)
    points = torch.rand(1, num_points, 3, generator=generator).to(device)
    points[0, ::7] = points[0, 3]  # a seventh of them in one place
    result = farthest_points(points, num_samples)
    assert torch.equal(result, reference(points, num_samples))


def test_points_that_are_not_finite_are_never_sampled(device: torch.device, path: str) -> None:
    nan, inf = torch.nan, torch.inf
    points = torch.tensor([[[nan, 0, 0], [0, 0, 0], [1, 0, inf], [3, 0, 0], [2, -inf, 0]]])
    assert farthest_points(points.to(device), 4).tolist() == [[1, 3, -1, -1]]
    assert farthest_points(points.to(device), 4, start_index=3).tolist() == [[3, 1, -1, -1]]
    assert farthest_points(points[:, :1].to(device), 2).tolist() == [[-1, -1]]


def test_copies_come_after_all_that_differ(device: torch.device, path: str) -> None:
    points = torch.tensor([[1.0, 2, 3], [1, 2, 3], [4, 5, 6], [1, 2, 3], [4, 5, 6]], device=device)
    assert farthest_points(points[None], 6).tolist() == [[0, 2, 1, 3, 4, -1]]
    everywhere = torch.zeros(1, 40, 3, device=device)
    expected = [5, *(i for i in range(40) if i != 5), -1]
    assert farthest_points(everywhere, 41, start_index=5)[0].tolist() == expected


def test_threads_strides_and_half_precision_do_not_matter(path: str) -> None:
    points = torch.randn(5, 3, 300, generator=torch.Generator().manual_seed(0)).half().mT
    expected = farthest_points(points.float().contiguous(), 50)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(farthest_points(points, 50), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (0, 0, 1)])
def test_empty_inputs(device: torch.device, path: str, shape: tuple[int, int, int]) -> None:
    result = farthest_points(torch.zeros(shape, device=device), 3)
    assert torch.equal(result, torch.full((shape[0], 3), -1, device=device))
    assert farthest_points(torch.zeros(2, 5, 3, device=device), 0).shape == (2, 0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"points": torch.zeros(5, 3)}, r"\(5, 3\), expected floating \(B, N, C\)"),
        ({"points": torch.zeros(2, 5, 0)}, "C >= 1"),
        ({"points": torch.zeros(2, 5, 3, dtype=torch.int64)}, "int64"),
        ({"points": torch.zeros(1).expand(2**11, 2**19, 3)}, r"at most 2\^31 - 1"),
        ({"num_samples": -1}, "num_samples is -1"),
        ({"num_samples": 1.5}, "num_samples is 1.5"),
        ({"num_samples": 2**31}, r"at most 2\^31 - 1"),
        ({"lengths": torch.tensor([5, 6])}, "from 5 to 6, but clouds hold 0..5"),
        ({"lengths": torch.tensor([5, -1])}, "from -1"),
        ({"lengths": torch.tensor([5.0, 5.0])}, "float32"),
        ({"lengths": torch.tensor([5])}, r"\(1,\), expected int64 \(2,\)"),
        ({"lengths": torch.tensor([5, 5], device="meta")}, "meta"),
        ({"start_index": 5}, "start_index is 5, but clouds hold 5"),
        ({"start_index": -1}, "start_index is -1"),
        ({"start_index": torch.tensor([0, 5])}, "start_index of cloud 1 is 5, but it holds 5"),
        ({"start_index": torch.tensor([0, 0], device="meta")}, "meta"),
        ({"start_index": torch.tensor([0.0, 0.0])}, "float32"),
        ({"start_index": 3, "lengths": torch.tensor([5, 3])}, "cloud 1 is 3, but it holds 3"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {"points": torch.zeros(2, 5, 3), "num_samples": 2}
    with pytest.raises(ValueError, match=message):
        farthest_points(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    points = torch.randn(2, 33, 3)
    lengths, start = torch.tensor([33, 7]), torch.tensor([3, 0])
    torch.library.opcheck(torch.ops.pcpt.farthest_points.default, (points, lengths, start, 9))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("wrong", [[7, 3], [5, -1], [2**32 + 2, 3], [3, 10**8]])
def test_wrong_lengths_read_nothing_foreign(
    wrong: list[int], device: torch.device, clamps: bool
) -> None:
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).to(device)
    lengths, start = torch.tensor(wrong, device=device), torch.tensor([0, 0], device=device)
    if not clamps:
        with pytest.raises(RuntimeError, match=r"lengths\[[01]\] is .*, expected 0\.\.5"):
            torch.ops.pcpt.farthest_points(points, lengths, start, 8)
        return
    expected = torch.ops.pcpt.farthest_points(points, lengths.clamp(0, 5), start, 8)
    assert torch.equal(torch.ops.pcpt.farthest_points(points, lengths, start, 8), expected)


def test_points_may_require_a_gradient(path: str) -> None:
    points = torch.randn(1, 20, 3, requires_grad=True)
    assert not farthest_points(points, 4).requires_grad


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_100_iterations_do_not_leak(check_leaks: Callable[..., None]) -> None:
    points = torch.randn(4, 2000, 3)
    check_leaks(lambda: farthest_points(points, 20))
