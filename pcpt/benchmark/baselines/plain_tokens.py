"""Tokens of clouds as plain PyTorch makes them: farthest point sampling as a loop over samples,
with all clouds at once, and neighbours by ``torch.cdist`` and ``topk``."""

from collections.abc import Sequence

import torch
from torch import Tensor


def plain_token_scales(
    points: Tensor, num_tokens: Sequence[int], group_sizes: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """Centres (B, M, 3) and their neighbours (B, M, K) int64, scale by scale; see
    ``pcpt.students.point_tokens.token_scales``."""
    scales = []
    cloud = torch.arange(len(points), device=points.device)
    for count, size in zip(num_tokens, group_sizes, strict=True):
        centers = points[cloud[:, None], plain_farthest_points(points, count)]
        members = torch.cdist(centers, points).topk(size, dim=2, largest=False).indices
        scales.append((centers, members))
        points = centers
    return scales


def plain_farthest_points(points: Tensor, count: int) -> Tensor:
    """(B, count) int64, from the first point on."""
    cloud = torch.arange(len(points), device=points.device)
    samples = torch.zeros(len(points), count, dtype=torch.int64, device=points.device)
    distance = points.new_full(points.shape[:2], torch.inf)
    for number in range(1, count):
        last = points[cloud, samples[:, number - 1]]
        distance = torch.minimum(distance, (points - last[:, None]).square().sum(2))
        samples[:, number] = distance.argmax(1)
    return samples
