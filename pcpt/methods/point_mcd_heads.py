"""The heads that PointMCD trains with labels, beside the distillation (arXiv 2207.03128)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.data.shape_batch import ShapeBatch
from pcpt.students.point_network import Encoded, RowNorm, SharedLayers

SLOPE = 0.2


class ClassHead(nn.Module):
    """A layer with norm and ReLU on the maximum over all points, and a linear classifier without
    bias; the layer is not shared with the views.

    Args:
        in_channels: of a shape's embedding.
        hidden: of the layer.
        classes: their number.
    """

    def __init__(self, in_channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            nn.Linear(in_channels, hidden, bias=False), RowNorm(hidden), nn.ReLU()
        )
        self.classifier = nn.Linear(hidden, classes, bias=False)

    def forward(self, encoded: Encoded) -> Tensor:
        """(B, classes)."""
        return self.classifier(self.layer(encoded.pooled))

    def loss(self, logits: Tensor, batch: ShapeBatch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy over shapes with a label; zeros where there are none."""
        return _cross_entropy(logits, batch.label, smoothing)


class PartHead(nn.Module):
    """DGCNN's: at each point what is near it, the whole shape and a vector of its class, through
    256-256-128.

    Args:
        local_channels: of the points' surroundings.
        pooled_channels: of a shape's embedding.
        classes: their number.
        parts: number of global parts.
        width: factor of the widths.
    """

    def __init__(
        self, local_channels: int, pooled_channels: int, classes: int, parts: int, width: float
    ) -> None:
        super().__init__()
        wide, narrow = max(8, round(256 * width)), max(8, round(128 * width))
        category = max(8, round(64 * width))
        self.classes = classes
        self.category = SharedLayers(classes, category, slope=SLOPE)
        channels = local_channels + pooled_channels + category
        self.first = SharedLayers(channels, wide, slope=SLOPE)
        self.second = SharedLayers(wide, wide, slope=SLOPE)
        self.third = SharedLayers(wide, narrow, slope=SLOPE)
        self.last = nn.Linear(narrow, parts)

    def forward(self, encoded: Encoded, label: Tensor) -> Tensor:
        """(B, N, parts); a label of -1 is a vector of zeros."""
        assert encoded.local is not None
        known = (label >= 0)[:, None]
        one_hot = F.one_hot(label.clamp(min=0), self.classes).to(encoded.pooled.dtype) * known
        whole = torch.cat([encoded.pooled, self.category(one_hot)], 1)
        shared = whole[:, None].expand(-1, encoded.local.shape[1], -1)
        rows = self.first(torch.cat([encoded.local, shared], 2))
        rows = F.dropout(rows, 0.5, self.training)
        rows = F.dropout(self.second(rows), 0.5, self.training)
        return self.last(self.third(rows))

    def loss(self, logits: Tensor, batch: ShapeBatch, smoothing: float) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy over points with a part; zeros where there are none."""
        return _cross_entropy(logits.flatten(0, 1), batch.parts.flatten(), smoothing)


def _cross_entropy(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    labelled = target >= 0
    logits, target = logits[labelled].float(), target[labelled]
    if not len(target):
        zero = logits.sum() * 0
        return zero, zero.detach()
    right = (logits.argmax(1) == target).float().mean()
    return F.cross_entropy(logits, target, label_smoothing=smoothing), right
