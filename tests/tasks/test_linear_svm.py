"""Linear SVM on frozen embeddings: C from validation alone, repeatable, cached, truly frozen."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.tasks.linear_svm import LinearSvm
from pcpt.tasks.objects import joined
from pcpt.tasks.shape_features import embed_shapes, weights_hash
from pcpt.tasks.svm import fit_machine, predict
from tests.tasks.tiny_shapes import (
    OPENED,
    batches,
    placed_data,
    same_state,
    state_of,
    tiny_points,
)


def _task(data: Any = None, student: Any = None, **keys: Any) -> LinearSvm:
    return LinearSvm(LinearSvm.Config(**keys), student or tiny_points(), data or placed_data())


def _fitted(data: Any, **keys: Any) -> LinearSvm:
    task = _task(data, **keys)
    task.train()
    task(task.collate([task.make_dataset(data, "train", 0)[0]]))
    return task


@pytest.mark.parametrize("kind", ["one_vs_rest", "one_vs_one"])
@pytest.mark.parametrize("standardize", [True, False])
def test_c_is_the_best_on_validation_shapes(kind: str, standardize: bool) -> None:
    data = placed_data(noise=1.0, labels=[0, 0, 0, 1, 2] * 20, val_fraction=0.5)
    costs = [10.0, 1e-4, 1e-2]
    task = _fitted(data, costs=costs, kind=kind, standardize=standardize)
    by_hand = {}
    student = tiny_points().eval()
    with torch.no_grad():
        train, val = (
            [(student(b.points).pooled[0], int(b.label)) for b in batches(task, data, split)]
            for split in ("train", "val")
        )
        # batches of "train" come whole: the task's own limit is 1
        x, y = torch.stack([f for f, _ in train]), torch.tensor([label for _, label in train])
        v, w = torch.stack([f for f, _ in val]), torch.tensor([label for _, label in val])
    if standardize:
        v, x = (v - x.mean(0)) / x.std(0), (x - x.mean(0)) / x.std(0)
    for cost in sorted(costs):
        said = predict(fit_machine(x, y, cost, kind, 3), v, kind)
        by_hand[cost] = float((said == w).double().mean())
    best = max(by_hand, key=lambda cost: (by_hand[cost], -cost))
    figures = task.evaluate(batches(task, data, "test"))
    assert len(set(by_hand.values())) > 1, "the choice must matter"
    assert figures["selection"] == {
        "cost": best,
        "split": "val",
        "accuracy": {f"{cost:g}": pytest.approx(value) for cost, value in by_hand.items()},
    }
    assert figures["accuracy"] > 0.5 and kind in task.protocol


def test_the_test_split_is_not_opened_before_it_is_scored() -> None:
    data = placed_data()
    OPENED.clear()
    task = _fitted(data)
    assert set(OPENED) == {"train"}  # val is cut out of it
    task.evaluate(batches(task, data, "test"))
    assert OPENED[-1] == "test"


def test_it_repeats_and_saves_all_of_itself() -> None:
    data = placed_data(noise=0.8)
    first, second = _fitted(data), _fitted(data)
    assert same_state(first, state_of(second))
    loaded = _task(data)
    shapes = batches(loaded, data, "test")
    with pytest.raises(RuntimeError, match="train one step first"):
        loaded.evaluate(shapes)
    loaded.load_state_dict(first.state_dict())
    assert loaded.evaluate(shapes) == first.evaluate(shapes)


def test_a_machine_that_comes_with_the_weights_is_not_kept() -> None:
    data = placed_data(noise=0.8)
    task = _task(data)
    task.load_state_dict(_fitted(data, costs=[7.0, 1.0, 2.0, 3.0, 4.0]).state_dict())
    task(task.collate(batches(task, data, "val")))
    assert same_state(task, state_of(_fitted(data)))


def test_a_single_c_needs_no_validation_shapes() -> None:
    data = placed_data(val_fraction=0.0)
    task = _fitted(data, costs=[0.5])
    figures = task.evaluate(batches(task, data, "test"))
    assert figures["selection"] == {"cost": 0.5, "split": "none", "accuracy": {"0.5": None}}
    with pytest.raises(ValueError, match="costs is"):
        LinearSvm.Config(costs=[0.0])


def test_frozen_means_frozen() -> None:
    data = placed_data()
    student = tiny_points(dropout=0.9)
    before = state_of(student)
    task = _task(data, student)
    task.train()
    task(task.collate(batches(task, data, "train"))).loss.backward()
    task.evaluate(batches(task, data, "test"))
    assert same_state(student, before) and not student.training
    assert not any(p.requires_grad for p in student.parameters())
    measured = _task(data, tiny_points(), norm_shapes=8)
    measured.prepare([])
    assert not torch.equal(measured.student.norm.running_mean, before["norm.running_mean"])
    assert measured.student.norm.momentum == 0.1 and not measured.student.norm.training
    points = torch.cat([b.points for b in batches(measured, data, "train")[::2]][:8]).flatten(0, 1)
    wanted = measured.student.linear(points).mean(0)
    assert torch.allclose(measured.student.norm.running_mean, wanted, atol=1e-6)


def test_limited_and_unlabelled_shapes() -> None:
    data = placed_data(limit=0.01)
    task = _fitted(data)
    assert len(task.embed_split("train").labels) == 3
    assert len(task.embed_split("val").labels) == 9
    assert task.evaluate(batches(task, data, "test"))["num_shapes"] == 12
    data = placed_data(labels=[0, -1, 1, -1, 0] * 4, test_labels=[0, 1, 2, -1])
    figures = _fitted(data).evaluate(batches(task, data, "test"))
    assert figures["accuracy/cat"] == 0 and figures["num_shapes"] == 4  # never seen, never said
    assert sum(row[2] for row in figures["confusion"]) == 0


def test_embeddings_are_kept_by_weights_and_points(tmp_path: Path) -> None:
    data = placed_data()
    task = _task(data)
    shapes = batches(task, data, "test")

    calls: list[int] = []

    def embed(student: Any, given: list, pooling: str = "pooled") -> torch.Tensor:
        found = embed_shapes(student, given, pooling=pooling, batch_size=5, cache=str(tmp_path))
        calls.append(student.calls)
        student.calls = 0
        return found.features

    student = tiny_points()
    first = embed(student, shapes)
    assert calls[-1] == 3  # of 5, 5 and 2 shapes
    assert torch.equal(embed(student, shapes), first)
    assert calls[-1] == 0
    embed(student, shapes, "pooled_and_mean")
    assert calls[-1] == 3
    shapes[0].points[0, 0, 0] += 1
    assert not torch.equal(embed(student, shapes)[0], first[0])
    assert calls[-1] == 3
    with torch.no_grad():
        student.norm.running_mean += 1  # statistics are weights
    assert not torch.equal(embed(student, shapes), first)
    assert weights_hash(student) != weights_hash(tiny_points())
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    embed(student, shapes)
    assert calls[-1] == 3


def test_embeddings_that_are_not_finite_are_refused() -> None:
    task = _task()
    with torch.no_grad():
        task.student.linear.bias += torch.nan
    with pytest.raises(ValueError, match="not finite"):
        task.embed(joined(batches(task, placed_data(), "test")))
