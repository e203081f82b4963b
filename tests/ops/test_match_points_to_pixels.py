"""match_points_to_pixels against a table, a naive loop, its reference and a real scan."""

import importlib
import math
import os
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops import Correspondences, match_points_to_pixels, render_depth
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.match_points_to_pixels")
SIZES = [0, 1, 7, 33, 1023]
EYE = torch.eye(4)[None]


def intrinsics(focal: float = 1.0, u: float = 0.0, v: float = 0.0) -> Tensor:
    return torch.tensor([[[focal, 0, u], [0, focal, v], [0, 0, 1.0]]])


def poses(num_views: int, generator: torch.Generator) -> Tensor:
    """Slightly turned and shifted cameras."""
    skew = 0.2 * torch.randn(num_views, 3, 3, generator=generator, dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).repeat(num_views, 1, 1)
    pose[:, :3, :3] = torch.linalg.matrix_exp(skew - skew.mT)
    pose[:, :3, 3] = 0.3 * torch.randn(num_views, 3, generator=generator, dtype=torch.float64)
    return pose


def scene(num_points: int, num_views: int = 3) -> dict[str, object]:
    """A cloud before and behind two-camera rigs, with depth rendered from its front half."""
    generator = torch.Generator().manual_seed(100 * num_views + num_points)
    points = torch.randn(num_points, 3, generator=generator) + torch.tensor([0.0, 0.0, 1.5])
    depth_pose = poses(num_views, generator)
    offset = torch.eye(4, dtype=torch.float64)
    offset[:3, 3] = torch.tensor([0.05, -0.02, 0.01])
    depth_intrinsics = intrinsics(30.0, 19.3, 14.6).repeat(num_views, 1, 1)
    depth = render_depth(points[::2], depth_intrinsics, depth_pose, (30, 40), 1)
    noise = 0.1 * torch.rand(depth.shape, generator=generator)
    return {
        "points": points,
        "depth": torch.where(depth > 0, depth + noise, 0.0),
        "depth_intrinsics": depth_intrinsics,
        "depth_camera_to_world": depth_pose,
        "color_intrinsics": intrinsics(52.0, 31.0, 23.0).repeat(num_views, 1, 1),
        "color_camera_to_world": depth_pose @ offset,
        "color_size": (47, 65),
    }


def naive(
    points: Tensor,
    depth: Tensor,
    depth_intrinsics: Tensor,
    depth_camera_to_world: Tensor,
    color_intrinsics: Tensor,
    color_camera_to_world: Tensor,
    color_size: tuple[int, int],
    absolute_tolerance: float,
    relative_tolerance: float,
    border: int,
) -> list[tuple[int, int, float, float, float]]:
    """One pair at a time, in float64: (view, point, u, v, depth error)."""

    def project(matrix: Tensor, pose: Tensor, point: Tensor) -> tuple[float, float, float]:
        x, y, z, _ = (torch.linalg.inv(pose) @ torch.cat((point, torch.ones(1)))).tolist()
        u, v, w = (matrix @ torch.tensor([x, y, z], dtype=torch.float64)).tolist()
        return u / w, v / w, z

    found = []
    height, width = depth.shape[1:]
    for view in range(len(depth)):
        for index, point in enumerate(points.double()):
            u, v, z = project(
                depth_intrinsics[view].double(), depth_camera_to_world[view].double(), point
            )
            column, row = math.floor(u + 0.5), math.floor(v + 0.5)
            if z <= 0 or not (0 <= column < width and 0 <= row < height):
                continue
            measured = float(depth[view, row, column])
            if not (measured > 0 and math.isfinite(measured)):
                continue
            if abs(z - measured) > absolute_tolerance + relative_tolerance * measured:
                continue
            cu, cv, cz = project(
                color_intrinsics[view].double(), color_camera_to_world[view].double(), point
            )
            in_u = border - 0.5 <= cu < color_size[1] - border - 0.5
            in_v = border - 0.5 <= cv < color_size[0] - border - 0.5
            if cz > 0 and in_u and in_v:
                found.append((view, index, cu, cv, z - measured))
    return found


