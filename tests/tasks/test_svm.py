"""Support vector machines as plain weights: they say what scikit-learn's own say."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC, LinearSVC

from pcpt.tasks.svm import KINDS, fit_machine, pairs_of, predict


def _clouds(classes: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(7, 5, generator=generator)
    labels = torch.tensor([c for c in classes for _ in range(9)])
    return centers[labels] + 0.9 * torch.randn(len(labels), 5, generator=generator), labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3, 4], [1, 4], [0, 2, 5, 6]])
def test_as_scikit_learn_says(kind: str, classes: list[int]) -> None:
    for seed in range(3):
        features, labels = _clouds(classes, seed)
        queries, _ = _clouds(classes, seed + 100)
        for cost in (0.01, 1.0):
            machine = fit_machine(features, labels, cost, kind, 7)
            theirs = (
                LinearSVC(C=cost, random_state=0)
                if kind == "one_vs_rest"
                else SVC(kernel="linear", C=cost)
            ).fit(features.double().numpy(), labels.numpy())
            wanted = theirs.predict(queries.double().numpy())
            np.testing.assert_array_equal(predict(machine, queries, kind).numpy(), wanted)
            again = fit_machine(features, labels, cost, kind, 7)
            assert torch.equal(machine.weight, again.weight) and torch.equal(
                machine.bias, again.bias
            )


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_alone_is_always_said(kind: str) -> None:
    features, labels = _clouds([3], 0)
    machine = fit_machine(features, labels, 1.0, kind, 5)
    assert machine.present.tolist() == [False, False, False, True, False]
    assert predict(machine, -features, kind).unique().tolist() == [3]


def test_pairs() -> None:
    assert pairs_of(3).tolist() == [[0, 1], [0, 2], [1, 2]]
