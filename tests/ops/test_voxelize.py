"""voxelize against a table, torch.unique and its reference."""

import importlib
import math
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pcpt.ops import voxelize
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.voxelize")
SIZES = [0, 1, 7, 33, 1023]


def cloud(num_points: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_points)
    points = torch.randn(num_points, 3, generator=generator)
    return points, torch.randint(3, (num_points,), generator=generator)


def test_hand_worked_table(device: torch.device, path: str) -> None:
    points = torch.tensor(
        [
            [0.9, 0.0, 0.0],
            [-0.1, 0.0, 0.0],  # floor, not truncation
            [0.5, 0.5, 0.0],  # on a face: belongs to the voxel above
            [0.6, 0.2, 0.4],  # with the first
            [-0.5, 0.49, -1.0],
            [0.6, 0.2, 0.4],  # another cloud
        ],
        device=device,
    )
    batch_index = torch.tensor([0, 0, 0, 0, 0, 1], device=device)
    coordinates, point_to_voxel = voxelize(points, 0.5, batch_index)
    assert coordinates.tolist() == [
        [0, -1, 0, -2],
        [0, -1, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 1, 0],
        [1, 1, 0, 0],
    ]
    assert point_to_voxel.tolist() == [2, 1, 3, 2, 0, 4]
    assert coordinates.dtype == torch.int32 and point_to_voxel.dtype == torch.int64
    assert coordinates.is_contiguous()
    assert voxelize(points, 0.5)[0][:, 0].tolist() == [0] * 4


@pytest.mark.parametrize("voxel_size", [0.02, 0.3, 7.0])
@pytest.mark.parametrize("num_points", SIZES)
def test_against_unique_rows(
    device: torch.device, path: str, num_points: int, voxel_size: float
) -> None:
    points, batch_index = (part.to(device) for part in cloud(num_points))
    cells = (points / torch.full_like(points, voxel_size)).floor().int()
    rows = torch.cat((batch_index.int()[:, None], cells), dim=1)
    expected, inverse = rows.unique(dim=0, return_inverse=True)
    coordinates, point_to_voxel = voxelize(points, voxel_size, batch_index)
    assert torch.equal(coordinates, expected)
    assert torch.equal(point_to_voxel, inverse.reshape(-1))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("num_points", [*SIZES, 100_000])