def to_device(arguments: dict[str, object], device: torch.device) -> dict[str, object]:
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in arguments.items()}


def test_hand_worked_table(device: torch.device, path: str) -> None:
    depth = torch.tensor([[[2.0, 0.0, 2.0], [2.0, torch.inf, torch.nan]]], device=device)
    rows = [  # a unit camera: u = x / z, v = y / z
        ((0.0, 0.0, 2.0), True, "on the measurement"),
        ((0.0, 0.0, 2.1), False, "behind it"),
        ((0.0, 0.0, 1.9), False, "before it"),
        ((0.0, 0.0, -2.0), False, "behind the camera"),
        ((0.0, 0.0, 0.0), False, "in the camera's centre"),
        ((2.0, 0.0, 2.0), False, "no measurement"),
        ((4.8, 0.0, 2.0), True, "u = 2.4, nearest pixel 2"),
        ((5.0, 0.0, 2.0), False, "u = 2.5 is outside: half a pixel past the last centre"),
        ((-1.0, -1.0, 2.0), True, "u = v = -0.5 is the corner of the image"),
        ((-1.1, 0.0, 2.0), False, "left of it"),
        ((0.0, 2.99, 2.0), True, "v = 1.495"),
        ((2.0, 2.0, 2.0), False, "infinite measurement"),
        ((4.0, 2.0, 2.0), False, "nan measurement"),
        ((torch.nan, 0.0, 2.0), False, "not a point"),
        ((0.0, 0.0, torch.inf), False, "not a point"),
    ]
    points = torch.tensor([row[0] for row in rows], device=device)
    result = match_points_to_pixels(points, depth, intrinsics(), EYE)
    seen = set(result.point_index.tolist())
    for index, (_, visible, reason) in enumerate(rows):
        assert (index in seen) == visible, reason
    assert result.point_index.tolist() == sorted(seen)
    assert result.view_index.tolist() == [0] * len(seen)
    expected = points[result.point_index]
    assert torch.equal(result.pixel, expected[:, :2] / expected[:, 2:])
    assert torch.equal(result.depth_error, torch.zeros(len(seen), device=device))
    assert result.point_index.dtype == result.view_index.dtype == torch.int64
    assert result.pixel.dtype == result.depth_error.dtype == torch.float32


def test_tolerances_are_added_and_inclusive(path: str) -> None:
    depth = torch.full((1, 1, 1), 4.0)
    points = torch.tensor([[0.0, 0.0, z] for z in (3.25, 3.5, 4.5, 4.75, 9.0)])

    def matched(absolute: float, relative: float) -> list[int]:
        return match_points_to_pixels(
            points,
            depth,
            intrinsics(),
            EYE,
            absolute_tolerance=absolute,
            relative_tolerance=relative,
        ).point_index.tolist()

    assert matched(0.5, 0.0) == [1, 2]
    assert matched(0.25, 0.125) == [0, 1, 2, 3]
    assert matched(0.0, 0.0) == []
    assert matched(math.inf, 0.0) == [0, 1, 2, 3, 4]


def test_visibility_in_the_depth_camera_pixel_in_the_color_camera(path: str) -> None:
    depth = torch.full((1, 3, 3), 2.0)
    color_pose = EYE.clone()
    color_pose[0, 0, 3] = 0.5  # to the right: the same points appear further left
    points = torch.tensor([[2.0, 2.0, 2.0], [4.0, 4.0, 2.0], [6.0, 2.0, 2.0]])
    arguments = (points, depth, intrinsics(), EYE, intrinsics(10.0), color_pose)
    result = match_points_to_pixels(*arguments, (21, 31))
    # The third is outside the depth image although the colour camera sees its place.
    assert result.point_index.tolist() == [0, 1]
    assert result.pixel.tolist() == [[7.5, 10.0], [17.5, 20.0]]
    # Nor is a pixel beyond the colour image returned.
    assert match_points_to_pixels(*arguments, (21, 17)).point_index.tolist() == [0]


