"""Sparse convolution in plain PyTorch: for each tap gather, multiply, scatter (Graham et al., "3D
Semantic Segmentation with Submanifold Sparse Convolutional Networks", CVPR 2018; Choy et al., "4D
Spatio-Temporal ConvNets", CVPR 2019). Autograd makes the backward pass."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class TapPairs(NamedTuple):
    """Rows that one tap joins: ``in_rows[i]`` contributes to ``out_rows[i]``; int64."""

    in_rows: Tensor
    out_rows: Tensor


def tap_pairs(neighbors: Tensor) -> list[TapPairs]:
    """The pairs of each tap of a (K, N_out) kernel map: made once, with the map."""
    pairs = []
    for rows in neighbors:
        out_rows = (rows >= 0).nonzero().squeeze(1)
        pairs.append(TapPairs(rows[out_rows].long(), out_rows))
    return pairs


def gather_multiply_scatter(
    features: Tensor, weight: Tensor, pairs: Sequence[TapPairs], num_out: int
) -> Tensor:
    """(N_out, C_out) from features (N_in, C_in) and weight (K, C_in, C_out)."""
    out = features.new_zeros(num_out, weight.shape[2])
    for (in_rows, out_rows), tap in zip(pairs, weight):
        if len(in_rows):
            out = out.index_add(0, out_rows, features[in_rows] @ tap)
    return out
