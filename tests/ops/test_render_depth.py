"""render_depth against a table, a naive loop and its reference."""

import importlib
import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops import render_depth
from pcpt.ops._library import COMPILED
from pcpt.ops._projection_matrices import projection_matrices

module = importlib.import_module("pcpt.ops.render_depth")
SIZES = [0, 1, 7, 33, 1023]
EYE = torch.eye(4)[None]
UNIT = torch.eye(3)[None]


def scene(num_points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points all around three cameras, many outside their images or behind them."""
    generator = torch.Generator().manual_seed(num_points)
    points = torch.randn(num_points, 3, generator=generator) + torch.tensor([0.0, 0.0, 1.0])
    intrinsics = torch.tensor([[20.0, 0.3, 15.7], [0, 22.0, 11.2], [0, 0, 1]]).repeat(3, 1, 1)
    pose = torch.eye(4).repeat(3, 1, 1)
    pose[1, :3, 3] = torch.tensor([0.2, 0.1, -0.5])
    pose[2, :3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    return points, intrinsics, pose


def naive(
    points: Tensor, intrinsics: Tensor, poses: Tensor, size: tuple[int, int], radius: int
) -> Tensor:
    """Pixel by pixel, in float64."""
    depth = torch.zeros(len(intrinsics), *size)
    for view in range(len(intrinsics)):
        world_to_camera = torch.linalg.inv(poses[view].double())
        for point in points.double():
            camera_point = world_to_camera[:3, :3] @ point + world_to_camera[:3, 3]
            z = float(camera_point[2])
            if z <= 0:
                continue
            u, v, _ = (intrinsics[view].double() @ camera_point / z).tolist()
            column, row = math.floor(u + 0.5), math.floor(v + 0.5)
            for y in range(max(row - radius, 0), min(row + radius + 1, size[0])):
                for x in range(max(column - radius, 0), min(column + radius + 1, size[1])):
                    old = float(depth[view, y, x])
                    depth[view, y, x] = z if old == 0 else min(old, z)
    return depth


def test_hand_worked_table(device: torch.device, path: str) -> None:
    points = torch.tensor(
        [
            [2.0, 2.0, 2.0],  # pixel (1, 1)
            [1.0, 1.0, 1.0],  # the same pixel, nearer
            [9.0, 0.0, 3.0],  # pixel (3, 0)
            [-1.2, 0.6, 1.0],  # pixel (-1, 1), outside: reaches in with radius 1
            [1.0, 1.0, -1.0],  # behind the camera
            [0.0, 0.0, 0.0],
            [torch.nan, 0.0, 1.0],
            [0.0, 0.0, torch.inf],
        ],
        device=device,
    )
    single = render_depth(points, UNIT, EYE, (3, 4))
    assert single.tolist() == [[[0, 0, 0, 3], [0, 1, 0, 0], [0, 0, 0, 0]]]
    splat = render_depth(points, UNIT, EYE, (3, 4), 1)
    assert splat.tolist() == [[[1, 1, 1, 3], [1, 1, 1, 3], [1, 1, 1, 0]]]
    only_outside = render_depth(points[3:4], UNIT, EYE, (3, 4), 1)
    assert only_outside.tolist() == [[[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]]
    assert splat.dtype == torch.float32 and splat.device.type == device.type


@pytest.mark.parametrize("radius", [0, 1, 2])
@pytest.mark.parametrize("num_points", SIZES[:-1])
def test_against_the_naive_loop(
    device: torch.device, path: str, num_points: int, radius: int
) -> None:
    points, intrinsics, pose = (part.to(device) for part in scene(num_points))
    result = render_depth(points, intrinsics, pose, (23, 31), radius)
    expected = naive(points.cpu(), intrinsics.cpu(), pose.cpu(), (23, 31), radius)
    torch.testing.assert_close(result.cpu(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("radius", [0, 2])
@pytest.mark.parametrize("num_points", SIZES)
def test_kernel_equals_reference_bit_for_bit(
    device: torch.device, num_points: int, radius: int
) -> None:
    if not module.has_kernel("render_depth", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    arguments = [part.to(device) for part in scene(num_points)]
    compiled = render_depth(*arguments, (23, 31), radius)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        assert torch.equal(compiled, render_depth(*arguments, (23, 31), radius))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("group", range(10))
def test_random_cases_equal_the_reference(device: torch.device, group: int) -> None:
    if not module.has_kernel("render_depth", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    for seed in range(20 * group, 20 * group + 20):
        draw = random.Random(seed)
        generator = torch.Generator().manual_seed(seed)
        points, intrinsics, pose = scene(draw.choice([*SIZES, 1025, 2500]))
        kind = draw.choice(["plain", "sorted", "not finite", "huge", "hidden"])
        if kind == "sorted":  # whole blocks of points out of a view's sight
            points = points[points[:, 0].argsort()]
        elif kind == "not finite":
            hit = torch.rand(points.shape, generator=generator) < 0.1
            points[hit] = draw.choice([torch.nan, torch.inf, -torch.inf])
        elif kind == "huge":
            points *= draw.choice([1e10, 1e25, 1e38])
        elif kind == "hidden":
            points[:, draw.randrange(3)] += draw.choice([-1, 1]) * draw.choice([20.0, 1e4])
        views = torch.randint(3, (draw.choice([0, 1, 2, 5, 9]),), generator=generator)
        arguments = points.to(device), intrinsics[views], pose[views]
        options = (draw.randrange(1, 30), draw.randrange(1, 40)), draw.choice([0, 0, 1, 2, 5])
        result = render_depth(*arguments, *options)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "has_kernel", lambda *_: False)
            assert torch.equal(result, render_depth(*arguments, *options)), seed


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    points, intrinsics, pose = scene(500)
    check_leaks(lambda: render_depth(points, intrinsics, pose, (300, 400), 1))


def test_any_strides_and_dtypes(path: str) -> None:
    points, intrinsics, pose = scene(200)
    expected = render_depth(points, intrinsics, pose, (23, 31), 1)
    turned = points.double().T.contiguous().T.requires_grad_()
    result = render_depth(turned, intrinsics.mT.contiguous().mT, pose.double(), (23, 31), 1)
    assert torch.equal(result, expected)


def test_order_and_threads_do_not_matter(path: str) -> None:
    points, intrinsics, pose = scene(1023)
    expected = render_depth(points, intrinsics[:1], pose[:1], (23, 31), 2)
    assert (expected > 0).float().mean() > 0.1
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7, 40):  # one view: more threads than rows, and bands of rows
            torch.set_num_threads(count)
            shuffled = points[torch.randperm(len(points))]
            result = render_depth(shuffled, intrinsics[:1], pose[:1], (23, 31), 2)
            assert torch.equal(result, expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("num_points, num_views, size", [(0, 2, (3, 4)), (3, 0, (3, 4))])
def test_empty_inputs(path: str, num_points: int, num_views: int, size: tuple[int, int]) -> None:
    result = render_depth(
        torch.ones(num_points, 3), UNIT.repeat(num_views, 1, 1), EYE.repeat(num_views, 1, 1), size
    )
    assert torch.equal(result, torch.zeros(num_views, *size))
    for nothing in ((0, 4), (3, 0)):
        assert render_depth(torch.ones(2, 3), UNIT, EYE, nothing, 1).shape == (1, *nothing)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"points": torch.zeros(3)}, r"\(N, 3\)"),
        ({"points": torch.zeros(5, 3, dtype=torch.int32)}, "int32"),
        ({"intrinsics": torch.eye(3)}, r"intrinsics .*\(V, 3, 3\)"),
        ({"intrinsics": UNIT * torch.tensor([0.0, 1, 1])}, r"intrinsics\[0\] is not invertible"),
        ({"intrinsics": UNIT.repeat(2, 1, 1)}, r"camera_to_world .*\(2, 4, 4\)"),
        ({"camera_to_world": torch.diag(torch.tensor([1.0, 1, 0, 1]))[None]}, "not invertible"),
        ({"camera_to_world": (EYE * 2)}, "must end in the row"),
        ({"size": (-1, 4)}, "size is"),
        ({"size": (65536, 65536)}, "2\\^31 pixels"),
        ({"radius_pixels": -1}, "radius_pixels is -1"),
        ({"radius_pixels": 0.5}, "radius_pixels is 0.5"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {
        "points": torch.zeros(5, 3),
        "intrinsics": UNIT,
        "camera_to_world": EYE,
        "size": (3, 4),
        "radius_pixels": 0,
    }
    with pytest.raises(ValueError, match=message):
        render_depth(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    points, intrinsics, pose = scene(33)
    projection = projection_matrices(intrinsics, pose)
    torch.library.opcheck(torch.ops.pcpt.render_depth.default, (points, projection, 23, 31, 1))