def test_border_leaves_out_the_edge_of_the_color_image(path: str) -> None:
    u = torch.tensor([-0.5, 0.49, 0.5, 1.0, 7.49, 7.5, 8.49])
    points = torch.stack((u, torch.full_like(u, 4), torch.ones_like(u)), dim=1)
    depth = torch.ones(1, 9, 9)

    def kept(border: int) -> list[float]:
        result = match_points_to_pixels(points, depth, intrinsics(), EYE, border=border)
        return result.pixel[:, 0].tolist()

    assert kept(0) == u.tolist()
    assert kept(1) == u[2:5].tolist()
    assert kept(5) == []


@pytest.mark.parametrize("num_points", SIZES)
def test_against_the_naive_loop(device: torch.device, path: str, num_points: int) -> None:
    arguments = scene(num_points)
    options = {"absolute_tolerance": 0.03, "relative_tolerance": 0.02, "border": 2}
    expected = naive(*arguments.values(), **options)
    result = match_points_to_pixels(**to_device(arguments, device), **options)
    pairs = list(zip(result.view_index.tolist(), result.point_index.tolist()))
    assert pairs == [(view, point) for view, point, *_ in expected]
    values = torch.cat((result.pixel, result.depth_error[:, None]), dim=1).cpu()
    expected_values = torch.tensor([row[2:] for row in expected]).reshape(-1, 3)
    torch.testing.assert_close(values, expected_values, atol=1e-3, rtol=1e-5)
    if num_points > 100:
        assert 0.1 * num_points < len(pairs) < 2 * num_points  # the scene tests something


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("num_points", [*SIZES, 2048, 5000])
def test_kernel_equals_reference_bit_for_bit(device: torch.device, num_points: int) -> None:
    if not module.has_kernel("match_points_to_pixels", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    arguments = to_device(scene(num_points, num_views=4), device)
    compiled = match_points_to_pixels(**arguments, relative_tolerance=0.013)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        reference = match_points_to_pixels(**arguments, relative_tolerance=0.013)
    for field, a, b in zip(Correspondences._fields, compiled, reference):
        assert torch.equal(a, b), field


def by_reference(**arguments: object) -> Correspondences:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        return match_points_to_pixels(**arguments)


def random_case(seed: int) -> dict[str, object]:
    """Odd sizes, one camera or two, and what goes wrong: points that are not finite or huge or
    repeated, holes and infinities in the depth, clouds out of sight."""
    draw = random.Random(seed)
    num_points, num_views = draw.choice([*SIZES, 1025, 2500, 2500]), draw.choice([0, 1, 2, 3, 7])
    generator = torch.Generator().manual_seed(seed)
    height, width = draw.randrange(1, 41), draw.randrange(1, 53)
    focal = draw.uniform(5, 60)
    points = torch.randn(num_points, 3, generator=generator) * draw.choice([0.3, 1.0, 4.0])
    points += torch.tensor([0.0, 0.0, 1.5])
    kind = draw.choice(["plain", "plain", "sorted", "not finite", "huge", "hidden", "repeated"])
    if kind == "sorted":  # whole blocks of points out of a view's sight
        points = points[points[:, 0].argsort()]
    elif kind == "not finite":
        hit = torch.rand(points.shape, generator=generator) < 0.1
        points[hit] = draw.choice([torch.nan, torch.inf, -torch.inf])
    elif kind == "huge":
        points *= draw.choice([1e10, 1e25, 1e38])
    elif kind == "hidden":
        points[:, draw.randrange(3)] += draw.choice([-1, 1]) * draw.choice([20.0, 1e4])
    elif kind == "repeated" and num_points:
        points = points[torch.randint(num_points // 3 + 1, (num_points,), generator=generator)]
    matrix = intrinsics(focal, width / 2, height / 2).repeat(num_views, 1, 1)
    pose = poses(num_views, generator)
    depth = render_depth(points[::2].nan_to_num(), matrix, pose, (height, width), 1)
    spoil = torch.rand(depth.shape, generator=generator)
    depth = torch.where(spoil < 0.05, draw.choice([0.0, torch.nan, torch.inf, -1.0]), depth)
    arguments: dict[str, object] = {
        "points": points,
        "depth": depth + 0.05 * spoil,
        "depth_intrinsics": matrix,
        "depth_camera_to_world": pose,
        "absolute_tolerance": draw.choice([0.0, 0.05, 0.1, 1.0, math.inf]),
        "relative_tolerance": draw.choice([0.0, 0.013]),
        "border": draw.choice([0, 0, 0, 1, 3, 100]),
    }
    if draw.random() < 0.6:
        factor = draw.choice([0.5, 1.7])
        offset = torch.eye(4, dtype=torch.float64)
        offset[:3, 3] = 0.05 * torch.randn(3, generator=generator, dtype=torch.float64)
        arguments["color_intrinsics"] = matrix * torch.tensor([[factor], [factor], [1.0]])
        arguments["color_camera_to_world"] = pose @ offset
        arguments["color_size"] = (int(factor * height), int(factor * width))
    return arguments


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("group", range(10))
def test_random_cases_equal_the_reference(device: torch.device, group: int) -> None:
    if not module.has_kernel("match_points_to_pixels", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    pairs = 0
    for seed in range(20 * group, 20 * group + 20):
        arguments = to_device(random_case(seed), device)
        result, expected = match_points_to_pixels(**arguments), by_reference(**arguments)
        for field, a, b in zip(Correspondences._fields, result, expected):
            assert torch.equal(a, b), (seed, field)
        assert bool(result.pixel.isfinite().all() & result.depth_error.isfinite().all())
        pairs += len(result.point_index)
    assert pairs > 100


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.skipif("PCPT_EMULATE_CUDA" in os.environ, reason="too large for the emulator")
def test_more_pairs_than_an_int32_counts(device: torch.device) -> None:
    """2^31 + 2^16 candidates, of which only one block of points and a few views meet."""
    if not module.has_kernel("match_points_to_pixels", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    num_views, num_points = 2**16, 2**15 + 1
    points = torch.full((num_points, 3), -5.0)  # behind all cameras
    points[-1] = torch.tensor([0.0, 0.0, 2.0])
    depth = torch.zeros(num_views, 1, 1)
    seen = [0, 40_000, num_views - 1]
    depth[seen] = 2.0
    cameras = torch.eye(3).expand(num_views, 3, 3), torch.eye(4).expand(num_views, 4, 4)
    result = match_points_to_pixels(points.to(device), depth.to(device), *cameras)
    assert result.view_index.tolist() == seen
    assert result.point_index.tolist() == [num_points - 1] * 3


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    arguments = scene(2000, num_views=4)
    check_leaks(lambda: match_points_to_pixels(**arguments))


def test_does_not_depend_on_the_number_of_threads(path: str) -> None:
    arguments = scene(5000, num_views=5)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(match_points_to_pixels(**arguments))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))


@pytest.mark.parametrize("num_points, num_views, size", [(0, 2, 4), (3, 0, 4), (3, 2, 0)])
def test_empty_inputs(path: str, num_points: int, num_views: int, size: int) -> None:
    result = match_points_to_pixels(
        torch.ones(num_points, 3),
        torch.ones(num_views, size, size),
        intrinsics().repeat(num_views, 1, 1),
        EYE.repeat(num_views, 1, 1),
    )
    assert [tuple(part.shape) for part in result] == [(0,), (0,), (0, 2), (0,)]
    assert [part.dtype for part in result] == [torch.int64] * 2 + [torch.float32] * 2


def test_other_dtypes_strides_and_gradients_are_accepted(path: str) -> None:
    arguments = scene(200)
    expected = match_points_to_pixels(**arguments)
    points, depth = arguments["points"], arguments["depth"]
    arguments["points"] = points.double().T.contiguous().T.requires_grad_()
    arguments["depth"] = depth.mT.contiguous().mT
    arguments["depth_intrinsics"] = arguments["depth_intrinsics"].double()
    arguments["color_intrinsics"] = arguments["color_intrinsics"].bfloat16()  # small whole numbers
    arguments["depth_camera_to_world"] = arguments["depth_camera_to_world"].mT.contiguous().mT
    result = match_points_to_pixels(**arguments)
    assert all(torch.equal(a, b) for a, b in zip(result, expected))
    assert not result.pixel.requires_grad


@pytest.mark.parametrize(
    "change, message",
    [
        ({"points": torch.zeros(5, 2)}, r"\(5, 2\).*\(N, 3\)"),
        ({"points": torch.zeros(5, 3, dtype=torch.int64)}, "int64"),
        ({"points": torch.zeros(5, 3).numpy()}, "points are a ndarray"),
        ({"depth": torch.zeros(4, 4)}, r"\(V, H, W\)"),
        ({"depth": [torch.zeros(4, 4), torch.zeros(4, 5)]}, "list.*in calls of their own"),
        ({"depth": torch.zeros(1).expand(1, 2**16, 2**15)}, "resize the images"),
        ({"depth": torch.zeros(1, 4, 4, dtype=torch.int32)}, "metres"),
        ({"depth": torch.zeros(1, 4, 4, device="meta")}, "meta"),
        ({"depth": torch.zeros(2, 4, 4)}, r"depth_intrinsics .*\(2, 3, 3\)"),
        ({"depth_camera_to_world": torch.eye(4).repeat(2, 1, 1)}, "depth_camera_to_world"),
        ({"depth_intrinsics": intrinsics().numpy()}, "depth_intrinsics is a ndarray"),
        ({"depth_camera_to_world": EYE.int()}, "depth_camera_to_world is torch.int32"),
        ({"depth_intrinsics": intrinsics(0.0)}, r"depth_intrinsics\[0\] is not invertible"),
        (
            {
                "depth": torch.zeros(2, 4, 4),
                "depth_intrinsics": torch.cat((intrinsics(), intrinsics(0.0))),
                "depth_camera_to_world": EYE.repeat(2, 1, 1),
            },
            r"depth_intrinsics\[1\] is not invertible; focal",
        ),
        ({"depth_intrinsics": intrinsics(math.nan)}, "inf or nan"),
        ({"depth_intrinsics": intrinsics(1.0, 3.0).mT}, r"must end in the row \[0, 0, 1\]"),
        ({"depth_camera_to_world": torch.full((1, 4, 4), torch.inf)}, "lost tracking"),
        ({"color_intrinsics": intrinsics().repeat(3, 1, 1)}, "color_intrinsics"),
        ({"color_camera_to_world": EYE.repeat(3, 1, 1)}, "color_camera_to_world"),
        ({"color_size": (9, 9)}, "pass the color_intrinsics"),
        ({"color_size": (4, -4), "color_intrinsics": intrinsics()}, "color_size"),
        ({"absolute_tolerance": -0.1}, "absolute_tolerance is -0.1"),
        ({"relative_tolerance": math.nan}, "relative_tolerance is nan"),
        ({"border": -1}, "border is -1"),
        ({"border": 1.5}, "border is 1.5"),
    ],
)
def test_bad_input(path: str, change: dict[str, object], message: str) -> None:
    arguments = {
        "points": torch.zeros(5, 3),
        "depth": torch.zeros(1, 4, 4),
        "depth_intrinsics": intrinsics(),
        "depth_camera_to_world": EYE,
    }
    with pytest.raises(ValueError, match=message):
        match_points_to_pixels(**(arguments | change))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    arguments = scene(50)
    height, width = arguments.pop("color_size")
    operator = torch.ops.pcpt.match_points_to_pixels.default
    torch.library.opcheck(operator, (*arguments.values(), height, width, 0.05, 0.0, 0))
    arguments["points"].requires_grad_()
    one_camera = *list(arguments.values())[:4], None, None
    torch.library.opcheck(operator, (*one_camera, -1, -1, 0.05, 0.0, 0))
