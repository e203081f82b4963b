"""rotated_iou against tables, shapely, a count of grid points and its reference."""

import importlib
import math
from collections.abc import Callable

import pytest
import shapely
import torch
from torch import Tensor

from pcpt.ops import rotated_iou
from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops.rotated_iou")
SIZES = [0, 1, 7, 33]
PI = math.pi
needs_kernel = pytest.mark.skipif(not COMPILED, reason="csrc is not built")


def random_boxes(seed: int, count: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.randn(count, 7, generator=generator, dtype=torch.float64)
    boxes[:, :3] *= spread
    boxes[:, 3:6] = boxes[:, 3:6].abs() + 0.1
    boxes[:, 6] *= 5
    return boxes


def corners(boxes: Tensor) -> Tensor:
    """(N, 4, 2), counter-clockwise."""
    signs = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=boxes.dtype)
    local = signs * boxes[:, None, 3:5]
    cos, sin = boxes[:, 6].cos(), boxes[:, 6].sin()
    turn = torch.stack((cos, sin, -sin, cos), dim=1).reshape(-1, 2, 2)  # transposed
    return local @ turn + boxes[:, None, :2]


def by_shapely(boxes: Tensor, others: Tensor, kind: str) -> Tensor:
    footprints = [shapely.polygons(corners(part.double()).numpy()) for part in (boxes, others)]
    area = shapely.area(shapely.intersection(footprints[0][:, None], footprints[1][None]))
    common = torch.from_numpy(area.reshape(len(boxes), len(others)))
    volumes = [part[:, 3] * part[:, 4] for part in (boxes, others)]
    if kind == "3d":
        low = torch.maximum(
            (boxes[:, 2] - boxes[:, 5] / 2)[:, None], (others[:, 2] - others[:, 5] / 2)[None]
        )
        high = torch.minimum(
            (boxes[:, 2] + boxes[:, 5] / 2)[:, None], (others[:, 2] + others[:, 5] / 2)[None]
        )
        common = common * (high - low).clamp(min=0)
        volumes = [volume * part[:, 5] for volume, part in zip(volumes, (boxes, others))]
    return common / (volumes[0][:, None] + volumes[1][None] - common)


UNIT = [0.0, 0, 0, 1, 1, 1, 0]
OCTAGON = 2 * math.sqrt(2) - 2  # area common to a unit square and itself turned by 45 degrees
TABLE = [  # first, second, 3d, bev
    (UNIT, UNIT, 1, 1),
    (UNIT, [0, 0, 0, 1, 1, 1, PI / 2], 1, 1),
    (UNIT, [0, 0, 0, 1, 1, 1, -7 * PI], 1, 1),
    ([3, -2, 1, 2, 5, 1, 0.3], [3, -2, 1, 5, 2, 1, 0.3 + PI / 2], 1, 1),
    (UNIT, [0.5, 0, 0, 1, 1, 1, 0], 1 / 3, 1 / 3),
    (UNIT, [0.5, 0.5, 0.5, 1, 1, 1, 0], 1 / 15, 1 / 7),
    (UNIT, [0, 0, 0.5, 1, 1, 1, 0], 1 / 3, 1),
    (UNIT, [0, 0, 1, 1, 1, 1, 0], 0, 1),  # one upon the other
    (UNIT, [1, 0, 0, 1, 1, 1, 0], 0, 0),  # side by side
    (UNIT, [1, 1, 0, 1, 1, 1, 0], 0, 0),  # corner to corner
    (UNIT, [5, 0, 0, 1, 1, 1, 1], 0, 0),
    (UNIT, [0, 0, 0, 1, 1, 1, PI / 4], OCTAGON / (2 - OCTAGON), OCTAGON / (2 - OCTAGON)),
    ([0, 0, 0, 4, 4, 4, 0.2], [0.3, -0.4, 0.5, 1, 1, 1, 1], 1 / 64, 1 / 16),  # contained
    (UNIT, [0, 0, 0, 4, 0.5, 1, 0], 0.5 / 2.5, 0.5 / 2.5),  # a cross
    ([0, 0, 0, 4, 2, 1, 0], [2, 1, 0, 2, 2, 1, 0], 1 / 11, 1 / 11),
    # a diamond with its tip in the square: a triangle of height 0.5
    (UNIT, [math.sqrt(0.5), 0, 0, 1, 1, 1, PI / 4], 0.25 / 1.75, 0.25 / 1.75),
    (UNIT, [0, 0, 0, 0, 1, 1, 0], 0, 0),  # no width
    ([0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], 0, 0),
    (UNIT, [0, 0, 0, 1, 1, 0, 0], 0, 1),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["3d", "bev"])
