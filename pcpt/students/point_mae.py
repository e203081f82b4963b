"""The hierarchical point transformer of Point-M2AE (Zhang et al., NeurIPS 2022, arXiv 2205.14401)
and I2P-MAE (CVPR 2023, arXiv 2212.06785): tokens at several scales, each merged from the one
before. The decoder that pretraining needs is the method's and not part of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.registry import register
from pcpt.students.point_features import PointFeatures
from pcpt.students.point_network import Encoded, PointNetwork, gather_rows, propagate
from pcpt.students.point_tokens import TokenScale, gather_points, points_of_tokens, token_scales
from pcpt.students.point_transformer import (
    Blocks,
    GroupEmbedding,
    drop_path_rates,
    init_transformer,
)

POOLINGS = ("max", "max_mean")


@register("students", "point_mae")
class PointMAE(PointNetwork):
    """Point transformer over tokens of several scales.

    ``pooled`` is the maximum over the coarsest tokens (``pooling: max_mean`` puts their mean beside
    it); ``point`` are the tokens of all scales, side by side, each carried to the points by the
    three nearest. Normals are not looked at.

    Attributes:
        embedding_channels: of ``Encoded.embedding``.
    """

    @dataclass
    class Config:
        """The defaults are I2P-MAE's for pretraining.

        Attributes:
            num_tokens: centres of each scale, from fine to coarse.
            group_sizes: neighbours merged into a token. I2P-MAE fine-tunes with others than it
                pretrains with: 48, 24, 24 on ModelNet40, 32, 16, 16 on ScanObjectNN.
            dims: channels of the tokens of each scale.
            depths: transformer blocks of each scale.
            heads: of the attention.
            mlp_ratio: width of the blocks' hidden layer over their channels.
            embed_channels: width of the first layer of the smallest network, at the points: it has
                C, 2C, 4C and the tokens' channels.
            drop_path: highest rate at which blocks are left out in training; they rise evenly.
            local_radius: for each scale how near tokens must be to attend to each other, 0 for any
                distance; empty for any in all. I2P-MAE's for fine-tuning on ModelNet40: 0.24, 0.48,
                0.96.
            pooling: max or max_mean.
        """

        name: str = "point_mae"
        num_tokens: list[int] = field(default_factory=lambda: [512, 256, 64])
        group_sizes: list[int] = field(default_factory=lambda: [16, 8, 8])
        dims: list[int] = field(default_factory=lambda: [96, 192, 384])
        depths: list[int] = field(default_factory=lambda: [5, 5, 5])
        heads: int = 6
        mlp_ratio: float = 4.0
        embed_channels: int = 128
        drop_path: float = 0.1
        local_radius: list[float] = field(default_factory=list)
        pooling: str = "max"

        def __post_init__(self) -> None:
            _check_sizes(self)

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: sizes that do not fit each other.
        """
        super().__init__()
        self.config = config
        rates = drop_path_rates(config.drop_path, config.depths)
        before = [3, *config.dims[:-1]]
        self.embeddings = nn.ModuleList()
        self.stages = nn.ModuleList()
        self.norms = nn.ModuleList()
        for scale, channels in enumerate(config.dims):
            first = config.embed_channels
            middle = (before[scale], before[scale]) if scale else (first, 2 * first)
            self.embeddings.append(GroupEmbedding(before[scale], middle, channels, scale > 0))
            self.stages.append(Blocks(channels, config.heads, config.mlp_ratio, rates[scale]))
            self.norms.append(nn.LayerNorm(channels))
        init_transformer(self)
        self.point_channels = self.local_channels = sum(config.dims)
        self.embedding_channels = config.dims[-1]
        self.pooled_channels = config.dims[-1] * (2 if config.pooling == "max_mean" else 1)

    def scales(self, points: Tensor) -> list[TokenScale]:
        """The tokens of shapes (B, N, 3), from fine to coarse; raises as ``token_scales``."""
        return token_scales(points, self.config.num_tokens, self.config.group_sizes)

    def tokens(
        self, points: Tensor, scales: Sequence[TokenScale], visible: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Features of the tokens of every scale.

        Args:
            points: (B, N, 3).
            scales: of these points.
            visible: for each scale (B, M) bool, at least one in every shape; members of a visible
                token are visible. None: all.

        Returns:
            (B, M, C) for each scale, after its LayerNorm; zero where not visible.
        """
        if visible is None:
            visible = [s.centers.new_ones(s.centers.shape[:2], dtype=torch.bool) for s in scales]
        features, found = points, []
        for number, scale in enumerate(scales):
            shown = visible[number]
            embedded = self._embed(number, features, scale, shown)
            kept, index, present = _packed(embedded, shown)
            centers = scale.centers.gather(1, index[..., None].expand(-1, -1, 3))
            allowed = self._allowed(number, centers, present)
            rows = self.stages[number](kept, centers.to(kept.dtype), allowed)[present]
            features = _unpacked(rows, shown)
            found.append(_unpacked(self.norms[number](rows), shown))
        return found

    def _embed(self, number: int, features: Tensor, scale: TokenScale, shown: Tensor) -> Tensor:
        """(R, C) of the visible tokens, from their neighbours' features; or from where these lie,
        seen from the centre, in the first scale."""
        if number > 0:
            groups = gather_rows(features, scale.members)[shown]
        else:
            groups = (gather_points(features, scale.members) - scale.centers[:, :, None])[shown]
        return self.embeddings[number](groups)

    def _allowed(self, number: int, centers: Tensor, present: Tensor) -> Tensor | None:
        """(B, T, T) bool: tokens that are there, and near enough; None for all."""
        radius = self.config.local_radius[number] if self.config.local_radius else 0.0
        allowed = present[:, None, :]
        if radius > 0:
            allowed = allowed & (torch.cdist(centers, centers) < radius)
        elif bool(present.all()):
            return None
        # every token attends to itself at least: attention to nothing would be nan
        itself = torch.eye(centers.shape[1], dtype=torch.bool, device=centers.device)
        return allowed | itself

    def pool(self, coarsest: Tensor) -> Tensor:
        """(B, M, C) tokens of the coarsest scale -> (B, D)."""
        highest = coarsest.amax(1)
        if self.config.pooling == "max":
            return highest
        return torch.cat([highest, coarsest.mean(1)], dim=1)

    def encode(
        self, points: Tensor, normals: Tensor | None = None, *, with_local: bool = False
    ) -> Encoded:
        """See ``PointNetwork.encode``; the embedding is that of the coarsest tokens, ``local`` what
        ``forward`` gives as ``point``."""
        points = self.as_input(points, None)
        scales = self.scales(points)
        tokens = self.tokens(points, scales)
        local = _carried(points, scales, tokens) if with_local else None
        index = points_of_tokens(scales)[-1]
        return Encoded(tokens[-1], index, self.pool(tokens[-1]), local=local)

    def forward(self, points: Tensor, normals: Tensor | None = None) -> PointFeatures:
        """Features of shapes; see the class. ``encode`` spares those at the points.

        Args:
            points: (B, N, 3) floating, in the unit ball, z up; N at least ``num_tokens[0]``.
            normals: not looked at.

        Raises:
            ValueError: another shape or dtype, a coordinate that is not finite, or fewer points
                than tokens or neighbours.
        """
        encoded = self.encode(points, with_local=True)
        assert encoded.local is not None
        return PointFeatures(encoded.local, encoded.pooled)


def _packed(rows: Tensor, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Visible tokens moved to the front of each shape, and as many kept as the fullest one has.

    Args:
        rows: (R, C) of the visible tokens, shape by shape.
        shown: (B, M) bool.

    Returns:
        kept: (B, T, C), zero where there is none.
        index: (B, T) int64 place among the M.
        present: (B, T) bool.
    """
    most = int(shown.sum(1).max()) if len(shown) else 0
    index = (~shown).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    present = shown.gather(1, index)
    if bool(present.all()):
        return rows.view(len(shown), most, -1), index, present
    kept = rows.new_zeros(len(shown), most, rows.shape[1]).masked_scatter(present[..., None], rows)
    return kept, index, present


def _unpacked(rows: Tensor, shown: Tensor) -> Tensor:
    """(R, C) rows of the visible tokens -> (B, M, C), zero at the others."""
    if bool(shown.all()):
        return rows.view(*shown.shape, -1)
    return rows.new_zeros(*shown.shape, rows.shape[1]).masked_scatter(shown[..., None], rows)


def _carried(points: Tensor, scales: Sequence[TokenScale], tokens: Sequence[Tensor]) -> Tensor:
    """(B, N, C): tokens of all scales at the points."""
    parts = [propagate(points, s.centers, t) for s, t in zip(scales, tokens, strict=True)]
    return torch.cat(parts, dim=2)


def _check_sizes(config: PointMAE.Config) -> None:
    scales = len(config.num_tokens)
    for key in ("num_tokens", "group_sizes", "dims", "depths"):
        values = getattr(config, key)
        if len(values) != scales or scales == 0:
            raise ValueError(
                f"student.{key} is {list(values)}, expected one number for each of the "
                f"{scales or 'at least 1'} scales of student.num_tokens"
            )
        for value in values:
            check_minimum(f"student.{key}", value, 0 if key == "depths" else 1)
    if config.local_radius and len(config.local_radius) != scales:
        raise ValueError(
            f"student.local_radius is {list(config.local_radius)}, expected none or {scales} radii"
        )
    for radius in config.local_radius:
        check_minimum("student.local_radius", radius, 0)
    for number in range(1, scales):
        before = config.num_tokens[number - 1]
        if max(config.num_tokens[number], config.group_sizes[number]) > before:
            raise ValueError(
                f"student.num_tokens is {list(config.num_tokens)} and student.group_sizes "
                f"{list(config.group_sizes)}: scale {number + 1} is made of the {before} tokens of "
                "the one before and cannot have more tokens or neighbours"
            )
    for key in ("heads", "embed_channels"):
        check_minimum(f"student.{key}", getattr(config, key), 1)
    for channels in config.dims:
        if channels % config.heads:
            raise ValueError(
                f"student.dims is {list(config.dims)}, expected multiples of student.heads "
                f"({config.heads})"
            )
    if not 0 <= config.drop_path < 1:
        raise ValueError(f"student.drop_path is {config.drop_path}, expected a rate below 1")
    if not config.mlp_ratio > 0:
        raise ValueError(f"student.mlp_ratio is {config.mlp_ratio}, expected above 0")
    check_choice("student.pooling", config.pooling, POOLINGS)
