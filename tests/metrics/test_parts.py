"""Part IoU against counting by hand, absent parts included."""

import math
import random

import pytest
import torch

from pcpt.metrics.parts import part_figures, part_iou


def _brute(target: list[int], said: list[int], part: int, absent: str) -> float:
    pairs = [(t, s) for t, s in zip(target, said, strict=True) if t != -1]
    union = sum(t == part or s == part for t, s in pairs)
    if union == 0:
        return 1.0 if absent == "one" else math.nan
    return sum(t == part and s == part for t, s in pairs) / union


def test_against_brute_force() -> None:
    draw = random.Random(0)
    absent_seen = 0
    for _ in range(200):
        count = draw.choice([0, 1, 2, 7, 33])
        parts = draw.sample(range(9), draw.randint(1, 4))
        target = [draw.choice([*parts[:2], -1]) for _ in range(count)]
        said = [draw.choice(parts) for _ in range(count)]
        for rule in ("one", "skip"):
            found = part_iou(torch.tensor(target).long(), torch.tensor(said).long(), parts, rule)
            wanted = [_brute(target, said, part, rule) for part in parts]
            absent_seen += sum(map(math.isnan, wanted))
            assert found.tolist() == pytest.approx(wanted, nan_ok=True)
    assert absent_seen > 50


def test_a_part_that_is_only_predicted_counts_as_zero_either_way() -> None:
    target, said = torch.tensor([4, 4]), torch.tensor([4, 5])
    assert part_iou(target, said, [4, 5, 6], "one").tolist() == [0.5, 0.0, 1.0]
    assert part_iou(target, said, [4, 5, 6], "skip").tolist()[:2] == [0.5, 0.0]
    with pytest.raises(ValueError, match="absent is 'zero', expected one of one, skip"):
        part_iou(target, said, [4], "zero")


def test_means_over_shapes_and_over_classes() -> None:
    found = part_figures([1.0, 0.5, 0.0, math.nan], [0, 0, 2, 1], ["mug", "cap", "<b>"])
    assert found["instance_miou"] == pytest.approx(0.5)
    assert found["class_miou"] == pytest.approx((0.75 + 0.0) / 2)
    assert found["iou/mug"] == pytest.approx(0.75) and math.isnan(found["iou/cap"])
