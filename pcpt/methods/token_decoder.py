"""The decoder of hierarchical masked autoencoders: from the visible tokens to all tokens of a finer
scale. It belongs to pretraining and is thrown away after it."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pcpt.students.point_network import RowNorm, propagate
from pcpt.students.point_tokens import TokenScale
from pcpt.students.point_transformer import Blocks, drop_path_rates, init_transformer


class Merge(nn.Module):
    """Features carried down from the coarser scale joined with the encoder's of this one: a layer,
    then two with a residual."""

    def __init__(self, coarse: int, own: int) -> None:
        super().__init__()
        self.fuse = nn.Sequential(nn.Linear(coarse + own, own), RowNorm(own), nn.GELU())
        self.refine = nn.Sequential(
            nn.Linear(own, own), RowNorm(own), nn.GELU(), nn.Linear(own, own), RowNorm(own)
        )
        self.activation = nn.GELU()

    def forward(self, carried: Tensor, own: Tensor) -> Tensor:
        """(B, M, C'), (B, M, C) -> (B, M, C)."""
        fused = self.fuse(torch.cat([own, carried], dim=2).flatten(0, 1))
        return self.activation(self.refine(fused) + fused).view(own.shape)


class TokenDecoder(nn.Module):
    """Point-M2AE's decoder (arXiv 2205.14401): blocks over the coarsest tokens, one learnt token in
    the place of the masked ones; then, scale by scale, features carried to the finer tokens by the
    three nearest, the encoder's visible ones added, and blocks again.

    Args:
        dims: channels of the encoder's scales, from fine to coarse; the decoder has the same.
        depths: blocks of each stage, the first at the coarsest scale.
        heads: of the attention.
        mlp_ratio: as of ``Blocks``.
        drop_path: highest rate.
    """

    def __init__(
        self,
        dims: Sequence[int],
        depths: Sequence[int],
        *,
        heads: int,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        if not 1 <= len(depths) <= len(dims):
            raise ValueError(
                f"method.decoder_depths is {list(depths)}, expected one number for each stage, at "
                f"most one for each of the student's {len(dims)} scales"
            )
        widths = [*reversed(dims)][: len(depths)]
        rates = drop_path_rates(drop_path, list(depths))
        self.mask_token = nn.Parameter(torch.zeros(widths[0]))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.stages = nn.ModuleList(
            Blocks(width, heads, mlp_ratio, rate) for width, rate in zip(widths, rates, strict=True)
        )
        init_transformer(self.stages)
        self.merges = nn.ModuleList(Merge(a, b) for a, b in pairwise(widths))
        self.norm = nn.LayerNorm(widths[-1])
        self.out_channels = widths[-1]

    def forward(
        self, tokens: Sequence[Tensor], scales: Sequence[TokenScale], visible: Tensor
    ) -> Tensor:
        """Features of all tokens of the last stage's scale.

        Args:
            tokens: of the encoder, (B, M, C) for each scale, zero where not visible.
            scales: where they lie, from fine to coarse.
            visible: (B, M) bool, of the coarsest scale.

        Returns:
            (B, M', C').
        """
        masked = self.mask_token.to(tokens[-1].dtype)
        found = torch.where(visible[..., None], tokens[-1], masked)
        for stage, blocks in enumerate(self.stages):
            centers = scales[-1 - stage].centers
            if stage > 0:
                carried = propagate(centers, scales[-stage].centers, found)
                found = self.merges[stage - 1](carried, tokens[-1 - stage])
            found = blocks(found, centers.to(found.dtype))
        return self.norm(found)