def test_hand_worked_table(device: torch.device, path: str, kind: str, dtype: torch.dtype) -> None:
    first = torch.tensor([row[0] for row in TABLE], dtype=dtype, device=device)
    second = torch.tensor([row[1] for row in TABLE], dtype=dtype, device=device)
    expected = torch.tensor(
        [row[2 if kind == "3d" else 3] for row in TABLE], dtype=dtype, device=device
    )
    for one, two in ((first, second), (second, first)):
        result = rotated_iou(one, two, aligned=True, kind=kind)
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
        assert torch.equal(torch.diagonal(rotated_iou(one, two, kind=kind)), result)
    same = rotated_iou(first[:-4], first[:-4], aligned=True, kind=kind)
    torch.testing.assert_close(same, torch.ones_like(same), atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(200))
def test_kernel_reference_and_shapely_agree(device: torch.device, seed: int) -> None:
    count, other_count = SIZES[seed % 4], SIZES[seed // 4 % 4]
    kind = ("3d", "bev")[seed % 2]
    boxes = random_boxes(seed, count, spread=0.7)
    others = random_boxes(1000 + seed, other_count, spread=0.7)
    if seed % 5 == 0:  # shared edges: sizes and places in steps, quarter turns
        for part in (boxes, others):
            part[:, :6] = (part[:, :6] * 2).ceil() / 2
            part[:, 3:6] = part[:, 3:6].clamp(min=0.5)
            part[:, 6] = part[:, 6].round() * (PI / 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "has_kernel", lambda *_: False)
        expected = rotated_iou(boxes, others, kind=kind)
    torch.testing.assert_close(expected, by_shapely(boxes, others, kind), atol=1e-9, rtol=0)
    result = rotated_iou(boxes.to(device), others.to(device), kind=kind)
    assert result.shape == (count, other_count)
    torch.testing.assert_close(result.cpu(), expected, atol=1e-12, rtol=0)
    swapped = rotated_iou(others.to(device), boxes.to(device), kind=kind)
    torch.testing.assert_close(swapped.T, result, atol=1e-12, rtol=0)
    single = rotated_iou(boxes.float(), others.float(), kind=kind)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, atol=3e-6, rtol=0)


def test_against_a_count_of_grid_points(path: str) -> None:
    boxes, others = random_boxes(1, 12, 0.4), random_boxes(2, 12, 0.4)
    low = torch.minimum(boxes[:, :3], others[:, :3]) - 3
    high = torch.maximum(boxes[:, :3], others[:, :3]) + 3
    steps = (torch.arange(128, dtype=torch.float64) + 0.5) / 128
    grid = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    for i in range(12):
        points = low[i] + grid.reshape(-1, 3) * (high[i] - low[i])
        inside = []
        for box in (boxes[i], others[i]):
            x, y, z = (points - box[:3]).unbind(1)
            turned = box[6].cos() * x + box[6].sin() * y, box[6].cos() * y - box[6].sin() * x
            half = box[3:6] / 2
            inside.append(
                (turned[0].abs() < half[0]) & (turned[1].abs() < half[1]) & (z.abs() < half[2])
            )
        both, either = (inside[0] & inside[1]).sum(), (inside[0] | inside[1]).sum()
        result = rotated_iou(boxes[i : i + 1], others[i : i + 1], aligned=True)
        assert abs(float(result) - float(both / either)) < 0.01


def test_far_away_and_many_turns(path: str) -> None:
    boxes, others = random_boxes(5, 33, 0.5), random_boxes(6, 33, 0.5)
    # A power of two, and places on a grid that it keeps: sums are exact.
    for part in (boxes, others):
        part[:, :3] = (part[:, :3] * 1024).round() / 1024
    expected = rotated_iou(boxes, others)
    shift = torch.tensor([2.0**30, -(2.0**31), 2.0**29, 0, 0, 0, 0], dtype=torch.float64)
    assert torch.equal(rotated_iou(boxes + shift, others + shift), expected)
    turned = others.clone()
    turned[:, 6] += 2 * PI * torch.arange(-16, 17, dtype=torch.float64)
    torch.testing.assert_close(rotated_iou(boxes, turned), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["3d", "bev"])
@pytest.mark.parametrize("aligned", [True, False])
def test_gradcheck(path: str, aligned: bool, kind: str) -> None:
    boxes, others = (random_boxes(seed, 9, 0.3).requires_grad_() for seed in (3, 4))
    assert (rotated_iou(boxes, others, aligned=True, kind=kind) > 0).sum() > 5

    def function(first: Tensor, second: Tensor) -> Tensor:
        return rotated_iou(first, second, aligned=aligned, kind=kind)

    assert torch.autograd.gradcheck(function, (boxes, others))


@needs_kernel
@pytest.mark.parametrize("count", [*SIZES, 257])
def test_gradients_of_kernel_and_reference_agree(device: torch.device, count: int) -> None:
    for aligned in (True, False):
        both = [random_boxes(seed, count, 0.3).to(device) for seed in (7, 8)]
        gradients = []
        for reference in (True, False):
            leaves = [part.float().requires_grad_() for part in both]
            with pytest.MonkeyPatch.context() as patch:
                if reference:
                    patch.setattr(module, "has_kernel", lambda *_: False)
                iou = rotated_iou(*leaves, aligned=aligned)
            (iou * torch.linspace(-1, 1, iou.numel(), device=device).view_as(iou)).sum().backward()
            assert all(leaf.grad.dtype == torch.float32 for leaf in leaves)
            gradients.append([leaf.grad for leaf in leaves])
        torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-5)


