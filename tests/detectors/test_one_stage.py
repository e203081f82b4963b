"""How boxes are coded and which locations answer for them, against loops."""

import math

import pytest
import torch

from pcpt.detectors.assignment import box_levels, nearest_locations
from pcpt.detectors.detections import Targets, best_detections
from pcpt.detectors.one_stage import BASE_CELLS, decode_boxes
from pcpt.ops import rotated_iou


def random_targets(seed: int, count: int) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=generator)
    boxes[:, 3:6] = boxes[:, 3:6] * 0.5 + 0.1
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 6
    scene = torch.randint(2, (count,), generator=generator)
    none = torch.full((count,), -1)
    return Targets(boxes, torch.zeros(count, dtype=torch.int64), none, scene, 0)


def answering_by_loops(
    locations: torch.Tensor, scene: torch.Tensor, targets: Targets, num: int, margin: float
) -> list[int]:
    wanted: dict[int, list[tuple[float, int]]] = {}
    for j, box in enumerate(targets.boxes.tolist()):
        near = []
        for i, point in enumerate(locations.tolist()):
            if scene[i] != targets.batch_index[j]:
                continue
            x, y, z = (p - c for p, c in zip(point, box))
            cos, sin = math.cos(box[6]), math.sin(box[6])
            local = (cos * x + sin * y, cos * y - sin * x, z)
            if all(abs(v) <= size / 2 + margin for v, size in zip(local, box[3:6])):
                near.append((math.dist(point, box[:3]), i))
        for distance, i in sorted(near)[:num]:
            wanted.setdefault(i, []).append((distance, j))
    return [min(wanted[i])[1] if i in wanted else -1 for i in range(len(locations))]


@pytest.mark.parametrize("seed", range(20))
def test_nearest_locations(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, boxes = (0, 1, 40, 300)[seed % 4], (0, 1, 5, 12, 3)[seed % 5]
    locations = torch.rand(count, 3, generator=generator)
    scene = torch.randint(2, (count,), generator=generator)
    targets = random_targets(100 + seed, boxes)
    for num, margin in ((1, 0.0), (6, 0.1), (500, 0.05)):
        owner = nearest_locations(locations, scene, targets, num, margin)
        assert owner.dtype == torch.int64
        assert owner.tolist() == answering_by_loops(locations, scene, targets, num, margin)


def test_levels_by_the_longest_side() -> None:
    boxes = torch.zeros(4, 7)
    boxes[:, 3] = torch.tensor([0.2, 0.5, 0.51, 3.0])
    boxes[3, 4] = 5
    assert box_levels(boxes, [0.5, 1.0]).tolist() == [0, 0, 1, 2]
    assert box_levels(boxes, []).tolist() == [0, 0, 0, 0]


def test_boxes_along_the_axes() -> None:
    outputs = torch.tensor(
        [[0.0, 0, 0, 0, 0, 0], [1, -0.5, 2, math.log(2), 0, -1], [0] * 3 + [99] * 3]
    )
    boxes = decode_boxes(outputs, torch.tensor([[1.0, 2, 3]] * 3), 0.2)
    base = 0.2 * BASE_CELLS
    torch.testing.assert_close(boxes[0], torch.tensor([1, 2, 3, base, base, base, 0]))
    expected = torch.tensor([1.2, 1.9, 3.4, 2 * base, base, base / math.e, 0])
    torch.testing.assert_close(boxes[1], expected)
    assert boxes.isfinite().all()


@pytest.mark.parametrize("seed", range(5))
def test_turned_boxes_are_found_by_their_code(seed: int) -> None:
    """What the code of a box decodes to overlaps it wholly, whichever way the box was written."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(33, 7, generator=generator, dtype=torch.float64)
    boxes[:, 3:6] += 0.1
    boxes[:, 6] = (boxes[:, 6] - 0.5) * 12
    turned = boxes[:, [0, 1, 2, 4, 3, 5, 6]].clone()
    turned[:, 6] += math.pi / 2
    edge = 0.2
    base = edge * BASE_CELLS
    codes = []
    for rows in (boxes, turned):
        ratio = (rows[:, 3] / rows[:, 4]).log()
        codes.append(
            torch.stack(
                (
                    *(rows[:, :3] / edge).unbind(1),
                    ((rows[:, 3] + rows[:, 4]) / 2 / base).log(),
                    (rows[:, 5] / base).log(),
                    ratio * (2 * rows[:, 6]).cos(),
                    ratio * (2 * rows[:, 6]).sin(),
                ),
                dim=1,
            )
        )
    torch.testing.assert_close(codes[0], codes[1])
    decoded = decode_boxes(codes[0], torch.zeros(33, 3, dtype=torch.float64), edge)
    assert (rotated_iou(decoded, boxes, aligned=True) > 0.9999).all()


def test_code_of_turned_boxes_has_a_gradient_everywhere() -> None:
    outputs = torch.zeros(2, 7, dtype=torch.float64)
    outputs[1] = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaf = outputs.requires_grad_()
    decode_boxes(leaf, torch.zeros(2, 3, dtype=torch.float64), 0.2).sum().backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()
    row = outputs[1:].detach().requires_grad_()
    where = torch.zeros(1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: decode_boxes(x, where, 0.2), (row,))


def test_best_detections() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [0.1, 0, 0, 1, 1, 1, 0], [5, 0, 0, 1, 1, 1, 0]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.3], [0.05, 0.6]])
    keys = {"oriented": False, "min_score": 0.1, "overlap": 0.5}
    found = best_detections(boxes, scores, most=10, **keys)
    assert found.labels.tolist() == [0, 1, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.6, 0.3]))
    assert torch.equal(found.boxes, boxes[[0, 2, 1]])
    assert best_detections(boxes, scores, most=1, **keys).labels.tolist() == [0]
    nothing = best_detections(boxes[:0], scores[:0], most=10, **keys)
    assert nothing.boxes.shape == (0, 7)
