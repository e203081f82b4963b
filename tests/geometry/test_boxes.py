"""Overlap against shapely, suppression against a loop, what boxes hold."""

import math
import time

import pytest
import shapely
import shapely.affinity
import torch
from torch import Tensor

from pcpt.geometry import boxes as module
from pcpt.geometry.boxes import box_iou, enclosing_boxes, points_in_boxes, suppress_boxes

SIZES = [0, 1, 7, 33]


def random_boxes(seed: int, count: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(count, 7, generator=generator, dtype=torch.float64)
    rows[:, :3] *= spread
    rows[:, 3:6] = rows[:, 3:6] * 0.8 + 0.05
    rows[:, 6] = (rows[:, 6] - 0.5) * 7
    return rows


def footprint(box: list[float]) -> shapely.Geometry:
    x, y, _, dx, dy, _, yaw = box
    flat = shapely.box(x - dx / 2, y - dy / 2, x + dx / 2, y + dy / 2)
    return shapely.affinity.rotate(flat, yaw, use_radians=True)


def iou_by_shapely(first: list[float], second: list[float]) -> float:
    area = footprint(first).intersection(footprint(second)).area
    top = min(first[2] + first[5] / 2, second[2] + second[5] / 2)
    bottom = max(first[2] - first[5] / 2, second[2] - second[5] / 2)
    common = area * max(0.0, top - bottom)
    return common / (math.prod(first[3:6]) + math.prod(second[3:6]) - common)


@pytest.mark.parametrize("seed", range(40))
def test_overlap_is_shapelys(seed: int) -> None:
    boxes = random_boxes(seed, SIZES[seed % 4])
    others = random_boxes(100 + seed, SIZES[seed // 4 % 4])
    for oriented in (True, False):
        if not oriented:
            flat = [part.clone() for part in (boxes, others)]
            for part in flat:
                part[:, 6] = 0
        else:
            flat = [boxes, others]
        expected = torch.tensor(
            [[iou_by_shapely(a, b) for b in flat[1].tolist()] for a in flat[0].tolist()],
            dtype=torch.float64,
        ).reshape(len(boxes), len(others))
        result = box_iou(boxes, others, oriented=oriented)
        torch.testing.assert_close(result, expected, atol=1e-9, rtol=0)
    count = min(len(boxes), len(others))
    aligned = box_iou(boxes[:count], others[:count], oriented=False, aligned=True)
    torch.testing.assert_close(aligned, result[:count, :count].diagonal(), atol=0, rtol=0)


def test_overlap_has_a_gradient_and_none_without_volume() -> None:
    boxes, others = random_boxes(1, 9, 0.3), random_boxes(2, 9, 0.3)
    for oriented in (True, False):
        assert torch.autograd.gradcheck(
            lambda one, two, turned=oriented: box_iou(one, two, oriented=turned),
            (boxes.requires_grad_(), others.requires_grad_()),
        )
    flat = torch.tensor([[0.0, 0, 0, 1, 1, 0, 0]], requires_grad=True)
    iou = box_iou(flat, flat, oriented=False)
    assert iou.tolist() == [[0.0]]
    iou.sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(10))
def test_enclosing_boxes_touch_the_corners(seed: int) -> None:
    boxes = random_boxes(seed, 17)
    around = enclosing_boxes(boxes)
    for box, outer in zip(boxes.tolist(), around.tolist()):
        low_x, low_y, high_x, high_y = footprint(box).bounds
        middle = [(low_x + high_x) / 2, (low_y + high_y) / 2, box[2]]
        expected = [*middle, high_x - low_x, high_y - low_y, box[5], 0.0]
        assert outer == pytest.approx(expected, abs=1e-6)


def test_quarter_turns_swap_the_sides_exactly() -> None:
    turns = torch.arange(-4, 5)
    rows = torch.tensor([1.0, 2, 3, 0.7, 1.3, 0.4, 0]).repeat(9, 1)
    rows[:, 6] = turns * (math.pi / 2)
    around = enclosing_boxes(rows)
    for turn, row in zip(turns.tolist(), around):
        expected = torch.tensor([0.7, 1.3] if turn % 2 == 0 else [1.3, 0.7])
        torch.testing.assert_close(row[3:5], expected, atol=1e-6, rtol=0)


def suppressed_by_loop(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, oriented: bool
) -> list[int]:
    rows = boxes.double().clone()
    if not oriented:
        rows[:, 6] = 0
    kept: list[int] = []
    for i in sorted(range(len(rows)), key=lambda place: (-float(scores[place]), place)):
        rivals = [j for j in kept if labels[j] == labels[i]]
        if all(iou_by_shapely(rows[i].tolist(), rows[j].tolist()) <= threshold for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(60))
def test_suppression_is_the_greedy_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = SIZES[seed % 4]
    boxes = random_boxes(seed, count, spread=0.6)
    scores = torch.rand(count, generator=generator)
    if seed % 3 == 0:
        scores = (scores * 4).round() / 4  # ties
    labels = torch.randint(3, (count,), generator=generator)
    threshold = (0.0, 0.1, 0.25, 0.5)[seed // 4 % 4]
    if seed % 2:
        monkeypatch.setattr(module, "PAIRS_AT_ONCE", 50)  # several parts
    for oriented in (True, False):
        kept = suppress_boxes(boxes, scores, labels, threshold, oriented=oriented)
        assert kept.dtype == torch.int64
        assert kept.tolist() == suppressed_by_loop(boxes, scores, labels, threshold, oriented)


def test_a_chain_falls_link_by_link() -> None:
    """Each box overlaps the next: the first stays, the second falls, and so frees the third."""
    boxes = torch.zeros(101, 7)
    boxes[:, 0] = torch.arange(101) * 0.5
    boxes[:, 3:6] = 1
    scores = torch.linspace(1, 0, 101)
    labels = torch.zeros(101, dtype=torch.int64)
    kept = suppress_boxes(boxes, scores, labels, 0.25, oriented=False)
    assert kept.tolist() == list(range(0, 101, 2))
    assert suppress_boxes(boxes, scores, torch.arange(101), 0.25, oriented=False).tolist() == list(
        range(101)
    )


@pytest.mark.parametrize("oriented", [True, False])
def test_two_thousand_boxes_in_a_moment(oriented: bool) -> None:
    boxes = random_boxes(0, 2000, spread=5.0).float()
    scores, labels = torch.rand(2000), torch.arange(2000) % 18
    begin = time.process_time()
    suppress_boxes(boxes, scores, labels, 0.25, oriented=oriented)
    assert time.process_time() - begin < 2  # measured 0.1 s


def test_suppression_names_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"scores \(2,\)"):
        suppress_boxes(
            torch.zeros(3, 7), torch.zeros(2), torch.zeros(3).long(), 0.5, oriented=False
        )
    with pytest.raises(ValueError, match=r"expected \(N, 7\)"):
        suppress_boxes(
            torch.zeros(3, 6), torch.zeros(3), torch.zeros(3).long(), 0.5, oriented=False
        )


def test_points_in_boxes_is_shapelys_within() -> None:
    boxes = random_boxes(3, 13)
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for margin in (0.0, 0.1):
        inside = points_in_boxes(points, boxes, margin=margin)
        assert inside.shape == (300, 13) and inside.any()
        wider = boxes.clone()
        wider[:, 3:6] += 2 * margin
        for j, box in enumerate(wider.tolist()):
            flat = shapely.contains_xy(footprint(box), points[:, :2].numpy())
            tall = (points[:, 2] - box[2]).abs() <= box[5] / 2
            assert torch.equal(inside[:, j], torch.from_numpy(flat) & tall)
    on_face = points_in_boxes(torch.tensor([[0.5, 0, 0]]), torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]))
    assert on_face.tolist() == [[True]]
    assert points_in_boxes(torch.zeros(0, 3), torch.zeros(0, 7)).shape == (0, 0)
