"""Classification of shapes: what is learnt, counted, voted, refused."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.data.order import generator_for
from pcpt.engine.init import initialise
from pcpt.tasks.classification import Classification
from pcpt.tasks.objects import embedding_channels, joined, shape_embedding
from tests.tasks.tiny_shapes import (
    batches,
    placed_data,
    run_steps,
    same_state,
    state_of,
    tiny_points,
)


def _task(data: Any = None, student: Any = None, **keys: Any) -> Classification:
    config = Classification.Config(**{"hidden": [8], "dropout": 0.0, **keys})
    return Classification(config, student or tiny_points(), data or placed_data())


@pytest.mark.parametrize("keys", [{}, {"pooling": "pooled_and_mean", "hidden": []}])
def test_learns_places(keys: dict[str, Any]) -> None:
    data = placed_data()
    task = _task(data, label_smoothing=0.1, **keys)
    before = task.evaluate(batches(task, data, "test"))["accuracy"]
    losses = run_steps(task, data, 40)
    assert losses[-1] < 0.5 * losses[0]
    task.train()
    figures = task.evaluate(batches(task, data, "test"))
    assert task.training and figures["accuracy"] > max(0.9, before)
    assert figures["num_shapes"] == 12
    assert torch.tensor(figures["confusion"]).shape == (3, 4)
    assert set(figures) >= {"class_accuracy", "accuracy/ant", "accuracy/cat"}
    assert not any(key.startswith("voted") for key in figures) and "no voting" in task.protocol


def test_pooled_and_mean_is_both() -> None:
    student = tiny_points()
    features = student(torch.randn(2, 5, 3))
    both = shape_embedding(features, "pooled_and_mean")
    assert both.shape == (2, embedding_channels(student, "pooled_and_mean")) == (2, 16)
    assert torch.equal(both[:, :8], features.pooled)
    assert torch.allclose(both[1, 8:], features.point[1].mean(0))


def test_votes_are_the_mean_probability_of_scaled_copies() -> None:
    data = placed_data(noise=0.9)
    task = _task(data, votes=3, vote_scale=[0.2, 3.0])
    run_steps(task, data, 6)
    shapes = batches(task, data, "test")
    figures = task.evaluate(shapes)
    task.eval()
    right = []
    with torch.no_grad():
        for batch in shapes:
            total = task.predict(batch).softmax(1)
            for vote in (1, 2):
                number = int(batch.number)
                factor = 0.2 + 2.8 * float(torch.rand((), generator=generator_for(vote, number)))
                scaled = replace(batch, points=batch.points * factor)
                total = total + task.predict(scaled).softmax(1)
            right.append(int(total.argmax()) == int(batch.label))
    assert figures["voted/accuracy"] == pytest.approx(sum(right) / len(right))
    plain = _task(data, student=task.student)
    plain.head = task.head
    assert figures["accuracy"] == plain.evaluate(shapes)["accuracy"]
    assert "3 copies of each shape" in task.protocol and "0.2 to 3" in task.protocol
    # a shape's copies do not depend on the shapes that it is scored with
    assert task.evaluate(shapes[:5])["voted/accuracy"] == pytest.approx(sum(right[:5]) / 5)


def test_shapes_without_a_label_do_not_count() -> None:
    labels = [0, -1, 1, 2, -1] * 4
    data = placed_data(labels=labels, test_labels=labels)
    task = _task(data)
    shapes = batches(task, data, "test")
    figures = task.evaluate(shapes)
    assert int(torch.tensor(figures["confusion"]).sum()) == 12 and figures["num_shapes"] == 20
    nothing = [batch for batch in shapes if int(batch.label) < 0]
    loss = task(task.collate(nothing)).loss
    assert loss.item() == 0 and loss.requires_grad
    assert math.isnan(task.evaluate(nothing)["accuracy"])


def test_balanced_weights_and_a_class_without_shapes(caplog: pytest.LogCaptureFixture) -> None:
    data = placed_data(labels=[0] * 6 + [2] * 2, val_fraction=0.0)
    with caplog.at_level(logging.WARNING):
        task = _task(data, balance="inverse")
    assert "without a labelled training shape: bee" in caplog.text
    assert task.class_weight.tolist() == pytest.approx([8 / 12, 0.0, 2.0])
    assert "class_weight" not in task.state_dict()
    assert task(task.collate(batches(task, data, "train"))).loss.isfinite()
    assert _task(data).class_weight.tolist() == [1, 1, 1]


def test_a_limit_leaves_one_shape_of_each_class() -> None:
    data = placed_data(limit=0.001)
    task = _task(data)
    names = task.make_dataset(data, "train", 0).names
    labels = [task.evaluation_set(data, "train").shape_set.label_of(name) for name in names]
    assert sorted(labels) == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"labels": [0, 1, 3]}, "has label 3, but placed_shapes has 3 classes"),
        ({"labels": [-1, -1]}, "no training shape of 'placed_shapes' has a label"),
    ],
)
def test_labels_that_cannot_be_trained_on(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task(placed_data(val_fraction=0.0, **data))


def test_a_label_outside_the_classes_is_named() -> None:
    data = placed_data(test_labels=[0, 3])
    task = _task(data)
    with pytest.raises(ValueError, match="shape test_1 has label 3, but there are 3 classes"):
        task.evaluate(batches(task, data, "test"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"pooling": "pool"}, "task.pooling is 'pool'.*did you mean 'pooled'"),
        ({"dropout": 1.0}, "task.dropout is 1.0, expected a share below 1"),
        ({"votes": -1}, "task.votes is -1"),
        ({"vote_scale": [2.0, 1.0]}, "task.vote_scale"),
        ({"hidden": [0]}, "task.hidden is 0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"tune": "some"}, "task.tune is 'some'"),
    ],
)
def test_keys_that_cannot_be(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classification.Config(**keys)


def test_a_frozen_network_stays_as_it_is_statistics_included() -> None:
    data = placed_data()
    task = _task(data, tune="head")
    before = state_of(task.student)
    run_steps(task, data, 5)
    assert same_state(task.student, before)
    whole = _task(data)
    before = state_of(whole.student)
    run_steps(whole, data, 1)
    assert not torch.equal(whole.student.norm.running_mean, before["norm.running_mean"])


def test_a_head_of_other_classes_is_made_anew_and_said(tmp_path: Path) -> None:
    few = _task(student=tiny_points().requires_grad_(True))
    run_steps(few, placed_data(), 2)
    few.student.save_pretrained(tmp_path / "student")
    from safetensors.torch import save_file

    save_file(few.state_dict(), str(tmp_path / "task.safetensors"))
    more = _task(placed_data(classes=["ant", "bee", "cat", "dog"], labels=[0, 1, 2, 3] * 3))
    fresh = state_of(more.head)
    report = initialise(more, tmp_path / "task.safetensors")
    assert same_state(more.student, state_of(few.student))
    assert {"head.2.weight", "head.2.bias"} == set(report.reshaped)
    assert "(4, 8) here, (3, 8) in the source: re-initialised" in report.table()
    assert torch.equal(more.head[2].weight, fresh["2.weight"])
    alone = _task()
    report = initialise(alone, tmp_path / "student")
    assert same_state(alone.student, state_of(few.student))
    assert "freshly initialised: in head.0" in report.table()


def test_batches_are_joined_in_order() -> None:
    data = placed_data()
    task = _task(data)
    shapes = batches(task, data, "test")
    parts = list(joined(shapes, 5))
    assert [part.num_samples for part in parts] == [5, 5, 2]
    assert [name for part in parts for name in part.names] == [b.names[0] for b in shapes]
    short = replace(shapes[1], points=shapes[1].points[:, :2])
    assert [part.num_samples for part in joined([shapes[0], short, shapes[2]], 5)] == [1, 1, 1]
    assert list(joined([], 5)) == []
