"""ScanNet's average precision against tables worked by hand and an evaluator written plainly."""

import math

import numpy as np
import pytest
import torch

from pcpt.data.predicted_instances import PredictedInstances
from pcpt.metrics.instances import SCANNET_OVERLAPS, InstanceAP, average_precision

NAMES = ("wall", "chair", "table")


def predictions(num_points, *objects):
    """Objects given as (label, score, points)."""
    masks = torch.zeros(len(objects), num_points, dtype=torch.bool)
    for row, (_, _, points) in enumerate(objects):
        masks[row, list(points)] = True
    labels = torch.tensor([label for label, _, _ in objects], dtype=torch.int64)
    scores = torch.tensor([score for _, score, _ in objects], dtype=torch.float32)
    return PredictedInstances.sorted(masks, labels, scores)


def scene(*objects, num_points):
    """Labels of (label, instance, points)."""
    semantic = torch.full((num_points,), -1)
    instances = torch.full((num_points,), -1)
    for label, instance, points in objects:
        semantic[list(points)], instances[list(points)] = label, instance
    return semantic, instances


def score(predicted, truth, **options):
    metric = InstanceAP(3, options.pop("classes", (1, 2)), min_points=2, **options)
    metric.add(predicted, *truth)
    return metric.figures(NAMES)


@pytest.mark.parametrize(
    ("hits", "misses", "num_objects", "expected"),
    [
        ([0.9], [], 1, 1.0),
        ([], [], 1, 0.0),
        ([], [0.5], 2, 0.0),
        ([0.8], [0.9], 1, 0.25),  # (0, 1) (0, 0) (1, 1/2)
        ([0.9], [0.8], 1, 1.0),  # the curve is complete before the miss comes
        ([0.5], [0.5], 1, 0.75),  # equal scores are one step: (0, 1) (1, 1/2)
        ([0.9, 0.7], [0.8], 2, 0.5 + (1 / 2 + 2 / 3) / 2 / 2),
        ([0.9], [], 2, 0.5),  # half of the objects are never found
    ],
)
def test_area_under_the_curve_by_hand(hits, misses, num_objects, expected):
    assert average_precision(hits, misses, num_objects) == pytest.approx(expected, abs=1e-12)


def test_no_object_has_no_average_precision():
    assert math.isnan(average_precision([], [0.5], 0))


def test_perfect_predictions():
    truth = scene((1, 0, range(0, 5)), (1, 1, range(5, 9)), (2, 2, range(9, 14)), num_points=20)
    found = score(
        predictions(20, (1, 0.3, range(0, 5)), (1, 0.9, range(5, 9)), (2, 0.5, range(9, 14))), truth
    )
    assert found["mAP"] == found["AP50"] == found["AP25"] == found["mAP/chair"] == 1.0
    assert found["num_objects"] == 3


def test_overlaps_by_hand():
    # IoU 6/10 = 0.6, and it must be exceeded: right at 0.25, 0.5 and 0.55, wrong from 0.6 on
    truth = scene((1, 0, range(10)), num_points=10)
    found = score(predictions(10, (1, 0.9, range(6))), truth)
    assert found["AP50"] == found["AP25"] == 1.0
    assert found["mAP"] == pytest.approx(2 / 9)
    assert score(predictions(10, (1, 0.9, range(5))), truth)["AP50"] == 0.0
    assert score(predictions(10, (1, 0.9, range(5))), truth)["AP25"] == 1.0


def test_a_second_prediction_of_an_object_is_a_false_positive():
    truth = scene((1, 0, range(10)), (1, 1, range(10, 20)), num_points=20)
    twice = predictions(20, (1, 0.9, range(10)), (1, 0.8, range(10)), (1, 0.7, range(10, 20)))
    assert score(twice, truth)["AP50"] == pytest.approx(0.5 + (1 / 2 + 2 / 3) / 2 / 2)


def test_a_prediction_over_what_is_ignored_does_not_count_against():
    # 7 of 10 points lie on a wall: more than a half, so ignored at 0.5 and 0.25, but not at 0.7
    truth = scene((0, 0, range(10)), (1, 1, range(10, 20)), num_points=20)
    stray = (1, 0.9, range(3, 13))
    found = score(predictions(20, stray, (1, 0.8, range(10, 20))), truth, overlaps=(0.7,))
    assert found["AP50"] == found["AP25"] == 1.0
    assert found["mAP"] == 0.25
    with_walls = score(predictions(20, stray), truth, classes=(0, 1, 2))
    assert with_walls["AP50/wall"] == 0.0


def test_objects_without_a_number_or_too_small_are_ignored():
    truth = scene((1, 0, [0]), (1, -1, range(1, 9)), (1, 1, range(9, 14)), num_points=14)
    found = score(predictions(14, (1, 0.9, range(9)), (1, 0.5, range(9, 14))), truth)
    assert found["AP50"] == 1.0 and found["num_objects"] == 1


def test_predictions_too_small_or_of_no_evaluated_class_are_left_out():
    truth = scene((1, 0, range(5)), num_points=10)
    found = score(predictions(10, (1, 0.9, [7]), (0, 0.8, range(5, 10)), (1, 0.5, range(5))), truth)
    assert found["AP50"] == 1.0


def test_a_class_never_seen_is_left_out_and_one_never_predicted_is_zero():
    truth = scene((1, 0, range(5)), num_points=10)
    found = score(predictions(10, (2, 0.9, range(5, 10))), truth)
    assert found["AP50"] == 0.0 and "AP50/table" not in found


