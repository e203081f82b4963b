"""hidden_point_removal against tables, Qhull (SciPy) and its reference."""

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from pcpt.ops import hidden_point_removal
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.hidden_point_removal")
SIZES = [0, 1, 2, 3, 4, 5, 7, 33, 257, 1023]
needs_kernel = pytest.mark.skipif(not COMPILED, reason="csrc is not built")


def case(seed: int, num_points: int, num_clouds: int = 2, num_views: int = 3) -> tuple:
    """Surfaces and volumes seen from outside, from near, and from within."""
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((num_clouds, num_points, 3))
    if seed % 3 == 0:
        points /= np.linalg.norm(points, axis=2, keepdims=True)
        points *= [1, 0.6, 0.3]
    elif seed % 3 == 1:
        points[:, : num_points // 2, 0] = 0.7  # half of it a wall
    viewpoints = generator.standard_normal((num_clouds, num_views, 3))
    viewpoints *= generator.choice([0.1, 1, 3, 10])
    factor = float(generator.choice([1, 2, 10, 100, 1000, 1e5]))
    points, viewpoints = (
        torch.from_numpy(part.astype(np.float32)) for part in (points, viewpoints)
    )
    return points, viewpoints, factor


def qhull(points: Tensor, viewpoint: Tensor, factor: float) -> Tensor:
    """Open3D's way: the corners of the hull of the flipped points and the viewpoint."""
    relative = points.double().numpy() - viewpoint.double().numpy()
    distance = np.linalg.norm(relative, axis=1, keepdims=True)
    flipped = relative + 2 * (factor * distance.max() - distance) * relative / distance
    corners = ConvexHull(np.vstack((flipped, np.zeros(3)))).vertices
    visible = torch.zeros(len(points), dtype=torch.bool)
    visible[corners[corners < len(points)]] = True
    return visible


def reference(points: Tensor, viewpoints: Tensor, factor: float, lengths: Tensor | None) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        return hidden_point_removal(points, viewpoints, factor, lengths=lengths)


def test_hand_worked_table(device: torch.device, path: str) -> None:
    # A wall of three points and one behind its middle. Seen from the origin with R = 2 * max(d)
    # the flipped wall is nearly a flat triangle at depth 2R - 1, and the fourth is 1 m nearer.
    wall = [[0.1, 0.0, 1.0], [-0.1, 0.1, 1.0], [-0.1, -0.1, 1.0], [-0.03, 0.0, 2.0]]
    points = torch.tensor([wall], device=device)
    viewpoints = torch.tensor([[[0.0, 0, 0], [0.0, 0, 9], [5.0, 0, 1.5]]], device=device)
    result = hidden_point_removal(points, viewpoints, 2.0)
    assert result.dtype == torch.bool and result.device.type == device.type
    assert result.tolist() == [[[True] * 3 + [False], [True] * 4, [True] * 4]]
    # With a large enough radius one looks through between the three.
    assert hidden_point_removal(points, viewpoints[:, :1], 1e4).all()


def test_flat_polygon_by_hand(path: str) -> None:
    """Along one circle around the viewpoint, at distances 1 and 1.5 in turn, with R = 1.5 f."""
    angle = torch.arange(16) * torch.pi / 8
    radius = torch.where(torch.arange(16) % 2 == 0, 1.0, 1.5)
    ring = torch.stack((radius * angle.cos(), radius * angle.sin(), torch.zeros(16)), dim=1)
    near = torch.arange(16) % 2 == 0
    # A far point is flipped to 2R - 1.5, the chord of its neighbours passes at
    # (2R - 1) cos(22.5 degrees): it is hidden while 2R (1 - 0.9239) < 1.5 - 0.9239, R < 3.785.
    for factor, all_visible in ((3.78 / 1.5, False), (3.79 / 1.5, True)):
        result = hidden_point_removal(ring[None].double(), torch.zeros(1, 1, 3), factor)[0, 0]
        assert torch.equal(result, near | all_visible)


@pytest.mark.parametrize("seed", range(200))
def test_kernel_reference_and_qhull_agree(device: torch.device, seed: int) -> None:
    num_points = SIZES[seed % len(SIZES)]
    points, viewpoints, factor = case(seed, num_points)
    lengths = torch.tensor([num_points, (num_points * 2 + 2) // 3]) if seed % 2 else None
    expected = reference(points, viewpoints, factor, lengths)
    sizes = [num_points] * 2 if lengths is None else lengths.tolist()
    for cloud, size in enumerate(sizes):
        assert not expected[cloud, :, size:].any()
        for view in range(3 if size >= 4 else 0):
            flat = size // 2 > 4 and seed % 3 == 1 and float(viewpoints[cloud, view, 0]) == 0.7
            assert not flat  # no viewpoint in the wall's plane: Qhull would not have it
            found = qhull(points[cloud, :size], viewpoints[cloud, view], factor)
            assert torch.equal(found, expected[cloud, view, :size])
    if COMPILED:
        to = lambda part: None if part is None else part.to(device)  # noqa: E731
        result = hidden_point_removal(to(points), to(viewpoints), factor, lengths=to(lengths))
        assert torch.equal(result.cpu(), expected)


@pytest.mark.parametrize("num_points", [0, 1, 2, 3, 4])
def test_few_points(path: str, num_points: int) -> None:
    points = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.6]])[None, :num_points]
    result = hidden_point_removal(points, torch.zeros(1, 2, 3))
    assert result.shape == (1, 2, num_points) and result.all()
    assert hidden_point_removal(points[:0], torch.zeros(0, 2, 3)).shape == (0, 2, num_points)
    assert hidden_point_removal(points, torch.zeros(1, 0, 3)).shape == (1, 0, num_points)


