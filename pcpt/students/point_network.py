"""What networks on single shapes share: checks of their input, and their ways out, for points, for
whole shapes and for methods that pool over some of the points."""

from abc import abstractmethod
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pcpt.ops import nearest_neighbors
from pcpt.students.cloud import as_points, as_tensor, inference
from pcpt.students.point_features import PointFeatures
from pcpt.students.pretrained import Pretrained

_NEAREST = 1e-8  # squared distance that counts as none, so that a centre keeps its own features


class Encoded(NamedTuple):
    """What a network knows of B shapes of N points.

    Attributes:
        embedding: (B, M, C) output of the last shared layers, at M of the points.
        index: (B, M) int64, which points these are; None: all, in their order.
        pooled: (B, C) maximum of ``embedding`` over the points; taken by ``max``, whose gradient
            costs a third of that of ``amax``.
        local: (B, N, L) features of the points' surroundings, before the last shared layers; may
            be None where nobody asked for it.
        regulariser: scalar that a loss may add, such as PointNet's of its transforms; None: none.
    """

    embedding: Tensor
    index: Tensor | None  # type: ignore[assignment]  # hides tuple.index
    pooled: Tensor
    local: Tensor | None = None
    regulariser: Tensor | None = None


class PointNetwork(Pretrained):
    """Base of the point networks; a subclass implements ``encode`` and sets the attributes.

    Attributes:
        local_channels: L of ``Encoded``.
        point_channels: channels of each point's embedding.
        pooled_channels: channels of a shape's embedding.
        needs_normals: whether normals are part of the input.
    """

    about = "A 3D network that gives a shape, and each of its points, a feature vector."
    usage = """import pcpt.students

points = ...  # (N, 3): in the unit ball around the origin, z up
model = pcpt.registry.get("students", "{student}").from_pretrained("this folder, or its hub id")
features = model.features_at(points)  # one row for each point
shape = model.embed(points[None])  # one row for each shape"""

    local_channels: int
    point_channels: int
    pooled_channels: int
    needs_normals: bool = False

    def __init__(self) -> None:
        super().__init__()
        self.usage = type(self).usage.replace("{student}", type(self).Config().name)

    @abstractmethod
    def encode(
        self, points: Tensor, normals: Tensor | None = None, *, with_local: bool = False
    ) -> Encoded:
        """All that is known of shapes; arguments as ``forward``, which is made of this.

        Args:
            with_local: ``local`` is needed.
        """

    def forward(self, points: Tensor, normals: Tensor | None = None) -> PointFeatures:
        """Features of shapes.

        Args:
            points: (B, N, 3) floating, in the unit ball, z up; N >= 1.
            normals: (B, N, 3), where the network was built for them.

        Raises:
            ValueError: another shape, no point, a number that is not finite, or no normals where
                they are needed.
        """
        encoded = self.encode(points, normals)
        if encoded.index is None:
            return PointFeatures(encoded.embedding, encoded.pooled)
        centers = points.gather(1, encoded.index[..., None].expand(-1, -1, 3))
        return PointFeatures(propagate(points, centers, encoded.embedding), encoded.pooled)

    def embed(
        self, points: Tensor | np.ndarray, normals: Tensor | np.ndarray | None = None
    ) -> Tensor:
        """(B, D) embeddings of shapes (B, N, 3), in eval mode and without gradients; arguments as
        ``forward``, of any real dtype."""
        own = next(self.parameters())
        points = torch.as_tensor(points).to(own.device, own.dtype)
        with inference(self):
            return self.encode(points, _like(points, normals)).pooled

    def features_at(
        self,
        points: Tensor | np.ndarray,
        normals: Tensor | np.ndarray | None = None,
        *,
        normalise: bool = True,
    ) -> Tensor:
        """(N, C) features at the points of one shape, in eval mode and without gradients.

        Args:
            points: (N, 3) real; none give no rows.
            normals: (N, 3) real, where the network was built for them.
            normalise: move and scale the shape into the unit ball first, as data in training.

        Raises:
            ValueError: another shape, a number that is not finite, no normals where needed.
        """
        exact = as_points(points)
        own = next(self.parameters())
        if not len(exact):
            return own.new_zeros(0, self.point_channels)
        if normalise:
            exact = exact - exact.mean(0)
            radius = exact.norm(dim=1).max()
            exact = exact / radius.clamp(min=torch.finfo(torch.float32).tiny)
        cloud = exact.to(own.device, own.dtype)[None]
        with inference(self):
            normals = _like(cloud, normals)
            return self(cloud, None if normals is None else normals[None]).point[0]

    def as_input(self, points: Tensor, normals: Tensor | None) -> Tensor:
        """(B, N, 3) or, with normals, (B, N, 6), once they are known to fit."""
        if points.dim() != 3 or points.shape[2] != 3 or not points.is_floating_point():
            raise ValueError(
                f"points are {points.dtype} {tuple(points.shape)}, expected floating (B, N, 3)"
            )
        if points.shape[1] == 0:
            raise ValueError(f"points are {tuple(points.shape)}: shapes without a point")
        _check_finite("points", points)
        if not self.needs_normals:
            return points
        if normals is None or normals.shape != points.shape:
            given = "none" if normals is None else str(tuple(normals.shape))
            raise ValueError(
                f"{type(self).__name__} was built with normals: true and needs normals "
                f"{tuple(points.shape)}, got {given}; set data.normals, or student.normals to false"
            )
        _check_finite("normals", normals)
        return torch.cat([points, normals.to(points.dtype)], 2)


