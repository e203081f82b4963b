"""Box and focal losses against double loops."""

import math

import pytest
import shapely
import shapely.affinity
import torch
from torch import Tensor

from pcpt.losses import distance_iou_loss, focal_loss


def random_boxes(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(count, 7, generator=generator, dtype=torch.float64)
    rows[:, 3:6] += 0.2
    rows[:, 6] = (rows[:, 6] - 0.5) * 6
    return rows


def corners(box: list[float], oriented: bool) -> list[tuple[float, float, float]]:
    x, y, z, dx, dy, dz, yaw = box
    cos, sin = (math.cos(yaw), math.sin(yaw)) if oriented else (1.0, 0.0)
    return [
        (x + cos * a * dx - sin * b * dy, y + sin * a * dx + cos * b * dy, z + c * dz)
        for a in (-0.5, 0.5)
        for b in (-0.5, 0.5)
        for c in (-0.5, 0.5)
    ]


def diou_by_loops(first: list[float], second: list[float], oriented: bool) -> float:
    both = [corners(box, oriented) for box in (first, second)]
    hulls = [shapely.MultiPoint([c[:2] for c in part]).convex_hull for part in both]
    top = min(first[2] + first[5] / 2, second[2] + second[5] / 2)
    bottom = max(first[2] - first[5] / 2, second[2] - second[5] / 2)
    common = hulls[0].intersection(hulls[1]).area * max(0.0, top - bottom)
    iou = common / (math.prod(first[3:6]) + math.prod(second[3:6]) - common)
    every = both[0] + both[1]
    diagonal = sum((max(c[k] for c in every) - min(c[k] for c in every)) ** 2 for k in range(3))
    return 1 - iou + math.dist(first[:3], second[:3]) ** 2 / diagonal


@pytest.mark.parametrize("oriented", [True, False])
@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_distance_iou(count: int, oriented: bool) -> None:
    boxes, targets = random_boxes(1, count), random_boxes(2, count)
    result = distance_iou_loss(boxes, targets, oriented=oriented)
    expected = [diou_by_loops(a, b, oriented) for a, b in zip(boxes.tolist(), targets.tolist())]
    torch.testing.assert_close(
        result, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("oriented", [True, False])
def test_distance_iou_has_a_gradient(oriented: bool) -> None:
    boxes, targets = random_boxes(3, 9).requires_grad_(), random_boxes(4, 9)
    assert torch.autograd.gradcheck(
        lambda rows: distance_iou_loss(rows, targets, oriented=oriented), (boxes,)
    )
    same = targets.clone().requires_grad_()
    loss = distance_iou_loss(same, targets, oriented=oriented)
    torch.testing.assert_close(loss, torch.zeros(9, dtype=torch.float64), atol=1e-9, rtol=0)
    apart = targets.clone()
    apart[:, 0] += 50
    apart.requires_grad_()
    distance_iou_loss(apart, targets, oriented=oriented).sum().backward()
    assert apart.grad is not None and (apart.grad[:, 0] > 0).all()  # pulled back
    none = torch.zeros(1, 7, requires_grad=True)
    distance_iou_loss(none, torch.zeros(1, 7), oriented=oriented).sum().backward()
    assert none.grad is not None and none.grad.isfinite().all()


def focal_by_loops(
    logits: list[list[float]], labels: list[int], alpha: float, gamma: float, quality: list[float]
) -> list[float]:
    rows = []
    for row, label, good in zip(logits, labels, quality):
        total = 0.0
        for place, logit in enumerate(row):
            p = 1 / (1 + math.exp(-logit))
            y = good if place == label else 0.0
            weight = 1.0 if alpha < 0 else alpha if place == label else 1 - alpha
            cross = -y * math.log(p) - (1 - y) * math.log(1 - p)
            total += weight * abs(y - p) ** gamma * cross
        rows.append(total)
    return rows


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2.0), (0.5, 1.5), (-1.0, 2.0)])
@pytest.mark.parametrize("count, classes", [(0, 3), (1, 1), (33, 7)])
def test_focal(count: int, classes: int, alpha: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(count)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(-1, classes, (count,), generator=generator)
    quality = torch.rand(count, generator=generator, dtype=torch.float64)
    for good in (None, quality):
        result = focal_loss(logits, labels, alpha=alpha, gamma=gamma, quality=good)
        given = [1.0] * count if good is None else good.tolist()
        expected = focal_by_loops(logits.tolist(), labels.tolist(), alpha, gamma, given)
        torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))
    leaf = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, labels, alpha=alpha), (leaf,))


def test_focal_without_focus_is_cross_entropy() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, -1, 2, 1])
    target = torch.zeros(5, 4)
    target[[0, 1, 3, 4], [0, 3, 2, 1]] = 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, reduction="none"
    ).sum(1)
    torch.testing.assert_close(focal_loss(logits, labels, alpha=-1, gamma=0), expected)


def test_focal_names_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"expected -1\.\.3"):
        focal_loss(torch.zeros(2, 4), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match=r"labels \(3,\)"):
        focal_loss(torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64))
