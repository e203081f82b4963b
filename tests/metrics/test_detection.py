"""Average precision against an evaluator written from VoteNet's protocol with loops."""

import math

import pytest
import torch
from torch import Tensor

from pcpt.metrics.detection import SceneBoxes, average_precision, evaluate_boxes
from pcpt.ops import rotated_iou

NAMES = ("bed", "chair", "table")


def random_scene(seed: int, oriented: bool) -> SceneBoxes:
    generator = torch.Generator().manual_seed(seed)
    count = (0, 1, 5, 9)[seed % 4]
    targets = torch.rand(count, 7, generator=generator) * 2
    targets[:, 3:6] = targets[:, 3:6] / 2 + 0.3
    targets[:, 6] = (targets[:, 6] - 1) * 3 if oriented else 0
    labels = torch.randint(3, (count,), generator=generator)
    picks = torch.randint(max(1, count), (23 if seed % 5 else 0,), generator=generator)
    if not count:
        found = torch.rand(len(picks), 7, generator=generator) + 0.1
        found_labels = torch.randint(3, (len(picks),), generator=generator)
    else:
        noise = (torch.rand(len(picks), 7, generator=generator) - 0.5) * 0.4
        found = targets[picks] + noise * (1 if oriented else torch.tensor([1.0] * 6 + [0]))
        found_labels = labels[picks]
        other = torch.rand(len(picks), generator=generator) < 0.2
        found_labels = torch.where(other, (found_labels + 1) % 3, found_labels)
    scores = torch.rand(len(picks), generator=generator)
    if seed % 3 == 0:
        scores = (scores * 8).round() / 8  # ties
    return SceneBoxes(found, scores, found_labels, targets, labels)


def iou(first: list[float], second: list[float]) -> float:
    pair = [torch.tensor([row], dtype=torch.float64) for row in (first, second)]
    return float(rotated_iou(*pair, aligned=True))


def by_loops(scenes: list[SceneBoxes], label: int, threshold: float) -> tuple[float, float]:
    """AP and recall of one class."""
    detections: list[tuple[float, int, list[float]]] = []
    targets: dict[int, list[list[float]]] = {}
    for number, scene in enumerate(scenes):
        targets[number] = [
            box
            for box, own in zip(scene.target_boxes.tolist(), scene.target_labels.tolist())
            if own == label
        ]
        for box, score, own in zip(
            scene.boxes.tolist(), scene.scores.tolist(), scene.labels.tolist()
        ):
            if own == label:
                detections.append((score, number, box))
    total = sum(map(len, targets.values()))
    if not total:
        return math.nan, math.nan
    detections.sort(key=lambda each: -each[0])  # stable: ties in the order given
    taken: set[tuple[int, int]] = set()
    right = 0
    curve: list[tuple[float, float]] = []
    for position, (_, number, box) in enumerate(detections, start=1):
        overlaps = [iou(box, target) for target in targets[number]]
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=-1)
        if best >= 0 and overlaps[best] > threshold and (number, best) not in taken:
            taken.add((number, best))
            right += 1
        curve.append((right / total, right / position))
    area, last = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - last) * max(precision for _, precision in curve[place:])
        last = recall
    return area, right / total


@pytest.mark.parametrize("seed", range(30))
def test_figures_are_those_of_the_loops(seed: int) -> None:
    oriented = seed % 2 == 0
    scenes = [random_scene(7 * seed + i, oriented) for i in range(4)]
    figures = evaluate_boxes(scenes, NAMES, oriented=oriented, thresholds=(0.25, 0.5, 0.7))
    for threshold, tag in ((0.25, "@.25"), (0.5, "@.5"), (0.7, "@.7")):
        expected = [by_loops(scenes, label, threshold) for label in range(3)]
        for name, (area, _) in zip(NAMES, expected):
            assert figures[f"AP{tag}/{name}"] == pytest.approx(area, abs=1e-9, nan_ok=True)
        known = [pair for pair in expected if not math.isnan(pair[0])]
        for key, column in (("mAP", 0), ("mAR", 1)):
            mean = sum(pair[column] for pair in known) / len(known)
            assert figures[f"{key}{tag}"] == pytest.approx(mean, abs=1e-9)
    assert figures["num_scenes"] == 4
    assert figures["num_targets"] == sum(len(scene.target_labels) for scene in scenes)
    assert figures["num_detections"] == sum(len(scene.labels) for scene in scenes)


