"""nearest_neighbors against a table, SciPy's tree and its reference."""

import importlib
import os
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pcpt.ops import Neighbors, nearest_neighbors
from pcpt.ops._library import COMPILED

minutes_in_the_emulator = pytest.mark.skipif(
    os.environ.get("PCPT_EMULATE_CUDA") == "1", reason="takes the emulator minutes"
)
module = importlib.import_module("pcpt.ops.nearest_neighbors")
SIZES = [0, 1, 7, 16, 33, 100, 257]
inf = torch.inf
# operators that search clouds, with what they take beside the clouds and k
SEARCHES = {"nearest_neighbors": {}, "ball_query": {"radius": 0.8}}


def same(a: Neighbors, b: Neighbors) -> bool:
    return torch.equal(a.index, b.index) and torch.equal(a.squared_distance, b.squared_distance)


def test_hand_worked_table(device: torch.device, path: str) -> None:
    points = torch.tensor([[[0.0, 0], [3, 0], [0, 0], [0, 4]], [[1, 1], [9, 9], [9, 9], [9, 9]]])
    queries = torch.tensor([[[0.0, 0], [3, 4]], [[1, 2], [5, 5]]])
    lengths, query_lengths = torch.tensor([4, 1]), torch.tensor([2, 1])
    result = nearest_neighbors(
        queries.to(device),
        points.to(device),
        3,
        lengths=lengths.to(device),
        query_lengths=query_lengths.to(device),
    )
    assert result.index.tolist() == [[[0, 2, 1], [3, 1, 0]], [[0, -1, -1], [-1, -1, -1]]]
    # (3, 4) is 4 away from (3, 0), 3 from (0, 4): the latter is nearer
    assert result.squared_distance.tolist() == [
        [[0, 0, 9], [9, 16, 25]],
        [[1, inf, inf], [inf, inf, inf]],
    ]
    assert result.index.dtype == torch.int64 and result.index.device.type == device.type


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("part", range(20))
def test_kernel_equals_reference(
    device: torch.device,
    reference: Callable[..., Neighbors],
    odd_clouds: Callable[..., Tensor],
    part: int,
) -> None:
    for seed in range(10 * part, 10 * part + 10):
        draw = random.Random(seed)
        num_clouds, num_points = draw.choice([0, 1, 2, 3]), draw.choice(SIZES)
        num_queries = draw.choice([0, 1, 5, 33, 40])
        channels = draw.choice([1, 2, 3, 3, 3, 4, 7, 13, 33, 96])
        points = odd_clouds(draw, num_clouds, num_points, channels)
        queries = odd_clouds(draw, num_clouds, num_queries, channels).to(points.dtype)
        if draw.random() < 0.4:  # points themselves
            queries = points[:, : draw.randint(0, num_points)].clone()
        k = draw.choice([1, 2, 8, 9, 16, 20, 33, 50, 128])
        options = {
            "lengths": torch.tensor([draw.randint(0, num_points) for _ in points]).long(),
            "query_lengths": torch.tensor(
                [draw.randint(0, queries.shape[1]) for _ in points]
            ).long(),
        }
        options = {name: value.to(device) for name, value in options.items() if draw.random() < 0.5}
        arguments = queries.to(device), points.to(device), k
        result, expected = (
            nearest_neighbors(*arguments, **options),
            reference(*arguments, **options),
        )
        assert same(result, expected), f"seed {seed}"


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize(
    "num_queries, num_points, channels",
    [
        (40, 1023, 64),
        (40, 9001, 3),
        pytest.param(4200, 40, 3, marks=minutes_in_the_emulator),
        (3, 20011, 2),
    ],
)
def test_large_inputs_equal_reference(
    device: torch.device,
    reference: Callable[..., Neighbors],
    num_queries: int,
    num_points: int,
    channels: int,
) -> None:
    generator = torch.Generator().manual_seed(num_points)
    points = torch.rand(1, num_points, channels, generator=generator)
    points[0, ::5] = (4 * points[0, ::5]).round() / 4  # many ties
    queries = torch.rand(1, num_queries, channels, generator=generator)
    queries[0, ::3] = points[0, torch.arange(0, num_queries, 3) % num_points]
    arguments = queries.to(device), points.to(device), 20
    assert same(nearest_neighbors(*arguments), reference(*arguments))


@pytest.mark.parametrize("channels, k", [(3, 16), (3, 128), (6, 5), (13, 20)])
def test_against_scipy(device: torch.device, path: str, channels: int, k: int) -> None:
    generator = np.random.default_rng(channels + k)
    points, queries = generator.normal(size=(700, channels)), generator.normal(size=(50, channels))
    distance, index = cKDTree(points).query(queries, k)
    result = nearest_neighbors(
        torch.tensor(queries[None], device=device), torch.tensor(points[None], device=device), k
    )
    assert result.index[0].tolist() == index.tolist()
    np.testing.assert_allclose(result.squared_distance[0].cpu().sqrt(), distance, rtol=1e-12)


def test_equally_near_points_come_by_index(device: torch.device, path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 3, (1, 400, 3), generator=generator).float().to(device)
    result = nearest_neighbors(points[:, :64], points, 100)
    key = result.squared_distance.double() * 1000 + result.index
    assert (key.diff(dim=2) > 0).all()
    assert result.squared_distance[0, :, 0].eq(0).all()


