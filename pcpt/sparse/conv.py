"""Sparse convolution layers: submanifold (stride 1), strided, and transposed."""

import math

import torch
from torch import Tensor, nn

from pcpt.ops.sparse_conv import sparse_conv
from pcpt.sparse.maps import KernelMap
from pcpt.sparse.tensor import SparseTensor


class _Conv(nn.Module):
    """Parameters and arithmetic common to both directions; subclasses choose the map."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        dilation: int,
        bias: bool,
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "kernel_size": kernel_size,
            "stride": stride,
            "dilation": dilation,
        }
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{type(self).__name__}: {name} must be >= 1, got {value}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(kernel_size**3, in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        # changes the weight that is used, such as pcpt.students.adapters.LowRank
        self.adapter: nn.Module | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1 / sqrt(fan in), as torch.nn.Conv3d."""
        bound = 1 / math.sqrt(self.weight.shape[0] * self.in_channels)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def _convolve(self, features: Tensor, kernel_map: KernelMap | None) -> Tensor:
        if features.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} expects {self.in_channels} channels, "
                f"got {features.shape[1]}"
            )
        weight = self.weight if self.adapter is None else self.adapter(self.weight)
        if kernel_map is None:
            out = features @ weight[0]
        else:
            with_gradient = torch.is_grad_enabled()
            out = sparse_conv(
                features,
                weight,
                kernel_map.neighbors,
                kernel_map.inverse if with_gradient else None,
                plan=kernel_map.plan,
                inverse_plan=kernel_map.inverse_plan if with_gradient else None,
            )
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, dilation={self.dilation}, bias={self.bias is not None}"
        )


class Conv3d(_Conv):
    """Sparse 3D convolution: ``out[u] = sum_k x[u + d_k] W[k]``, over the voxels present.

    With ``stride=1`` the output has the input's voxels in the input's row order (submanifold
    convolution, Graham et al., CVPR 2018); otherwise those of the next coarser grid, with voxels
    ``floor(c / s) * s`` where ``s = stride * input stride``. Odd kernels are centred, even ones
    reach forward from the voxel.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: edge of the cubic kernel.
        stride: factor between the input's and the output's tensor stride.
        dilation: spacing of the taps in units of the input's tensor stride.
        bias: add a learned (C_out,) vector.

    ``weight`` is (K, C_in, C_out), taps in lexicographic order, x slowest
    (:func:`pcpt.ops.kernel_map.kernel_offsets`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, bias=bias
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) at stride s -> (M, C_out) at stride s * ``stride``."""
        out_stride = x.stride * self.stride
        pointwise = self.kernel_size == 1 and self.stride == 1
        kernel_map = (
            None if pointwise else x.maps.get(x.stride, out_stride, self.kernel_size, self.dilation)
        )
        return x.at_stride(self._convolve(x.features, kernel_map), out_stride)


class ConvTranspose3d(_Conv):
    """Transposed sparse convolution: ``out[u + d_k] += x[u] W[k]``, back to the finer voxels.

    The output has all voxels of stride ``input stride / stride`` that the family knows, in their
    original row order; the kernel map is that of the strided convolution, roles swapped. Arguments
    as :class:`Conv3d`; ``dilation`` counts in units of the output's tensor stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 2,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride=stride, dilation=dilation, bias=bias
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(M, C_in) at stride s -> (N, C_out) at stride s / ``stride``.

        Raises:
            ValueError: s is not a multiple of ``stride``, or no finer voxels are known.
        """
        if x.stride % self.stride:
            raise ValueError(
                f"ConvTranspose3d of stride {self.stride} got a tensor of stride {x.stride}, "
                "which is not a multiple"
            )
        out_stride = x.stride // self.stride
        kernel_map = x.maps.get(out_stride, x.stride, self.kernel_size, self.dilation).swapped()
        return x.at_stride(self._convolve(x.features, kernel_map), out_stride)
