"""What every network on single shapes hands out."""

from typing import NamedTuple

from torch import Tensor


class PointFeatures(NamedTuple):
    """Features of B shapes of N points each.

    A network that gives them (kind "students") is called as ``network(points, normals=None)`` with
    points (B, N, 3) float32, normalised to the unit ball, z up, and normals of the same shape or
    None. Its attributes ``point_channels`` and ``pooled_channels`` say C and D; ``embed(points)``
    gives ``pooled`` alone, ``features_at(points)`` the features at the points (N, 3) of one cloud.

    Attributes:
        point: (B, N, C) one embedding a point, in the order of the input points.
        pooled: (B, D) one embedding a shape.
    """

    point: Tensor
    pooled: Tensor
