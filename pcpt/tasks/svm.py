"""Linear support vector machines by scikit-learn, as plain weights that a run can save.
Registers no task."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KINDS = ("one_vs_rest", "one_vs_one")
_MAX_ITERATIONS = 20_000


class Machine(NamedTuple):
    """A trained linear machine for C classes.

    Attributes:
        weight: (R, D) float64; R is C for one_vs_rest and C (C - 1) / 2 pairs, in the order of
            ``pairs_of``, for one_vs_one. Rows of classes without training shapes are zero.
        bias: (R,) float64.
        present: (C,) bool, classes that had training shapes; no other is ever predicted.
    """

    weight: Tensor
    bias: Tensor
    present: Tensor


def num_rows(kind: str, classes: int) -> int:
    """R of ``Machine``."""
    return classes if kind == "one_vs_rest" else classes * (classes - 1) // 2


def pairs_of(classes: int) -> Tensor:
    """(C (C - 1) / 2, 2) int64: (0, 1), (0, 2), ... (C - 2, C - 1)."""
    return torch.combinations(torch.arange(classes))


def fit_machine(features: Tensor, labels: Tensor, cost: float, kind: str, classes: int) -> Machine:
    """The machine of some labelled features; the same for the same input.

    With a single class among the labels the machine always predicts that class.

    Args:
        features: (S, D) floating, S >= 1.
        labels: (S,) int64 in 0..classes - 1.
        cost: C of the machine, > 0.
        kind: one_vs_rest (squared hinge, liblinear) or one_vs_one (hinge, libsvm: what the
            literature's ``SVC(kernel="linear")`` is).
        classes: C.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    found = labels.unique()
    present = torch.zeros(classes, dtype=torch.bool)
    present[found] = True
    weight = torch.zeros(num_rows(kind, classes), features.shape[1], dtype=torch.float64)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    if len(found) > 1:
        weights, biases = _solve(
            features.double().numpy(), labels.numpy(), cost, kind, one=len(found) == 2
        )
        rows = found if kind == "one_vs_rest" else _rows_of_pairs(found, classes)
        weight[rows], bias[rows] = torch.from_numpy(weights), torch.from_numpy(biases)
    return Machine(weight, bias, present)


def _rows_of_pairs(found: Tensor, classes: int) -> Tensor:
    place = {pair: row for row, pair in enumerate(map(tuple, pairs_of(classes).tolist()))}
    among = torch.combinations(found).tolist()
    return torch.tensor([place[first, second] for first, second in among])


def _solve(
    features: np.ndarray, labels: np.ndarray, cost: float, kind: str, *, one: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases, for each class that there is or each pair of them; positive means the
    class, or the first of the pair."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import SVC, LinearSVC
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "support vector machines need scikit-learn: pip install 'pcpt[objects]'"
        ) from error
    with warnings.catch_warnings():
        # a machine that has not fully converged is a machine: it is scored like any other
        warnings.simplefilter("ignore", ConvergenceWarning)
        if kind == "one_vs_rest":
            # random_state 0: liblinear visits rows in random order
            machine = LinearSVC(C=cost, random_state=0, max_iter=_MAX_ITERATIONS)
            machine.fit(features, labels)
            weights, biases = machine.coef_, machine.intercept_
            if one:  # two classes are told apart by one row, positive for the second
                return np.vstack([-weights, weights]), np.concatenate([-biases, biases])
            return weights, biases
        machine = SVC(kernel="linear", C=cost).fit(features, labels)
    # libsvm's binary machine is positive for the second class, its others for the first
    sign = -1 if one else 1
    return sign * machine.coef_, sign * machine.intercept_


def predict(machine: Machine, features: Tensor, kind: str) -> Tensor:
    """(S,) int64 classes of (S, D) features: the highest score, or the most won pairs; the first
    class of equals."""
    values = features.double() @ machine.weight.T + machine.bias
    if kind == "one_vs_rest":
        scores = values
    else:
        classes = len(machine.present)
        pairs = pairs_of(classes)
        winner = torch.where(values > 0, pairs[:, 0], pairs[:, 1])
        counted = machine.present[pairs].all(1).double().expand_as(values)
        scores = torch.zeros(len(values), classes, dtype=torch.float64)
        scores.scatter_add_(1, winner, counted)
    return scores.masked_fill(~machine.present, -torch.inf).argmax(1)
