"""The convolutions that a U-Net does on some voxels: their sizes, and each by itself."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pcpt.benchmark.baselines.gemms import ConvShape
from pcpt.ops import kernel_map
from pcpt.ops.kernel_map import kernel_offsets
from pcpt.sparse import Conv3d, ConvTranspose3d, SparseTensor


@dataclass
class LayerRecord:
    """One convolution as it was called.

    Attributes:
        shape: what it multiplies.
        module: the layer.
        x: its voxels, with the maps of the pass.
        num_out: rows of its output.
    """

    shape: ConvShape
    module: nn.Module
    x: SparseTensor
    num_out: int

    def random_input(self, dtype: torch.dtype) -> Tensor:
        """(N_in, C_in) features."""
        size = (len(self.x.coordinates), self.shape.in_channels)
        return torch.randn(size, device=self.x.coordinates.device).to(dtype)

    def forward(self, features: Tensor) -> Tensor:
        """(N_out, C_out): the layer by itself, its map already made."""
        return self.module(self.x.replace(features)).features

    def moved_bytes(self, dtype: torch.dtype) -> int:
        """What forward and backward pass read and write at the least: features and output thrice
        (the pass itself and its two gradients), weights thrice, the map once a product."""
        shape, num_in = self.shape, len(self.x.coordinates)
        values = num_in * shape.in_channels + self.num_out * shape.out_channels
        values += len(shape.pairs) * shape.in_channels * shape.out_channels
        # a pointwise layer has no map
        entries = len(shape.pairs) * self.num_out if len(shape.pairs) > 1 else 0
        return 3 * (values * torch.empty((), dtype=dtype).element_size() + 4 * entries)


def record_layers(network: nn.Module, x: SparseTensor) -> list[LayerRecord]:
    """Every convolution of one forward pass, in order; gradients are the caller's affair."""
    found: list[LayerRecord] = []
    counts: dict[tuple[int, int, int, int], tuple[int, ...]] = {}

    def hook(name: str) -> Any:
        def record(module: Any, inputs: tuple[SparseTensor], out: SparseTensor) -> None:
            pairs = _pairs(module, inputs[0], out, counts)
            shape = ConvShape(pairs, module.in_channels, module.out_channels, name)
            found.append(LayerRecord(shape, module, inputs[0], len(out.coordinates)))

        return record

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in network.named_modules()
        if isinstance(module, (Conv3d, ConvTranspose3d))
    ]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _pairs(
    module: Any,
    x: SparseTensor,
    out: SparseTensor,
    counts: dict[tuple[int, int, int, int], tuple[int, ...]],
) -> tuple[int, ...]:
    """How many rows each tap joins; a transposed layer joins those of the strided one."""
    fine, coarse = (x, out) if x.stride <= out.stride else (out, x)
    key = (fine.stride, coarse.stride, module.kernel_size, module.dilation)
    if key not in counts:
        offsets = kernel_offsets(module.kernel_size, module.dilation * fine.stride)
        neighbors = kernel_map(fine.coordinates, coarse.coordinates, offsets)
        counts[key] = tuple((neighbors >= 0).sum(1).tolist())
    return counts[key]
