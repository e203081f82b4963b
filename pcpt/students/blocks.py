"""Building blocks of the sparse U-Nets: conv with norm, residual block, stage down, stage up."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from pcpt.sparse import BatchNorm, Conv3d, ConvTranspose3d, SparseTensor


class ConvNorm(nn.Module):
    """A convolution without bias, batch normalisation and, unless switched off, ReLU.

    Args:
        conv: any sparse convolution; the norm takes its output channels.
        momentum: of the running statistics, weight of the newest batch.
        sync: take batch statistics over all ranks.
        relu: rectify at the end.
    """

    def __init__(
        self, conv: Conv3d | ConvTranspose3d, momentum: float, sync: bool, *, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = BatchNorm(conv.out_channels, momentum=momentum, sync=sync)
        self.relu = relu

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) -> (M, C_out)."""
        x = self.norm(self.conv(x))
        # in place: no layer before a ReLU needs its own output to differentiate
        return x.replace(F.relu(x.features, inplace=True)) if self.relu else x


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions around a shortcut (He et al., CVPR 2016), voxels unchanged.

    The shortcut is the identity, or a 1x1x1 convolution with norm where the width changes.
    """

    def __init__(self, in_channels: int, out_channels: int, momentum: float, sync: bool) -> None:
        super().__init__()
        self.conv1 = ConvNorm(Conv3d(in_channels, out_channels, 3), momentum, sync)
        self.conv2 = ConvNorm(Conv3d(out_channels, out_channels, 3), momentum, sync, relu=False)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            pointwise = Conv3d(in_channels, out_channels, 1)
            self.shortcut = ConvNorm(pointwise, momentum, sync, relu=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) -> (N, C_out)."""
        residual = self.conv2(self.conv1(x))
        total = residual.features + self.shortcut(x).features
        return x.replace(F.relu(total, inplace=True))


def _blocks(
    in_channels: int, out_channels: int, num_blocks: int, momentum: float, sync: bool
) -> nn.Sequential:
    widths = [in_channels] + [out_channels] * num_blocks
    return nn.Sequential(*(BasicBlock(i, o, momentum, sync) for i, o in pairwise(widths)))


class DownStage(nn.Module):
    """Halves the resolution (kernel 2, stride 2, same width), then residual blocks to C_out."""

    def __init__(
        self, in_channels: int, out_channels: int, num_blocks: int, momentum: float, sync: bool
    ) -> None:
        super().__init__()
        self.down = ConvNorm(Conv3d(in_channels, in_channels, 2, stride=2), momentum, sync)
        self.blocks = _blocks(in_channels, out_channels, num_blocks, momentum, sync)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C_in) at stride s -> (M, C_out) at stride 2 s."""
        return self.blocks(self.down(x))


class UpStage(nn.Module):
    """Doubles the resolution (transposed, kernel 2, stride 2, to C_out), appends the encoder's
    features at that resolution, then residual blocks."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        num_blocks: int,
        momentum: float,
        sync: bool,
    ) -> None:
        super().__init__()
        self.up = ConvNorm(ConvTranspose3d(in_channels, out_channels, 2), momentum, sync)
        self.blocks = _blocks(
            out_channels + skip_channels, out_channels, num_blocks, momentum, sync
        )

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        """(M, C_in) at stride 2 s and (N, C_skip) at stride s -> (N, C_out) at stride s."""
        x = self.up(x)
        return self.blocks(x.replace(torch.cat((x.features, skip.features), dim=1)))
