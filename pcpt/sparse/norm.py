"""Batch normalisation over voxels, on one device or over all ranks."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pcpt.sparse.tensor import SparseTensor


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of each channel over all voxels of the batch.

    Parameters, buffers and numbers are those of :class:`torch.nn.BatchNorm1d`, except that a
    training batch of fewer than two voxels, which has no variance, is normalised by the running
    statistics and leaves them as they are.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics.
        sync: take the statistics over the voxels of all ranks of ``torch.distributed``, on any
            backend. Equals one process with the joined batch.
    """

    # The base class allows None for these, this one does not.
    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, *, sync: bool = False
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.sync = sync

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C), same voxels."""
        return x.replace(self.normalize(x.features))

    def normalize(self, features: Tensor) -> Tensor:
        """(N, C) -> (N, C): the same of any rows, such as a head's seeds."""
        if self.training and self.sync and dist.is_initialized() and dist.get_world_size() > 1:
            return self._synchronised(features)
        if not self.training or len(features) > 1:
            return super().forward(features)
        return self._by_running_statistics(features)

    def _by_running_statistics(self, features: Tensor) -> Tensor:
        return nn.functional.batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _synchronised(self, features: Tensor) -> Tensor:
        wide = features if features.dtype == torch.float64 else features.float()
        count = wide.new_full((1,), len(wide))
        total = _SumOverRanks.apply(torch.cat([wide.sum(0), count]))
        count = total[-1].detach()
        if count < 2:
            return self._by_running_statistics(features)
        mean = total[:-1] / count
        centred = wide - mean  # a second pass: subtracting squares would cancel
        variance = _SumOverRanks.apply(centred.square().sum(0)) / count
        self._track(mean.detach(), variance.detach() * (count / (count - 1)))
        out = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return out.to(features.dtype)

    def _track(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        # as in torch, no momentum is the mean over all batches
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_variance)):
            running.lerp_(new.to(running), share)


class _SumOverRanks(torch.autograd.Function):
    """all_reduce whose gradient is the all_reduce of the gradients."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad
