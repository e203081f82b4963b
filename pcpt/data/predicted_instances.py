"""What instance segmentation says of a scene: the contract between the task that predicts, the
metric that scores and the export that writes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PredictedInstances:
    """P objects of one scene of N points, by falling score.

    Attributes:
        masks: (P, N) bool, the points of each object; objects may share points.
        labels: (P,) int64, class index in the label set.
        scores: (P,) float32, finite, in falling order; how sure the network is.

    Raises:
        ValueError: a dtype or shape that differs from the above, a negative label, scores that are
            not finite or rise.
    """

    masks: Tensor
    labels: Tensor
    scores: Tensor

    def __post_init__(self) -> None:
        count = len(self.labels)
        for name, tensor, dtype, shape in (
            ("masks", self.masks, torch.bool, (count, *self.masks.shape[1:2])),
            ("labels", self.labels, torch.int64, (count,)),
            ("scores", self.scores, torch.float32, (count,)),
        ):
            if tensor.dtype != dtype or tuple(tensor.shape) != shape:
                raise ValueError(
                    f"predicted instances: {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                    f"expected {dtype} {shape}"
                )
        if self.masks.dim() != 2:
            raise ValueError(
                f"predicted instances: masks are {tuple(self.masks.shape)}, not (P, N)"
            )
        if count and int(self.labels.min()) < 0:
            raise ValueError(f"predicted instances: labels hold {int(self.labels.min())}")
        if not bool(self.scores.isfinite().all()) or bool((self.scores.diff() > 0).any()):
            raise ValueError("predicted instances: scores must be finite, the highest first")

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def sorted(masks: Tensor, labels: Tensor, scores: Tensor) -> "PredictedInstances":
        """Objects in any order, put by falling score; those of equal score keep their order."""
        order = torch.argsort(scores, descending=True, stable=True)
        return PredictedInstances(masks[order], labels[order], scores[order])

    def point_instances(self) -> Tensor:
        """(N,) int64: for each point the object of the highest score that holds it, or -1."""
        # argmax finds the first of equal values, and the first object scores highest
        if not len(self):
            return torch.full((self.masks.shape[1],), -1)
        first = self.masks.to(torch.uint8).argmax(dim=0)
        return torch.where(self.masks.any(dim=0), first, -1)
