"""pcpt's sparse U-Net rebuilt from the layers of spconv 2.x or spconv-triton, same weights: what a
training step of theirs costs. The voxels must lie at 0 or above, in cells that levels divide."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.sparse import ConvTranspose3d
from pcpt.students.blocks import BasicBlock, ConvNorm, DownStage, UpStage
from pcpt.students.sparse_unet import SparseUNet


class _ConvNorm(nn.Module):
    """``ConvNorm`` at a level; layers of a level share their pairs by key."""

    def __init__(self, library: Any, block: ConvNorm, level: int) -> None:
        super().__init__()
        conv = block.conv
        size, width_in, width_out = conv.kernel_size, conv.in_channels, conv.out_channels
        self.pointwise = size == 1
        if size == 1:  # a plain product, as pcpt has it
            self.conv = nn.Linear(width_in, width_out, bias=False)
        elif isinstance(conv, ConvTranspose3d):
            self.conv = library.SparseInverseConv3d(
                width_in, width_out, size, indice_key=f"between{level}", bias=False
            )
        elif conv.stride > 1:
            self.conv = library.SparseConv3d(
                width_in, width_out, size, stride=size, indice_key=f"between{level}", bias=False
            )
        else:
            key = f"within{level}_{size}"
            self.conv = library.SubMConv3d(
                width_in, width_out, size, padding=size // 2, indice_key=key, bias=False
            )
        grid = conv.weight.detach().reshape(size, size, size, width_in, width_out)
        with torch.no_grad():
            weight = grid.permute(4, 0, 1, 2, 3)
            self.conv.weight.copy_(weight.flatten(1) if size == 1 else weight)
        self.norm = nn.BatchNorm1d(width_out, block.norm.eps, block.norm.momentum)
        self.norm.load_state_dict(block.norm.state_dict())
        self.relu = block.relu

    def forward(self, x: Any) -> Any:
        x = x.replace_feature(self.conv(x.features)) if self.pointwise else self.conv(x)
        out = self.norm(x.features)
        return x.replace_feature(F.relu(out, inplace=True) if self.relu else out)


class _Block(nn.Module):
    def __init__(self, library: Any, block: BasicBlock, level: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(library, block.conv1, level)
        self.conv2 = _ConvNorm(library, block.conv2, level)
        changes = isinstance(block.shortcut, ConvNorm)
        self.shortcut = _ConvNorm(library, block.shortcut, level) if changes else None  # type: ignore[arg-type]

    def forward(self, x: Any) -> Any:
        residual = self.conv2(self.conv1(x))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        total = residual.features + shortcut.features
        return residual.replace_feature(F.relu(total, inplace=True))


class SpconvUNet(nn.Module):
    """The network of a student.

    Args:
        library: ``spconv.pytorch`` or ``spconv_triton.pytorch``.
        student: gives widths and weights.
    """

    def __init__(self, library: Any, student: SparseUNet) -> None:
        super().__init__()
        self._library = library
        self.stem = _ConvNorm(library, student.stem, 0)
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, stage in enumerate(student.encoder):
            assert isinstance(stage, DownStage)
            self.down.append(_ConvNorm(library, stage.down, level))
            self.encoder.append(_blocks(library, stage.blocks, level + 1))
        depth = len(student.encoder)
        for level, stage in zip(reversed(range(depth)), student.decoder):
            assert isinstance(stage, UpStage)
            self.up.append(_ConvNorm(library, stage.up, level))
            self.decoder.append(_blocks(library, stage.blocks, level))

    def forward(self, features: Tensor, voxels: Tensor) -> Tensor:
        """(N, C_in) features of (N, 4) int32 voxels -> (N, feature_channels), same order."""
        depth = len(self.down)
        edges = [((int(edge) >> depth) + 1) << depth for edge in voxels[:, 1:].amax(0)]
        batch = int(voxels[:, 0].max()) + 1
        x = self.stem(self._library.SparseConvTensor(features, voxels, edges, batch))
        skips = []
        for down, blocks in zip(self.down, self.encoder):
            skips.append(x)
            x = blocks(down(x))
        for up, blocks in zip(self.up, self.decoder):
            x = up(x)
            joined = torch.cat((x.features, skips.pop().features), dim=1)
            x = blocks(x.replace_feature(joined))
        return x.features


def _blocks(library: Any, blocks: nn.Sequential, level: int) -> nn.Sequential:
    made = (_Block(library, block, level) for block in blocks if isinstance(block, BasicBlock))
    return nn.Sequential(*made)