@pytest.mark.parametrize("num_points", [0, 10])
def test_scenes_without_any_object_have_no_figure(num_points):
    truth = scene(num_points=num_points)
    found = score(predictions(num_points), truth)
    assert math.isnan(found["mAP"]) and math.isnan(found["AP50"]) and found["num_objects"] == 0


def test_misfits_are_refused():
    metric = InstanceAP(3)
    truth = scene(num_points=4)
    with pytest.raises(ValueError, match="semantic is"):
        metric.add(predictions(5), *truth)
    with pytest.raises(ValueError, match="predicted label is 3"):
        metric.add(predictions(4, (3, 0.5, [1])), *truth)
    with pytest.raises(ValueError, match="classes"):
        InstanceAP(3, [3])
    with pytest.raises(ValueError, match="overlaps"):
        InstanceAP(3, overlaps=[1.0])
    with pytest.raises(ValueError, match="scores"):
        PredictedInstances(
            torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, dtype=torch.int64),
            torch.tensor([0.1, 0.2]),
        )  # fmt: skip


def test_each_point_goes_to_the_surest_object():
    predicted = predictions(5, (1, 0.2, [0, 1, 2]), (1, 0.9, [2, 3]))
    assert predicted.point_instances().tolist() == [1, 1, 0, 0, -1]
    assert predictions(2).point_instances().tolist() == [-1, -1]


def brute_force(scenes, evaluated, overlap, min_points):
    """Mean AP over classes at one overlap, by sets of points and one step of the curve at once."""
    aps = []
    for label in evaluated:
        pooled, num_objects = [], 0
        for predicted, semantic, instances in scenes:
            objects = {}
            for point, (s, i) in enumerate(zip(semantic.tolist(), instances.tolist())):
                if s == label and i >= 0:
                    objects.setdefault(i, set()).add(point)
            counted = {i: o for i, o in sorted(objects.items()) if len(o) >= min_points}
            num_objects += len(counted)
            void = {
                point
                for point, (s, i) in enumerate(zip(semantic.tolist(), instances.tolist()))
                if s not in evaluated or i < 0
            }
            for i, o in objects.items():
                if i not in counted:
                    void |= o
            guesses = []
            for row in range(len(predicted)):
                points = set(predicted.masks[row].nonzero().flatten().tolist())
                if int(predicted.labels[row]) == label and len(points) >= min_points:
                    guesses.append((float(predicted.scores[row]), points))
            used = [False] * len(guesses)
            for o in counted.values():
                best = None
                for k, (confidence, points) in enumerate(guesses):
                    if used[k] or len(points & o) / len(points | o) <= overlap:
                        continue
                    if best is None:
                        best = k
                    else:
                        pooled.append((confidence, False))
                if best is not None:
                    used[best] = True
                    pooled.append((guesses[best][0], True))
            for confidence, points in guesses:
                if any(len(points & o) / len(points | o) > overlap for o in objects.values()):
                    continue
                if len(points & void) / len(points) <= overlap:
                    pooled.append((confidence, False))
        if num_objects == 0:
            continue
        area, before = 0.0, (0.0, 1.0)
        for threshold in sorted({confidence for confidence, _ in pooled}, reverse=True):
            kept = [true for confidence, true in pooled if confidence >= threshold]
            now = (sum(kept) / num_objects, sum(kept) / len(kept))
            area += (now[0] - before[0]) * (now[1] + before[1]) / 2
            before = now
        aps.append(area)
    return sum(aps) / len(aps) if aps else float("nan")


def random_scene(random):
    """Objects on a line, and predictions that are objects with their ends moved."""
    num_points = int(random.integers(1, 80))
    cuts = np.sort(random.integers(0, num_points, size=int(random.integers(0, 8))))
    instances = torch.from_numpy(np.searchsorted(cuts, np.arange(num_points), side="right"))
    labels = random.integers(-1, 3, size=len(cuts) + 1)
    semantic = torch.from_numpy(labels[instances.numpy()])
    instances = torch.where(torch.from_numpy(random.random(num_points) < 0.05), -1, instances)
    objects = []
    for _ in range(int(random.integers(0, 12))):
        number = int(random.integers(0, len(cuts) + 1))
        inside = np.flatnonzero(instances.numpy() == number)
        if not len(inside):
            continue
        first = max(0, inside[0] + int(random.integers(-3, 4)))
        last = min(num_points - 1, inside[-1] + int(random.integers(-3, 4)))
        label = labels[number] if random.random() < 0.8 else random.integers(0, 3)
        objects.append((max(0, int(label)), round(random.random(), 1), range(first, last + 1)))
    return predictions(num_points, *objects), semantic, instances


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_plain_evaluator(seed):
    random = np.random.default_rng(seed)
    scenes = [random_scene(random) for _ in range(int(random.integers(1, 5)))]
    min_points = int(random.integers(1, 8))
    metric = InstanceAP(3, (1, 2), min_points=min_points)
    for predicted, semantic, instances in scenes:
        metric.add(predicted, semantic, instances)
    found = metric.figures(NAMES)

    def expected(overlap):
        return brute_force(scenes, (1, 2), overlap, min_points)

    equal = {"nan_ok": True, "abs": 1e-12}
    assert found["AP50"] == pytest.approx(expected(0.5), **equal)
    assert found["AP25"] == pytest.approx(expected(0.25), **equal)
    every = [expected(overlap) for overlap in SCANNET_OVERLAPS]
    assert found["mAP"] == pytest.approx(sum(every) / len(every), **equal)