def test_a_curve_worked_by_hand() -> None:
    # right, wrong, right, wrong of 3: precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3, 2/3
    scores = torch.tensor([0.6, 0.9, 0.7, 0.8])
    correct = torch.tensor([False, True, True, False])
    assert average_precision(scores, correct, 3) == pytest.approx((1 + 2 / 3) / 3)
    # precision that rises again counts from the left: 1/2 everywhere
    assert average_precision(scores[:2], torch.tensor([True, False]), 1) == pytest.approx(0.5)
    assert average_precision(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 2) == 0
    assert math.isnan(average_precision(torch.zeros(0), torch.zeros(0, dtype=torch.bool), 0))


UNIT = [0.0, 0, 0, 1, 1, 1, 0]


def scene(
    found: list, scores: list, labels: list, targets: list, target_labels: list
) -> SceneBoxes:
    def rows(values: list) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(-1, 7)

    return SceneBoxes(
        rows(found),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
        rows(targets),
        torch.tensor(target_labels, dtype=torch.int64),
    )


def test_a_second_detection_of_a_target_is_an_error() -> None:
    """Even where it also overlaps another target enough: only the best one counts."""
    left, right = [0.0, 0, 0, 1, 1, 1, 0], [0.4, 0, 0, 1, 1, 1, 0]
    near_left = [0.1, 0, 0, 1, 1, 1, 0]
    one = scene([left, near_left], [0.9, 0.8], [0, 0], [left, right], [0, 0])
    figures = evaluate_boxes([one], NAMES, oriented=False)
    assert figures["AP@.25/bed"] == pytest.approx(0.5)
    assert figures["mAR@.25"] == pytest.approx(0.5)


def test_classes_without_targets_are_nan_and_out_of_the_mean() -> None:
    one = scene([UNIT, UNIT], [0.9, 0.8], [0, 1], [UNIT], [0])
    figures = evaluate_boxes([one], NAMES, oriented=False)
    assert figures["AP@.25/bed"] == 1 and math.isnan(figures["AP@.25/chair"])
    assert figures["mAP@.25"] == figures["mAP@.5"] == 1
    unseen = scene([], [], [], [UNIT, UNIT], [0, 2])  # a class that is never found counts as 0
    assert evaluate_boxes([one, unseen], NAMES, oriented=False)["mAP@.25"] == pytest.approx(0.25)
    for scenes in ([], [scene([], [], [], [], [])], [scene([UNIT], [1.0], [0], [], [])]):
        assert math.isnan(evaluate_boxes(scenes, NAMES, oriented=True)["mAP@.25"])


def test_a_detection_counts_in_its_own_scene_only() -> None:
    here, there = scene([], [], [], [UNIT], [0]), scene([UNIT], [0.9], [0], [], [])
    assert evaluate_boxes([here, there], NAMES, oriented=False)["mAP@.25"] == 0


def test_yaw_counts_where_boxes_are_oriented() -> None:
    long = [0.0, 0, 0, 2, 0.2, 1, 0]
    across = [*long[:6], math.pi / 2]
    one = scene([across], [0.9], [0], [long], [0])
    assert evaluate_boxes([one], NAMES, oriented=False)["mAP@.5"] == 1
    assert evaluate_boxes([one], NAMES, oriented=True)["mAP@.25"] == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"boxes": torch.zeros(1, 6)}, r"detections: boxes are \(1, 6\)"),
        ({"target_boxes": torch.zeros(2, 7)}, r"targets: boxes are \(2, 7\)"),
        ({"labels": torch.tensor([3])}, r"expected 0\.\.2"),
        ({"target_labels": torch.tensor([-1])}, r"targets: labels reach from -1"),
        ({"scores": torch.zeros(2)}, "scores for 1 boxes"),
        ({"scores": torch.tensor([math.nan])}, "not all finite"),
    ],
)
def test_bad_input(change: dict, message: str) -> None:
    good = scene([UNIT], [0.9], [0], [UNIT], [0])
    with pytest.raises(ValueError, match=message):
        evaluate_boxes([good._replace(**change)], NAMES, oriented=False)
