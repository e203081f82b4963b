"""The matrix products of a sparse convolution alone: the limit that its BLAS sets."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ConvShape(NamedTuple):
    """What a convolution multiplies.

    Attributes:
        pairs: number of (input, output) rows that each tap joins.
        in_channels: C_in.
        out_channels: C_out.
        name: for tables.
    """

    pairs: tuple[int, ...]
    in_channels: int
    out_channels: int
    name: str = ""

    @property
    def flops(self) -> int:
        """Of the forward pass; the backward pass takes twice as many."""
        return 2 * sum(self.pairs) * self.in_channels * self.out_channels


class Gemms:
    """Dense products of the sizes of some convolutions, on buffers that they share: nothing is
    gathered, scattered or allocated.

    Args:
        shapes: of the convolutions.
        dtype: of the operands.
        device: where.
        backward: do the two products of the backward pass as well.
    """

    def __init__(
        self,
        shapes: Sequence[ConvShape],
        dtype: torch.dtype,
        device: torch.device,
        *,
        backward: bool,
    ) -> None:
        self._backward = backward
        self._taps: list[tuple[Tensor, ...]] = []
        rows = max((max(shape.pairs, default=0) for shape in shapes), default=0)
        buffers: dict[tuple[str, int], Tensor] = {}

        def buffer(role: str, width: int) -> Tensor:
            if (role, width) not in buffers:
                buffers[role, width] = torch.randn((rows, width), device=device).to(dtype)
            return buffers[role, width]

        for shape in shapes:
            weight = torch.randn(shape.in_channels, shape.out_channels, device=device).to(dtype)
            grad_weight = torch.empty_like(weight)
            # read and written buffers are apart, so that values stay as they are
            wide = [
                buffer("features", shape.in_channels),
                buffer("grad features", shape.in_channels),
                buffer("out", shape.out_channels),
                buffer("grad out", shape.out_channels),
            ]
            self._taps += [
                (weight, grad_weight, *(tensor[:count] for tensor in wide))
                for count in shape.pairs
                if count
            ]

    @torch.no_grad()
    def __call__(self, number: int = 0) -> None:
        """Does all of them once."""
        for weight, grad_weight, features, grad_features, out, grad_out in self._taps:
            torch.mm(features, weight, out=out)
            if self._backward:
                torch.mm(grad_out, weight.T, out=grad_features)
                torch.mm(features.T, grad_out, out=grad_weight)
