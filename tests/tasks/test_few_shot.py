"""Few-shot episodes: what is drawn, counted and refused."""

import math
import statistics
from typing import Any

import pytest
import torch

from pcpt.data.episodes import draw_episode
from pcpt.tasks.few_shot import FewShot, nearest_classes
from tests.tasks.tiny_shapes import batches, placed_data, same_state, state_of, tiny_points

KEYS = {"ways": 3, "shots": 2, "queries": 2, "episodes": 4}


def _task(data: Any, **keys: Any) -> FewShot:
    return FewShot(FewShot.Config(**{**KEYS, **keys}), tiny_points(), data)


@pytest.mark.parametrize("classifier", ["svm", "knn", "finetune"])
def test_places_are_told_apart(classifier: str) -> None:
    data = placed_data(noise=0.05)
    task = _task(data, classifier=classifier, cost=1.0, finetune_lr=0.05)
    before = state_of(task)
    shapes = batches(task, data, "test")
    state = torch.random.get_rng_state()
    figures = task.evaluate(shapes)
    assert figures["accuracy"] > 0.9 and len(figures["episodes"]) == 4
    assert same_state(task, before) and torch.equal(torch.random.get_rng_state(), state)
    assert not any(p.grad is not None for p in task.student.parameters())
    assert task.evaluate(shapes) == figures
    assert "3 ways, 2 shots, 2 queries" in task.protocol


@pytest.mark.parametrize("classifier", ["svm", "knn", "finetune"])
def test_mean_and_deviation_over_episodes(classifier: str) -> None:
    data = placed_data(noise=1.5)
    task = _task(data, classifier=classifier, finetune_steps=2, ways=2)
    shapes = batches(task, data, "test")
    figures = task.evaluate(shapes)
    values = [episode["accuracy"] for episode in figures["episodes"]]
    assert figures["accuracy"] == pytest.approx(statistics.fmean(values))
    assert figures["accuracy_deviation"] == pytest.approx(statistics.stdev(values))
    assert len(set(values)) > 1 and all(len(e["classes"]) == 2 for e in figures["episodes"])
    alone = _task(data, classifier=classifier, finetune_steps=2, ways=2, episodes=1)
    first = alone.evaluate(shapes)
    assert first["episodes"][0] == figures["episodes"][0]
    assert math.isnan(first["accuracy_deviation"])
    other = _task(data, classifier=classifier, finetune_steps=2, ways=2, episode_seed=9)
    assert other.evaluate(shapes)["episodes"] != figures["episodes"]


def test_knn_on_an_episode_by_hand() -> None:
    data = placed_data(noise=0.8)
    task = _task(data, classifier="knn", standardize=False, episodes=1)
    shapes = batches(task, data, "test")
    labels = [int(batch.label) for batch in shapes]
    episode = draw_episode(labels, ways=3, shots=2, queries=2)
    with torch.no_grad():
        rows = torch.cat([task.student.eval()(batch.points).pooled for batch in shapes])
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    said = episode.support_label[(unit[episode.query] @ unit[episode.support].T).argmax(1)]
    wanted = (said == episode.query_label).double().mean().item()
    assert task.evaluate(shapes)["accuracy"] == pytest.approx(wanted)


def test_votes_of_neighbours() -> None:
    bank = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 1]])
    labels = torch.tensor([0, 1, 1, 0])
    query = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert nearest_classes(bank, labels, query, 1, 2).tolist() == [0, 1]
    assert nearest_classes(bank, labels, query, 2, 2).tolist() == [0, 1]  # tied: the nearer one
    assert nearest_classes(bank, torch.tensor([0, 1, 1, 1]), query, 3, 2).tolist() == [1, 1]
    assert nearest_classes(bank, labels, query, 99, 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ways": 4}, "needs 4 classes of 4 shapes; 3 of 3 classes have as many"),
        ({"shots": 3}, "needs 3 classes of 5 shapes; 0 of 3"),
        ({"queries": 30}, "needs 3 classes of 32 shapes"),
    ],
)
def test_more_than_there_is(keys: dict[str, int], message: str) -> None:
    data = placed_data()
    task = _task(data, **keys)
    with pytest.raises(ValueError, match=message):
        task.evaluate(batches(task, data, "test"))


@pytest.mark.parametrize(
    "keys", [{"ways": 1}, {"shots": 0}, {"cost": 0.0}, {"classifier": "tree"}, {"finetune_lr": 0.0}]
)
def test_keys_that_cannot_be(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(keys))} is"):
        FewShot.Config(**keys)


def test_nothing_is_trained() -> None:
    data = placed_data()
    task = _task(data)
    before = state_of(task)
    task.train()
    loss = task(task.collate(batches(task, data, "train"))).loss
    loss.backward()
    assert loss.item() == 0 and same_state(task, before) and not task.student.training