def test_kernel_equals_reference(device: torch.device, num_points: int) -> None:
    if not module.has_kernel("voxelize", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    points, batch_index = (part.to(device) for part in cloud(num_points))
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        expected = voxelize(points, 0.05, batch_index)
    try:
        for count in (1, 4):
            torch.set_num_threads(count)
            result = voxelize(points, 0.05, batch_index)
            assert all(torch.equal(a, b) for a, b in zip(result, expected))
    finally:
        torch.set_num_threads(threads)


def random_case(seed: int) -> tuple[Tensor, float, Tensor | None]:
    """Rooms and vast sparse clouds, so that both ways of the CPU kernel number voxels."""
    draw = random.Random(seed)
    num_points = draw.choice([*SIZES, 300, 2500])
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(num_points, 3, generator=generator)
    points *= torch.tensor([draw.choice([0.0, 0.1, 1.0, 50.0]) for _ in range(3)])
    points += draw.choice([0.0, -3.0, 100.0])
    if draw.random() < 0.3 and num_points:  # many points a voxel, in runs
        points = points[torch.randint(num_points // 5 + 1, (num_points,), generator=generator)]
        points = points.repeat_interleave(3, dim=0)
    clouds = draw.choice([0, 1, 3, 2**15])
    batch_index = torch.randint(max(clouds, 1), (len(points),), generator=generator)
    if clouds == 2**15 and len(points):
        batch_index[-1] = clouds - 1
    return points, draw.choice([0.01, 0.05, 0.37, 3.0]), batch_index if clouds else None


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("group", range(10))
def test_random_cases_equal_the_reference(device: torch.device, group: int) -> None:
    if not module.has_kernel("voxelize", torch.empty(0, device=device)):
        pytest.skip(f"no kernel for {device}")
    for seed in range(20 * group, 20 * group + 20):
        points, voxel_size, batch_index = random_case(seed)
        batch = None if batch_index is None else batch_index.to(device)
        result = voxelize(points.to(device), voxel_size, batch)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "has_kernel", lambda *_: False)
            expected = voxelize(points.to(device), voxel_size, batch)
        assert all(torch.equal(a, b) for a, b in zip(result, expected)), seed


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("spread", [1.0, 500.0])  # by bits, by sorting
def test_does_not_depend_on_the_number_of_threads(spread: float) -> None:
    points, batch_index = cloud(70_000)
    points *= spread
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(voxelize(points, 0.1, batch_index))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    points, batch_index = cloud(2000)
    check_leaks(lambda: (voxelize(points, 0.1, batch_index), voxelize(100 * points, 0.1)))


def test_any_strides(device: torch.device, path: str) -> None:
    points, batch_index = (part.to(device) for part in cloud(77))
    expected = voxelize(points, 0.3, batch_index)
    spread = batch_index.repeat_interleave(2)[::2]
    result = voxelize(points.T.contiguous().T, 0.3, spread.int())
    assert all(torch.equal(a, b) for a, b in zip(result, expected))


def test_faces_fall_where_division_puts_them(path: str) -> None:
    """Multiplying by 1 / voxel_size would move some of these points one voxel down."""
    steps = torch.arange(-3000, 3000, dtype=torch.float32)
    points = (steps * 0.025)[:, None].repeat(1, 3)
    coordinates, point_to_voxel = voxelize(points, 0.025)
    expected = (points / torch.full_like(points, 0.025)).floor().int()
    assert torch.equal(coordinates[point_to_voxel, 1:], expected)


def test_the_whole_range_is_usable(path: str) -> None:
    limit = 2**15
    points = torch.tensor([[-limit, -limit, -limit], [limit - 1, limit - 1, limit - 1]]).float()
    coordinates, _ = voxelize(points, 1.0, torch.tensor([limit - 1, 0]))
    assert coordinates.tolist() == [[0] + [limit - 1] * 3, [limit - 1] + [-limit] * 3]


def test_every_point_lies_in_its_voxel(path: str) -> None:
    points, batch_index = cloud(1023)
    coordinates, point_to_voxel = voxelize(points.double(), 0.25, batch_index.int())
    corner = coordinates[point_to_voxel, 1:] * 0.25
    assert bool(((points >= corner) & (points < corner + 0.25)).all())
    assert torch.equal(coordinates[point_to_voxel, 0].long(), batch_index)
    assert point_to_voxel.unique().tolist() == list(range(len(coordinates)))


def test_empty_cloud(device: torch.device, path: str) -> None:
    coordinates, point_to_voxel = voxelize(torch.zeros(0, 3, device=device), 0.1)
    assert coordinates.shape == (0, 4) and coordinates.dtype == torch.int32
    assert point_to_voxel.shape == (0,) and point_to_voxel.dtype == torch.int64


@pytest.mark.parametrize(
    "change, message",
    [
        ({"voxel_size": 0.0}, "voxel_size is 0.0"),
        ({"voxel_size": -0.1}, "voxel_size is -0.1"),
        ({"voxel_size": math.nan}, "voxel_size is nan"),
        ({"voxel_size": math.inf}, "voxel_size is inf"),
        ({"voxel_size": 1e-50}, "voxel_size is 1e-50"),  # 0 in float32
        ({"points": torch.zeros(2, 4)}, r"\(N, 3\)"),
        ({"points": torch.zeros(1).expand(2**31, 3)}, "fewer than 2.31; voxelize parts"),
        ({"points": torch.full((2, 3), torch.nan)}, "nan in 2 of 2 rows"),
        ({"points": torch.zeros(2, 3, dtype=torch.int32)}, "int32"),
        ({"points": torch.tensor([[0.0, 0, 0], [0, torch.nan, 0]])}, "nan in 1 of 2 rows"),
        ({"points": torch.tensor([[0.0, 0, 0], [0, -torch.inf, 0]])}, "drop those rows"),
        ({"points": torch.tensor([[0.0, 0, 0], [0, 3276.8, 0]])}, "voxels of 0.101 m or more"),
        ({"points": torch.tensor([[0.0, 0, 0], [0, -3276.9, 0]])}, "centre the cloud"),
        ({"batch_index": torch.tensor([0])}, r"\(2,\)"),
        ({"batch_index": torch.tensor([0.0, 1.0])}, "float32"),
        ({"batch_index": torch.tensor([0, -1])}, "from -1 to 0"),
        ({"batch_index": torch.tensor([0, 2**15])}, "to 32768"),
        ({"batch_index": torch.zeros(2, dtype=torch.int64, device="meta")}, "meta"),
    ],
)
def test_bad_input(path: str, change: dict[str, object], message: str) -> None:
    arguments = {"points": torch.zeros(2, 3), "voxel_size": 0.1}
    with pytest.raises(ValueError, match=message):
        voxelize(**(arguments | change))


def test_the_remedy_of_the_range_error_works() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [700.0, 0.0, -1000.0]])
    with pytest.raises(ValueError, match=r"voxels of (\S+) m") as error:
        voxelize(points, 0.01)
    advised = float(str(error.value).split("use voxels of ")[1].split()[0])
    assert len(voxelize(points, advised)[0]) == 2


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    points, batch_index = cloud(33)
    torch.library.opcheck(torch.ops.pcpt.voxelize.default, (points, 0.3, batch_index))
