"""Multi-layer perceptrons over rows, normalised as the sparse layers are."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.sparse import BatchNorm


class Layer(nn.Module):
    """Linear without bias, batch normalisation, ReLU.

    Args:
        in_channels, out_channels: widths.
        momentum: of the running statistics.
        sync: batch statistics over all ranks.
    """

    def __init__(self, in_channels: int, out_channels: int, momentum: float, sync: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = BatchNorm(out_channels, momentum=momentum, sync=sync)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        return F.relu(self.norm.normalize(self.linear(rows)))


def perceptron(widths: list[int], momentum: float, sync: bool) -> nn.Sequential:
    """Layers from each width to the next."""
    return nn.Sequential(*(Layer(i, o, momentum, sync) for i, o in pairwise(widths)))
