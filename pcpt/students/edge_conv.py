"""EdgeConv, the layer of DGCNN, without ever holding an edge's features."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pcpt.ops import gather_max
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
        # statistics over all edges need more than the eight bits of bfloat16
        wide = torch.promote_types(flat.dtype, torch.float32)
        neighbor = (flat @ of_neighbor.T).to(wide)
        own = (flat @ (of_point - of_neighbor).T).to(wide)
        sign = torch.where(self.norm.weight.detach() < 0, -1.0, 1.0).to(neighbor.dtype)
        highest = sign * gather_max(sign * neighbor, rows) + own
        out = self._normalised(highest, neighbor, own, rows)
        out = F.leaky_relu(out, self.slope, inplace=True)
        return out.to(flat.dtype).view(*features.shape[:2], -1)

    def _normalised(self, highest: Tensor, neighbor: Tensor, own: Tensor, rows: Tensor) -> Tensor:
        """Batch norm of one edge a point by the statistics of all edges; of the past where the
        layer is not trained."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        if not norm.training:
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            return torch.addcmul(norm.bias - norm.running_mean * scale, highest, scale)
        mean, variance = _EdgeStatistics.apply(neighbor, own, rows)
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked += 1
            # without a momentum the mean over all batches, as in torch
            share = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
            count = rows.numel()
            norm.running_mean.lerp_(mean.to(norm.running_mean), float(share))
            unbiased = variance * (count / max(1, count - 1))
            norm.running_var.lerp_(unbiased.to(norm.running_var), float(share))
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return torch.addcmul(norm.bias - mean * scale, highest, scale)


class _EdgeStatistics(torch.autograd.Function):
    """Mean and variance over all edges (i, j) of ``neighbor[j] + own[i]``, channel by channel."""

    @staticmethod
    def forward(ctx: Any, neighbor: Tensor, own: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        k, count = rows.shape[1], rows.numel()
        degree = torch.bincount(rows.flatten(), minlength=len(neighbor)).to(neighbor.dtype)
        neighbor_mean = (degree @ neighbor) / count
        own_mean = own.mean(0)
        around = neighbor - neighbor_mean  # centred first: squares of large numbers cancel badly
        beside = own - own_mean
        total = F.embedding_bag(rows, around, mode="sum")
        # what a point has as neighbour, as centre, and as both
        squares = degree @ around.square() + (beside * (2 * total + k * beside)).sum(0)
        ctx.save_for_backward(around, beside, total, degree, rows)
        return neighbor_mean + own_mean, (squares / count).clamp(min=0)

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]
        ctx: Any, of_mean: Tensor, of_variance: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        around, beside, total, degree, rows = ctx.saved_tensors
        k, count = rows.shape[1], rows.numel()
        slope = of_variance * (2 / count)
        # the sum of ``beside`` over the points that a point is a neighbour of
        transposed = torch.zeros_like(beside)
        for column in rows.unbind(1):
            transposed.index_add_(0, column, beside)
        weight = degree[:, None]
        to_neighbor = (weight * around + transposed) * slope + weight * (of_mean / count)
        to_own = (total + k * beside) * slope + of_mean * (k / count)
        return to_neighbor, to_own, None