def test_line_and_plane(path: str) -> None:
    steps = torch.linspace(0.5, 2, 40, dtype=torch.float64)
    line = torch.stack((steps, 0.3 * steps, -0.2 * steps), dim=1)
    aside, within = torch.tensor([[3.0, 1, 1], [0, 0, 0]])  # the latter on its own ray
    first = torch.arange(40) == 0
    result = hidden_point_removal(line[None], torch.stack((aside, within))[None])
    assert result[0, 0].all() and torch.equal(result[0, 1], first)
    # From the middle of a line one sees its two next points.
    middle = (line[19] + line[20]) / 2
    result = hidden_point_removal(line[None], middle[None, None])
    assert result[0, 0].nonzero().squeeze(1).tolist() == [19, 20]

    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).reshape(-1, 2)
    plane = torch.cat((grid, 0.5 * grid[:, :1] - 0.25 * grid[:, 1:]), dim=1)
    outside = torch.tensor([[1.0, 1, 9]])
    assert hidden_point_removal(plane[None], outside[None]).all()
    # In the plane itself: what is visible among the same points in two dimensions, which is a
    # line's edge towards the viewpoint, never the back.
    result = hidden_point_removal(plane[None], torch.zeros(1, 1, 3), 1.0)[0, 0]
    front = (grid == 0.5).any(1)
    assert result[front].any() and not result[~front].any()
    relative = plane - torch.tensor([0.0, 0, 0])
    distance = relative.norm(dim=1, keepdim=True).double()
    flipped = relative.double() * (2 * distance.max() / distance - 1)
    hull = ConvexHull(np.vstack((flipped[:, :2].numpy(), np.zeros(2)))).vertices
    assert set(result.nonzero().squeeze(1).tolist()) <= set(hull.tolist())


def test_duplicates_are_visible_together(path: str) -> None:
    points, viewpoints, factor = case(3, 100)
    expected = hidden_point_removal(points, viewpoints, factor)
    twice = torch.cat((points, points.flip(1), points), dim=1)
    result = hidden_point_removal(twice, viewpoints, factor)
    assert torch.equal(result[:, :, :100], expected)
    assert torch.equal(result[:, :, 100:200], expected.flip(2))
    assert torch.equal(result[:, :, 200:], expected)
    assert hidden_point_removal(torch.ones(1, 300, 3), torch.zeros(1, 1, 3)).all()


def test_a_point_at_the_viewpoint_is_seen_and_hides_nothing(path: str) -> None:
    points, viewpoints, factor = case(3, 100)
    expected = hidden_point_removal(points, viewpoints[:, :1], factor)
    more = torch.cat((viewpoints[:, :1], points, viewpoints[:, :1]), dim=1)
    result = hidden_point_removal(more, viewpoints[:, :1], factor)
    assert torch.equal(result[:, :, 1:-1], expected)
    assert result[:, :, 0].all() and result[:, :, -1].all()
    assert hidden_point_removal(torch.zeros(1, 5, 3), torch.zeros(1, 1, 3)).all()


def test_points_that_are_not_finite_do_not_exist(path: str) -> None:
    points, viewpoints, factor = case(3, 100)
    expected = hidden_point_removal(points, viewpoints, factor)
    broken = torch.cat((points, points), dim=1)
    for row, value in enumerate((torch.nan, torch.inf, -torch.inf, torch.nan)):
        broken[:, 100 + 25 * row : 125 + 25 * row, row % 3] = value
    result = hidden_point_removal(broken, viewpoints, factor)
    assert torch.equal(result[:, :, :100], expected) and not result[:, :, 100:].any()
    viewpoints[0, 1, 2] = torch.nan
    result = hidden_point_removal(points, viewpoints, factor)
    assert not result[0, 1].any() and torch.equal(result[1], expected[1])
    assert not hidden_point_removal(torch.full((1, 9, 3), torch.nan), viewpoints[:1, :1]).any()


