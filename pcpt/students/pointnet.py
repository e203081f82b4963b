"""PointNet: one small network at every point, and the maximum over them (Qi et al., CVPR 2017,
arXiv 1612.00593)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pcpt.registry import register
from pcpt.students.point_network import Encoded, PointNetwork, SharedLayers, check_width, width_of


class Transform(nn.Module):
    """Predicts a matrix for each shape from all its points; it starts as the identity.

    Args:
        channels: C of the rows and of the (C, C) matrix.
        width: factor of the hidden layers' widths.
    """

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        first, second, third = (width_of(c, width) for c in (64, 128, 1024))
        self.shared = SharedLayers(channels, first, second, third)
        self.head = SharedLayers(third, width_of(512, width), width_of(256, width))
        self.matrix = nn.Linear(width_of(256, width), channels * channels)
        nn.init.zeros_(self.matrix.weight)
        nn.init.zeros_(self.matrix.bias)
        self.channels = channels

    def forward(self, rows: Tensor) -> Tensor:
        """(B, N, C) -> (B, C, C)."""
        change = self.matrix(self.head(self.shared(rows).max(1).values))
        identity = torch.eye(self.channels, device=rows.device, dtype=rows.dtype)
        return change.view(-1, self.channels, self.channels) + identity


@register("students", "pointnet")
class PointNet(PointNetwork):
    """Transforms of the input and of the features, then layers 64-128-1024 at every point.

    ``Encoded.regulariser`` is the paper's: how far the feature transforms are from rotations,
    ``|A A^T - I|^2`` summed over entries, mean over shapes.
    """

    @dataclass
    class Config:
        """
        Attributes:
            width: factor of all widths; 1 is the paper's, with embeddings of 1024.
            normals: take normals beside the positions.
            transform_input: with the predicted 3 x 3 matrix.
            transform_features: with the predicted 64 x 64 matrix.
        """

        name: str = "pointnet"
        width: float = 1.0
        normals: bool = False
        transform_input: bool = True
        transform_features: bool = True

    def __init__(self, config: Config) -> None:
        """Raises ``ValueError`` for a width that cannot be."""
        super().__init__()
        check_width(config.width)
        self.config = config
        self.needs_normals = config.normals
        low, middle, high = (width_of(c, config.width) for c in (64, 128, 1024))
        self.input_transform = Transform(3, config.width) if config.transform_input else None
        self.first = SharedLayers(6 if config.normals else 3, low, low)
        self.feature_transform = Transform(low, config.width) if config.transform_features else None
        self.second = SharedLayers(low, low, middle)
        # signed: the maximum needs no activation, and the paper has none there
        self.last = SharedLayers(middle, high, activate_last=False)
        self.local_channels, self.point_channels, self.pooled_channels = low, high, high

    def encode(
        self, points: Tensor, normals: Tensor | None = None, *, with_local: bool = False
    ) -> Encoded:
        """See ``PointNetwork.encode``."""
        rows = self.as_input(points, normals)
        if self.input_transform is not None:
            matrix = self.input_transform(points)
            # normals are turned along with the points
            rows = torch.cat([part @ matrix for part in rows.split(3, dim=2)], 2)
        local = self.first(rows)
        regulariser = None
        if self.feature_transform is not None:
            matrix = self.feature_transform(local)
            local = local @ matrix
            identity = torch.eye(matrix.shape[1], device=matrix.device, dtype=matrix.dtype)
            regulariser = (matrix @ matrix.mT - identity).square().sum((1, 2)).mean()
        embedding = self.last(self.second(local))
        return Encoded(
            embedding, None, embedding.max(1).values, local=local, regulariser=regulariser
        )
