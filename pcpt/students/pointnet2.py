"""PointNet++ with single-scale grouping (Qi et al., NeurIPS 2017, arXiv 1706.02413)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pcpt.ops import ball_query, farthest_points
from pcpt.registry import register
from pcpt.students.point_network import (
    Encoded,
    PointNetwork,
    SharedLayers,
    check_width,
    gather_rows,
    propagate,
    width_of,
)


class SetAbstraction(nn.Module):
    """Centres spread over the points, and for each the maximum of a small network over a ball.

    Args:
        num_centers: fewer where a shape has fewer points.
        radius: of the balls, in units of the shape.
        k: points of each ball.
        channels: of the points' features, then of each layer.
    """

    def __init__(self, num_centers: int, radius: float, k: int, *channels: int) -> None:
        super().__init__()
        self.num_centers, self.radius, self.k = num_centers, radius, k
        self.layers = SharedLayers(3 + channels[0], *channels[1:])

    def forward(self, points: Tensor, features: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Points (B, N, 3) and features (B, N, C) to centres (B, M, 3), their features (B, M, C')
        and their places (B, M) among the points."""
        fixed = points.detach()
        chosen = farthest_points(fixed, min(self.num_centers, points.shape[1]))
        centers = gather_rows(points, chosen[:, :, None])[:, :, 0]
        index = ball_query(centers.detach(), fixed, self.radius, self.k).index
        index = torch.where(index < 0, index[..., :1], index)
        rows = gather_rows(points, index) - centers[:, :, None]
        if features is not None:
            rows = torch.cat([rows, gather_rows(features, index)], 3)
        return centers, self.layers(rows).max(2).values, chosen


@register("students", "pointnet2")
class PointNet2(PointNetwork):
    """Two levels of set abstraction, then layers 256-512-1024 at the centres that are left.

    The embeddings are those of the centres; ``forward`` carries them back to the points.
    """

    @dataclass
    class Config:
        """
        Attributes:
            width: factor of all widths; 1 is the paper's, with embeddings of 1024.
            normals: take normals beside the positions.
            centers: of both levels.
            radii: of their balls, in units of the shape.
            neighbors: points of a ball, at both levels.
        """

        name: str = "pointnet2"
        width: float = 1.0
        normals: bool = False
        centers: list[int] = field(default_factory=lambda: [512, 128])
        radii: list[float] = field(default_factory=lambda: [0.2, 0.4])
        neighbors: list[int] = field(default_factory=lambda: [32, 64])

    def __init__(self, config: Config) -> None:
        """Raises ``ValueError`` for options that cannot be."""
        super().__init__()
        check_width(config.width)
        for key in ("centers", "radii", "neighbors"):
            values = getattr(config, key)
            if len(values) != 2 or not all(value > 0 for value in values):
                raise ValueError(f"student.{key} is {list(values)}, expected two numbers above 0")
        if max(config.neighbors) > 128:
            raise ValueError(f"student.neighbors is {list(config.neighbors)}, at most 128 are had")
        self.config = config
        self.needs_normals = config.normals
        low, middle, wide, wider, high = (
            width_of(c, config.width) for c in (64, 128, 256, 512, 1024)
        )
        extra = 3 if config.normals else 0
        (first, second), (near, far), (few, many) = config.centers, config.radii, config.neighbors
        self.first = SetAbstraction(first, near, few, extra, low, low, middle)
        self.second = SetAbstraction(second, far, many, middle, middle, middle, wide)
        self.last = SharedLayers(3 + wide, wide, wider, high)
        self.local_channels = middle + wide
        self.point_channels = self.pooled_channels = high

    def encode(
        self, points: Tensor, normals: Tensor | None = None, *, with_local: bool = False
    ) -> Encoded:
        """See ``PointNetwork.encode``; ``local`` is what both levels know, at the points."""
        rows = self.as_input(points, normals)
        near, near_features, near_index = self.first(
            points, rows[..., 3:] if self.needs_normals else None
        )
        far, far_features, chosen = self.second(near, near_features)
        embedding = self.last(torch.cat([far, far_features], 2))
        local = None
        if with_local:
            levels = ((near, near_features), (far, far_features))
            local = torch.cat([propagate(points, *level) for level in levels], 2)
        index = near_index.gather(1, chosen)
        return Encoded(embedding, index, embedding.max(1).values, local=local)