def test_exactly_behind_each_other(path: str) -> None:
    """A cube of grid points: rays through several points in many directions."""
    steps = torch.arange(-3.0, 4)
    cube = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1).reshape(-1, 3)
    for shift in ([0.0, 0, 0], [0.1, 0.2, 0.3]):  # thirds of which round
        viewpoint = torch.tensor(shift)
        result = hidden_point_removal(cube[None] / 3 + viewpoint, viewpoint[None, None], 1e4)[0, 0]
        divisor = cube.int().gcd(cube.int().roll(1, 1)).gcd(cube.int().roll(2, 1))[:, 0]
        if shift[0] == 0:  # at 0.1 + 1/3 and so on float32 no longer aligns the points
            assert not result[divisor > 1].any()
        assert result[divisor <= 1].all()


def test_scale_and_position_do_not_matter(path: str) -> None:
    points, viewpoints, factor = (part for part in case(6, 257))
    points, viewpoints = points.double(), viewpoints.double()
    expected = hidden_point_removal(points, viewpoints, factor)
    for scale, shift in ((2.0**60, 0.0), (2.0**-60, 0.0), (1.0, 1024.0)):
        result = hidden_point_removal(points * scale + shift, viewpoints * scale + shift, factor)
        assert torch.equal(result, expected)


def test_order_threads_and_strides_do_not_matter(path: str) -> None:
    points, viewpoints, factor = case(9, 1023, num_clouds=3)
    expected = hidden_point_removal(points, viewpoints, factor)
    order = torch.randperm(1023, generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            result = hidden_point_removal(points[:, order], viewpoints, factor)
            assert torch.equal(result, expected[:, :, order])
    finally:
        torch.set_num_threads(threads)
    strided = points.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous()
    lengths = torch.full((3,), 1023, dtype=torch.int32)
    result = hidden_point_removal(strided, viewpoints.double(), factor, lengths=lengths)
    assert torch.equal(result, expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"points": torch.zeros(5, 3)}, r"\(B, N, 3\)"),
        ({"points": torch.zeros(2, 5, 2)}, r"\(B, N, 3\)"),
        ({"points": torch.zeros(2, 5, 3, dtype=torch.int32)}, "int32"),
        ({"viewpoints": torch.zeros(1, 4, 3)}, r"\(2, V, 3\)"),
        ({"viewpoints": torch.zeros(2, 3)}, r"\(2, V, 3\)"),
        ({"viewpoints": torch.zeros(2, 4, 3, device="meta")}, "meta"),
        ({"radius_factor": 0.5}, "radius_factor is 0.5"),
        ({"radius_factor": torch.nan}, "radius_factor is nan"),
        ({"radius_factor": torch.inf}, "radius_factor is inf"),
        ({"lengths": torch.tensor([5])}, r"\(2,\)"),
        ({"lengths": torch.tensor([5.0, 5.0])}, "float32"),
        ({"lengths": torch.tensor([5, 6])}, "from 5 to 6"),
        ({"lengths": torch.tensor([-1, 5])}, "from -1"),
        ({"lengths": torch.tensor([5, 5], device="meta")}, "meta"),
        ({"points": torch.zeros(2, 1, 3).expand(2, 2**29, 3)}, r"2\^31 results"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments = {"points": torch.zeros(2, 5, 3), "viewpoints": torch.zeros(2, 4, 3)}
    with pytest.raises(ValueError, match=message):
        hidden_point_removal(**(arguments | change))


@needs_kernel
def test_opcheck() -> None:
    points, viewpoints, factor = case(1, 33)
    arguments = (points.double(), viewpoints.double(), torch.tensor([33, 20]), factor)
    torch.library.opcheck(torch.ops.pcpt.hidden_point_removal.default, arguments)


@needs_kernel
@pytest.mark.parametrize("wrong", [[7, 3], [5, -1], [2**32 + 2, 3], [3, 10**8]])
def test_wrong_lengths_read_nothing_foreign(
    wrong: list[int], device: torch.device, clamps: bool
) -> None:
    points, viewpoints, factor = case(1, 5)
    points, viewpoints = points.double().to(device), viewpoints.double().to(device)
    lengths = torch.tensor(wrong, device=device)
    operator = torch.ops.pcpt.hidden_point_removal
    if not clamps:
        with pytest.raises(RuntimeError, match=r"lengths\[[01]\] is .*, expected 0\.\.5"):
            operator(points, viewpoints, lengths, factor)
        return
    expected = operator(points, viewpoints, lengths.clamp(0, 5), factor)
    assert torch.equal(operator(points, viewpoints, lengths, factor), expected)


@needs_kernel
@pytest.mark.parametrize("factor", [0.0, 0.5, torch.nan, torch.inf])
def test_direct_calls_with_a_wrong_radius_are_refused(factor: float, device: torch.device) -> None:
    points = torch.rand(1, 5, 3, dtype=torch.float64, device=device)
    lengths = torch.tensor([5], device=device)
    with pytest.raises(RuntimeError, match="radius_factor"):
        torch.ops.pcpt.hidden_point_removal(points, points[:, :1].contiguous(), lengths, factor)


@needs_kernel
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    points, viewpoints, factor = case(1, 1023, num_clouds=4)  # 100 results and scratch take 30 MB
    check_leaks(lambda: hidden_point_removal(points, viewpoints[:, :1], factor))
