"""ball_query against a table, SciPy's tree and its reference."""

import importlib
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from pcpt.ops import Neighbors, ball_query
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.ball_query")
SIZES = [0, 1, 7, 16, 33, 100, 257]
inf = torch.inf


def same(a: Neighbors, b: Neighbors) -> bool:
    return torch.equal(a.index, b.index) and torch.equal(a.squared_distance, b.squared_distance)


def test_hand_worked_table(device: torch.device, path: str) -> None:
    points = torch.tensor([[[3.0, 0], [0, 1], [0, 0], [0.5, 0]], [[1, 1], [1, 1], [9, 9], [1, 2]]])
    queries = torch.tensor([[[0.0, 0], [4, 0]], [[1, 1], [5, 5]]])
    result = ball_query(queries.to(device), points.to(device), 1.0, 2)
    # Exactly at the radius is outside; by index, not by distance.
    assert result.index.tolist() == [[[2, 3], [-1, -1]], [[0, 1], [-1, -1]]]
    assert result.squared_distance[0, 0].tolist() == [0, 0.25]
    assert result.squared_distance[0, 1].tolist() == [inf, inf]
    wider = ball_query(
        queries.to(device),
        points.to(device),
        1.001,
        3,
        lengths=torch.tensor([3, 4], device=device),
        query_lengths=torch.tensor([2, 1], device=device),
    )
    assert wider.index.tolist() == [[[1, 2, -1], [0, -1, -1]], [[0, 1, 3], [-1, -1, -1]]]
    first = torch.where(wider.index < 0, wider.index[..., :1], wider.index)  # as documented
    assert first[0].tolist() == [[1, 2, 1], [0, 0, 0]]


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
        channels = draw.choice([1, 2, 3, 3, 3, 4, 7, 13])
        points = odd_clouds(draw, num_clouds, num_points, channels)
        queries = odd_clouds(draw, num_clouds, draw.choice([0, 1, 5, 33]), channels)
        queries = queries.to(points.dtype)
        options = {
            "lengths": torch.tensor([draw.randint(0, num_points) for _ in points]).long(),
            "query_lengths": torch.tensor(
                [draw.randint(0, queries.shape[1]) for _ in points]
            ).long(),
        }
        options = {name: value.to(device) for name, value in options.items() if draw.random() < 0.5}
        radius, k = draw.choice([0.1, 0.5, 1.0, 2.0, inf]), draw.choice([1, 2, 16, 33, 128])
        arguments = queries.to(device), points.to(device), radius, k
        result, expected = ball_query(*arguments, **options), reference(*arguments, **options)
        assert same(result, expected), f"seed {seed}"


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("radius", [0.02, 0.1, 0.25, 3.0])
@pytest.mark.parametrize("num_points", [1023, 5001, 20011])
def test_large_clouds_equal_reference(
    device: torch.device, reference: Callable[..., Neighbors], num_points: int, radius: float
) -> None:
    generator = torch.Generator().manual_seed(num_points)
    points = torch.rand(1, num_points, 3, generator=generator)
    points[0, ::5] = (4 * points[0, ::5]).round() / 4  # points exactly at the radius
    queries = torch.cat((points[:, :20], torch.rand(1, 20, 3, generator=generator)), dim=1)
    arguments = queries.to(device), points.to(device), radius, 40
    assert same(ball_query(*arguments), reference(*arguments))


def test_against_scipy(device: torch.device, path: str) -> None:
    generator = np.random.default_rng(0)
    points, queries = generator.normal(size=(700, 3)), generator.normal(size=(50, 3))
    found = cKDTree(points).query_ball_point(queries, 0.7)
    result = ball_query(
        torch.tensor(queries[None], device=device),
        torch.tensor(points[None], device=device),
        0.7,
        128,
    )
    assert max(len(rows) for rows in found) < 128
    assert [[i for i in row if i >= 0] for row in result.index[0].tolist()] == [
        sorted(rows) for rows in found
    ]


def test_what_is_not_finite_lies_in_no_ball(device: torch.device, path: str) -> None:
    points = torch.tensor([[[torch.nan], [1], [torch.inf], [3e19]]], device=device)
    queries = torch.tensor([[[0.0], [torch.nan], [torch.inf]]], device=device)
    result = ball_query(queries, points, inf, 3)
    assert result.index.tolist() == [[[1, -1, -1], [-1, -1, -1], [-1, -1, -1]]]


def test_threads_strides_and_half_precision_do_not_matter(path: str) -> None:
    points = torch.randn(3, 3, 200, generator=torch.Generator().manual_seed(0)).half().mT
    expected = ball_query(points.float().contiguous(), points.float().contiguous(), 0.5, 8)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert same(ball_query(points, points, 0.5, 8), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("sizes", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
def test_empty_inputs(device: torch.device, path: str, sizes: tuple[int, int, int]) -> None:
    clouds, queries, points = sizes
    result = ball_query(
        torch.zeros(clouds, queries, 3, device=device),
        torch.zeros(clouds, points, 3, device=device),
        1.0,
        7,
    )
    assert result.index.shape == (clouds, queries, 7)
    assert (result.index[..., points:] == -1).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"radius": 0.0}, "radius is 0.0, expected > 0"),
        ({"radius": -1.0}, "radius is -1.0"),
        ({"radius": torch.nan}, "radius is nan"),
        ({"k": 0}, "k is 0"),
        ({"k": 129}, "k is 129"),
        ({"queries": torch.zeros(2, 4, 2)}, r"\(2, 4, 2\) and points \(2, 5, 3\)"),
        ({"queries": torch.zeros(2, 4, 3).double()}, "one dtype and device"),
        ({"points": torch.zeros(1).expand(2, 2**29, 3)}, r"at most 2\^31 - 1"),
        ({"lengths": torch.tensor([6, 0])}, "lengths reach from 0 to 6"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {
        "queries": torch.zeros(2, 4, 3),
        "points": torch.zeros(2, 5, 3),
        "radius": 1.0,
        "k": 2,
    }
    with pytest.raises(ValueError, match=message):
        ball_query(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    arguments = torch.randn(2, 40, 3), torch.tensor([40, 3]), torch.randn(2, 33, 3)
    arguments = (*arguments, torch.tensor([33, 7]), 0.8, 9)
    torch.library.opcheck(torch.ops.pcpt.ball_query.default, arguments)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_100_iterations_do_not_leak(check_leaks: Callable[..., None]) -> None:
    points = torch.randn(1, 4200, 3)
    check_leaks(lambda: ball_query(points[:, :300], points, 0.3, 32))
