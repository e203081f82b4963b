"""Layers of the point transformers: tokens from groups of neighbours, attention among those that
are there, positions added before every block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.students.point_network import RowNorm


class GroupEmbedding(nn.Module):
    """One token of the features of K neighbours: layers at each, the maximum beside each, layers,
    the maximum.

    Args:
        in_channels: of a neighbour.
        middle: widths of the first two layers; the ones that follow are of twice the second, or of
            ``out_channels`` where ``narrow``.
        out_channels: of the token.
        narrow: see ``middle``.
    """

    def __init__(
        self, in_channels: int, middle: tuple[int, int], out_channels: int, narrow: bool
    ) -> None:
        super().__init__()
        first, second = middle
        wide = out_channels if narrow else 2 * second
        self.out_channels = out_channels
        self.first = nn.Sequential(
            nn.Linear(in_channels, first), RowNorm(first), nn.ReLU(), nn.Linear(first, second)
        )
        # a layer on (maximum, neighbour) side by side, in two parts: that on the maximum is the
        # same for all K neighbours
        self.of_each = nn.Linear(second, wide)
        self.of_group = nn.Linear(second, wide, bias=False)
        self.last = nn.Sequential(RowNorm(wide), nn.ReLU(), nn.Linear(wide, out_channels))

    def forward(self, groups: Tensor) -> Tensor:
        """(R, K, C) -> (R, C')."""
        count, size, _ = groups.shape
        if count == 0:
            return groups.new_zeros(0, self.out_channels)
        each = self.first(groups.flatten(0, 1))
        group = each.view(count, size, -1).amax(1)
        wide = self.of_each(each).view(count, size, -1) + self.of_group(group)[:, None]
        return self.last(wide.flatten(0, 1)).view(count, size, -1).amax(1)


class DropPath(nn.Module):
    """In training leaves out a residual branch for a sample with probability ``rate``, and scales
    the others so that the mean stays (Huang et al., arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> (B, ...)."""
        if not self.training or self.rate == 0:
            return branch
        kept = torch.rand(len(branch), *[1] * (branch.dim() - 1), device=branch.device) >= self.rate
        return branch * (kept.to(branch.dtype) / (1 - self.rate))


class Attention(nn.Module):
    """Self-attention of several heads, among the tokens that ``allowed`` pairs."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """(B, T, C), (B, T, T) bool or None for all -> (B, T, C)."""
        batch, count, channels = tokens.shape
        parts = self.qkv(tokens).view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = None if allowed is None else allowed[:, None]
        query, key, value = parts.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, channels))


class Block(nn.Module):
    """Pre-norm transformer block: attention, then two layers with GELU."""

    def __init__(self, channels: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        hidden = int(channels * mlp_ratio)
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, allowed: Tensor | None) -> Tensor:
        """(B, T, C), (B, T, T) bool or None -> (B, T, C)."""
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens), allowed))
        return tokens + self.drop_path(self.mlp(self.mlp_norm(tokens)))


class Blocks(nn.Module):
    """Blocks of one scale; the embedded positions are added before each.

    Args:
        channels: of the tokens.
        heads: of the attention.
        mlp_ratio: width of a block's hidden layer over ``channels``.
        drop_paths: one rate for each block.
    """

    def __init__(
        self, channels: int, heads: int, mlp_ratio: float, drop_paths: list[float]
    ) -> None:
        super().__init__()
        self.position = nn.Sequential(
            nn.Linear(3, channels), nn.GELU(), nn.Linear(channels, channels)
        )
        self.blocks = nn.ModuleList(Block(channels, heads, mlp_ratio, rate) for rate in drop_paths)

    def forward(self, tokens: Tensor, centers: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Tokens (B, T, C) at centres (B, T, 3); pairs that may attend, (B, T, T) bool or None."""
        position = self.position(centers)
        for block in self.blocks:
            tokens = block(tokens + position, allowed)
        return tokens


def drop_path_rates(highest: float, depths: list[int]) -> list[list[float]]:
    """Rates of every block of every scale: evenly from 0 to ``highest`` through the network."""
    rates = torch.linspace(0, highest, sum(depths)).tolist()
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


def init_transformer(module: nn.Module) -> None:
    """Linear layers by Glorot's rule, biases zero. I2P-MAE's deviation of 0.02 fits its own widths;
    in narrow networks it leaves so little of a group's shape that tokens tell where they are alone.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
