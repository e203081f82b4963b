"""EdgeConv, the layer of DGCNN, without ever holding an edge's features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.students.point_network import rows_of


class EdgeConv(nn.Module):
    """A linear layer on every edge of a graph, batch norm, leaky ReLU, and the maximum over the
    edges of each point (Wang et al., Dynamic Graph CNN, TOG 2019, arXiv 1801.07829).

    The layer's input is ``(x_j - x_i, x_i)`` for the edge from point i to neighbour j. With its
    matrix in two halves ``(P, Q)`` the output is ``P x_j + (Q - P) x_i``: one product a point
    instead of one an edge. Norm and activation are monotone in each channel, so that they follow
    the maximum (the minimum where the norm's weight is negative), and the norm's statistics over
    all edges follow from sums over neighbours. The result is that of the plain layer; k times less
    arithmetic and memory.

    Args:
        in_channels: C.
        out_channels: C'.
        slope: of the activation below zero.
    """

    def __init__(self, in_channels: int, out_channels: int, slope: float = 0.2) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)
        self.slope = slope

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        """
        Args:
            features: (B, N, C).
            index: (B, N, k) int64 neighbours of each point within its cloud, none missing.

        Returns:
            (B, N, C').
        """
        flat = features.reshape(-1, features.shape[-1])
        rows = rows_of(index, features.shape[1]).reshape(-1, index.shape[-1])
        of_neighbor, of_point = self.linear.weight.chunk(2, dim=1)
        neighbor = flat @ of_neighbor.T
        own = flat @ (of_point - of_neighbor).T
        mean, variance = self._statistics(neighbor, own, rows)
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        sign = torch.where(self.norm.weight.detach() < 0, -1.0, 1.0).to(neighbor.dtype)
        highest = sign * F.embedding_bag(rows, sign * neighbor, mode="max")
        out = (highest + own - mean) * scale + self.norm.bias
        return F.leaky_relu(out, self.slope).view(*features.shape[:2], -1)

    def _statistics(self, neighbor: Tensor, own: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over all edges; of the past where it is not trained."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        if not norm.training:
            return norm.running_mean, norm.running_var
        k, count = rows.shape[1], rows.numel()
        degree = torch.bincount(rows.flatten(), minlength=len(neighbor)).to(neighbor.dtype)[:, None]
        neighbor_mean = (degree * neighbor).sum(0) / count
        own_mean = own.mean(0)
        around = neighbor - neighbor_mean  # centred first: squares of large numbers cancel badly
        beside = own - own_mean
        total = F.embedding_bag(rows, around, mode="sum")
        squares = (degree * around.square() + 2 * beside * total + k * beside.square()).sum(0)
        mean, variance = neighbor_mean + own_mean, (squares / count).clamp(min=0)
        with torch.no_grad():
            assert norm.num_batches_tracked is not None and norm.momentum is not None
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / max(1, count - 1)), norm.momentum)
        return mean, variance