def test_derivative_where_edges_coincide(path: str) -> None:
    """It is that of the box becoming smaller, and finite."""
    boxes = torch.tensor([[1.0, 2, 3, 2, 4, 1, 0.5]], dtype=torch.float64, requires_grad=True)
    rotated_iou(boxes, boxes.detach(), aligned=True).sum().backward()
    assert boxes.grad is not None and boxes.grad.isfinite().all()
    if path == "kernel":
        expected = [0, 0, 0, 1 / 2, 1 / 4, 1, 0]  # volume over volume
        torch.testing.assert_close(boxes.grad[0].tolist(), [float(x) for x in expected])
    for apart in ([0.0, 0, 0, 1, 1, 1, 0], [3.0, 0, 0, 1, 1, 1, 0], [0.0, 0, 0, 0, 0, 0, 0]):
        leaf = torch.tensor([apart], dtype=torch.float64, requires_grad=True)
        rotated_iou(leaf, torch.tensor([UNIT], dtype=torch.float64)).sum().backward()
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_a_loss_finds_the_box(path: str) -> None:
    target = torch.tensor([[0.5, -0.3, 0.2, 2.0, 1.0, 1.5, 0.7]])
    box = torch.tensor([[0.0, 0, 0, 1.5, 1.5, 1, 0.2]], requires_grad=True)
    optimizer = torch.optim.Adam([box], lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (1 - rotated_iou(box, target, aligned=True)).sum().backward()
        optimizer.step()
    assert rotated_iou(box, target, aligned=True).item() > 0.9


def test_threads_and_strides_do_not_matter(path: str) -> None:
    boxes, others = random_boxes(5, 200), random_boxes(6, 33)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            leaf = boxes.clone().requires_grad_()
            iou = rotated_iou(leaf, others)
            iou.square().sum().backward()
            results.append((iou.detach(), leaf.grad))
    finally:
        torch.set_num_threads(threads)
    for iou, gradient in results[1:]:
        assert torch.equal(iou, results[0][0]) and torch.equal(gradient, results[0][1])
    strided = rotated_iou(boxes.T.contiguous().T, others.repeat(2, 1)[::2])
    assert torch.equal(strided, rotated_iou(boxes, torch.cat((others[::2], others[1::2]))))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"boxes": torch.zeros(4)}, r"boxes .*\(N, 7\)"),
        ({"boxes": torch.zeros(4, 6)}, r"boxes .*\(N, 7\)"),
        ({"other_boxes": torch.zeros(4, 7, dtype=torch.int64)}, "other_boxes are torch.int64"),
        ({"other_boxes": torch.zeros(4, 7, dtype=torch.float64)}, "make them alike"),
        ({"other_boxes": torch.zeros(4, 7, device="meta")}, "make them alike"),
        ({"boxes": torch.tensor([UNIT, [0, 0, 0, 1, -1, 1, 0]])}, r"boxes\[1\] .*not negative"),
        ({"other_boxes": torch.tensor([[0, 0, torch.nan, 1, 1, 1, 0]])}, r"other_boxes\[0\] is"),
        ({"boxes": torch.tensor([[0, 0, 0, 1, 1, 1, torch.inf]])}, r"boxes\[0\] is"),
        ({"aligned": True, "boxes": torch.zeros(4, 7)}, "4 boxes against 2"),
        ({"kind": "2d"}, "kind is '2d'"),
        ({"boxes": torch.zeros(1, 7).expand(2**30, 7)}, r"2\^31 pairs"),
    ],
)
def test_bad_input(change: dict, message: str) -> None:
    arguments = {"boxes": torch.zeros(3, 7), "other_boxes": torch.zeros(2, 7)}
    with pytest.raises(ValueError, match=message):
        rotated_iou(**(arguments | change))


@needs_kernel
@pytest.mark.parametrize("aligned", [True, False])
def test_opcheck(aligned: bool) -> None:
    boxes, others = random_boxes(3, 5).requires_grad_(), random_boxes(4, 5).requires_grad_()
    torch.library.opcheck(torch.ops.pcpt.rotated_iou.default, (boxes, others, aligned, False))
    grad = torch.rand((5,) if aligned else (5, 5), dtype=torch.float64)
    arguments = (grad, boxes.detach(), others.detach(), aligned, False)
    torch.library.opcheck(torch.ops.pcpt.rotated_iou_backward.default, arguments)


@needs_kernel
def test_memory_does_not_grow(check_leaks: Callable[[Callable[[], object]], None]) -> None:
    boxes, others = random_boxes(3, 300).requires_grad_(), random_boxes(4, 300)

    def step() -> None:  # 100 results take 72 MB
        rotated_iou(boxes, others).sum().backward()

    check_leaks(step)