def test_what_is_not_finite_has_no_neighbors(device: torch.device, path: str) -> None:
    points = torch.tensor([[[0.0, torch.nan], [1, 1], [torch.inf, 0], [3e19, 0]]], device=device)
    queries = torch.tensor([[[0.0, 0], [torch.nan, 0], [0, -torch.inf]]], device=device)
    result = nearest_neighbors(queries, points, 2)  # 3e19 squared is beyond float32
    assert result.index.tolist() == [[[1, -1], [-1, -1], [-1, -1]]]
    assert result.squared_distance.tolist() == [[[2, inf], [inf, inf], [inf, inf]]]


@minutes_in_the_emulator
def test_threads_strides_and_half_precision_do_not_matter(path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3, 3, 200, generator=generator).half().mT
    expected = nearest_neighbors(points.float().contiguous(), points.float().contiguous(), 8)
    assert expected.squared_distance.dtype == torch.float32
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert same(nearest_neighbors(points, points, 8), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("sizes", [(0, 4, 5), (2, 0, 5), (2, 4, 0), (2, 0, 0)])
def test_empty_inputs(device: torch.device, path: str, sizes: tuple[int, int, int]) -> None:
    clouds, queries, points = sizes
    result = nearest_neighbors(
        torch.zeros(clouds, queries, 3, device=device),
        torch.zeros(clouds, points, 3, device=device),
        7,
    )
    assert result.index.shape == (clouds, queries, 7)
    assert (result.index[..., points:] == -1).all()
    assert (result.squared_distance[..., points:] == inf).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"queries": torch.zeros(2, 4)}, r"queries are torch.float32 \(2, 4\)"),
        ({"queries": torch.zeros(2, 4, 2)}, r"\(2, 4, 2\) and points \(2, 5, 3\)"),
        ({"queries": torch.zeros(3, 4, 3)}, r"\(3, 4, 3\) and points \(2, 5, 3\)"),
        ({"queries": torch.zeros(2, 4, 3).double()}, "one dtype and device"),
        ({"queries": torch.zeros(2, 4, 3, device="meta")}, "one dtype and device"),
        ({"points": torch.zeros(2, 5, 3).long(), "queries": torch.zeros(2, 4, 3).long()}, "int64"),
        ({"points": torch.zeros(1).expand(2, 2**29, 3)}, r"at most 2\^31 - 1"),
        ({"queries": torch.zeros(1).expand(2, 2**27, 3), "k": 16}, "neighbors hold 4294967296"),
        ({"k": 0}, "k is 0, expected a whole number in 1..128"),
        ({"k": 129}, "k is 129"),
        ({"k": 2.0}, "k is 2.0"),
        ({"lengths": torch.tensor([6, 0])}, "lengths reach from 0 to 6, but clouds hold 0..5"),
        ({"query_lengths": torch.tensor([-1, 0])}, "query_lengths reach from -1"),
        ({"query_lengths": torch.tensor([[1, 1]])}, r"\(1, 2\), expected int64 \(2,\)"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {"queries": torch.zeros(2, 4, 3), "points": torch.zeros(2, 5, 3), "k": 2}
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("channels", [3, 33])
def test_opcheck(channels: int) -> None:
    queries, points = torch.randn(2, 40, channels), torch.randn(2, 33, channels)
    arguments = queries, torch.tensor([40, 3]), points, torch.tensor([33, 7]), 9
    torch.library.opcheck(torch.ops.pcpt.nearest_neighbors.default, arguments)


def test_gradients_by_gathering(path: str) -> None:
    """As the documentation says."""
    points = torch.randn(2, 30, 3, dtype=torch.float64, requires_grad=True)
    index, squared_distance = nearest_neighbors(points, points, 4)
    assert not squared_distance.requires_grad
    cloud = torch.arange(2)[:, None, None]
    again = (points[:, :, None] - points[cloud, index]).square().sum(-1)
    assert torch.equal(again, squared_distance) and again.requires_grad


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("wrong", [[7, 3], [5, -1], [2**32 + 2, 3], [3, 10**8]])
def test_wrong_lengths_read_nothing_foreign(
    search: str, wrong: list[int], device: torch.device, clamps: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, points = (torch.rand(2, 5, 3, generator=generator).to(device) for _ in range(2))
    good, lengths = torch.tensor([5, 2], device=device), torch.tensor(wrong, device=device)
    operator = partial(getattr(torch.ops.pcpt, search), **SEARCHES[search], k=6)
    for counts in ((good, lengths), (lengths, good)):
        if not clamps:
            with pytest.raises(RuntimeError, match=r"lengths\[[01]\] is .*, expected 0\.\.5"):
                operator(queries, counts[0], points, counts[1])
            continue
        clamped = [count.clamp(0, 5) for count in counts]
        expected = operator(queries, clamped[0], points, clamped[1])
        assert same(
            Neighbors(*operator(queries, counts[0], points, counts[1])),
            Neighbors(*expected),
        )


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("search", SEARCHES)
def test_more_rows_than_cuda_kernels_count_are_refused(
    search: str, device: torch.device, clamps: bool
) -> None:
    if not clamps:
        pytest.skip("the CPU's kernels count further")
    few, many = (torch.empty(1, rows, 0, device=device) for rows in (4, 2**30))
    lengths = torch.zeros(1, dtype=torch.int64, device=device)
    for queries, points in ((few, many), (many, few)):
        with pytest.raises(RuntimeError, match="more than 1073741823 points or queries"):
            getattr(torch.ops.pcpt, search)(
                queries, lengths, points, lengths, **SEARCHES[search], k=1
            )


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_100_iterations_do_not_leak(check_leaks: Callable[..., None]) -> None:
    points = torch.randn(2, 300, 3)
    check_leaks(lambda: nearest_neighbors(points[:, :150], points, 32))