def _check_finite(name: str, rows: Tensor) -> None:
    """Raises ``ValueError`` for a number of (B, N, 3) that is not finite."""
    if not bool(rows.isfinite().all()):
        shape, row = (~rows.isfinite()).any(2).nonzero()[0].tolist()
        raise ValueError(
            f"{name}[{shape}, {row}] is {rows[shape, row].tolist()}: drop points that are not "
            "finite first"
        )


def _like(points: Tensor, normals: Tensor | np.ndarray | None) -> Tensor | None:
    """Normals of any real dtype in that of the points, and on their device."""
    return None if normals is None else as_tensor(normals, "normals").to(points)


def width_of(channels: int, width: float) -> int:
    """Channels of a layer made narrower (or wider): a multiple of 8, at least 8."""
    return max(8, 8 * round(channels * width / 8))


def check_width(width: float) -> None:
    """Raises ``ValueError`` unless ``student.width`` can be meant."""
    if not 0 < width <= 8:
        raise ValueError(
            f"student.width is {width}, expected above 0 and at most 8; 1 is the paper's"
        )


class SharedLayers(nn.Sequential):
    """The same small network at each row of (R, C): linear, batch norm and activation, in turn.

    Args:
        channels: of the input, then of each layer's output.
        slope: of the activation below zero; 0 is ReLU.
        activate_last: whether the last layer has its activation.
    """

    def __init__(self, *channels: int, slope: float = 0.0, activate_last: bool = True) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Linear(before, after, bias=False), RowNorm(after)]
            layers.append(nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True))
        super().__init__(*(layers if activate_last else layers[:-1]))

    def forward(self, rows: Tensor) -> Tensor:
        """(..., C) -> (..., C')."""
        return super().forward(rows.reshape(-1, rows.shape[-1])).reshape(*rows.shape[:-1], -1)


class RowNorm(nn.BatchNorm1d):
    """Batch norm of (R, C) that, given fewer than two rows in training, takes the running
    statistics: a single row has no variance."""

    def forward(self, input: Tensor) -> Tensor:
        """(R, C) -> (R, C)."""
        if self.training and len(input) < 2:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(input)


def rows_of(index: Tensor, num_points: int) -> Tensor:
    """(B, ...) places within clouds of ``num_points`` as rows of all clouds one after the other."""
    first = torch.arange(len(index), device=index.device) * num_points
    return index + first.view(-1, *[1] * (index.dim() - 1))


def gather_rows(features: Tensor, index: Tensor) -> Tensor:
    """(B, M, k, C) rows of (B, N, C) at (B, M, k) places."""
    flat = features.reshape(-1, features.shape[-1])
    # embedding adds up its gradient in a fixed order
    return nn.functional.embedding(rows_of(index, features.shape[1]), flat)


def propagate(points: Tensor, centers: Tensor, features: Tensor, k: int = 3) -> Tensor:
    """Features of centres carried to points: the mean of the nearest, weighted by the inverse of
    their squared distance (PointNet++, arXiv 1706.02413).

    Args:
        points: (B, N, 3).
        centers: (B, M, 3), M >= 1.
        features: (B, M, C).
        k: centres of each point; fewer where there are fewer.

    Returns:
        (B, N, C), differentiable in ``features``.

    Raises:
        ValueError: points so far from centres that squared distances overflow; on CUDA, which is
            not waited for, their features are nan.
    """
    found = nearest_neighbors(points.detach(), centers.detach(), min(k, centers.shape[1]))
    if not found.index.is_cuda and bool((found.index < 0).any()):
        raise ValueError(
            f"points reach {float(points.detach().abs().max()):.3g}, too far for the distances "
            "between them; set data.normalise to unit_sphere, or scale them down"
        )
    weight = 1 / found.squared_distance.clamp(min=_NEAREST)
    weight = (weight / weight.sum(2, keepdim=True)).to(features.dtype)
    return (gather_rows(features, found.index.clamp(min=0)) * weight[..., None]).sum(2)
