"""Lovasz-Softmax: a differentiable stand-in for the mean IoU (Berman et al., CVPR 2018)."""

import torch
from torch import Tensor


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """The Lovasz extension of the Jaccard loss, averaged over the classes in ``target``.

    Args:
        probabilities: (N, C) floating point, rows sum to 1.
        target: (N,) int64, class; -1 is left out.

    Returns:
        Scalar in [0, 1]; zero, with zero gradient, where nothing is labelled.

    Raises:
        ValueError: shapes that do not fit together.
    """
    if probabilities.ndim != 2 or target.shape != probabilities.shape[:1]:
        raise ValueError(
            f"probabilities are {tuple(probabilities.shape)}, target {tuple(target.shape)}, "
            "expected (N, C) and (N,)"
        )
    labelled = target >= 0
    probabilities, target = probabilities[labelled], target[labelled]
    if not len(target):
        return probabilities.sum() * 0
    present = target.unique()
    belongs = (target[:, None] == present[None, :]).to(probabilities.dtype)
    errors = (belongs - probabilities[:, present]).abs()
    sorted_errors, order = errors.sort(0, descending=True)
    weights = _jaccard_gradient(belongs.gather(0, order))
    return (sorted_errors * weights).sum(0).mean()


def _jaccard_gradient(belongs: Tensor) -> Tensor:
    """By how much the Jaccard loss of each column grows as one more row counts as an error."""
    total = belongs.sum(0)
    missed = belongs.cumsum(0)
    wrong = (1 - belongs).cumsum(0)
    jaccard = 1 - (total - missed) / (total + wrong)
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
