"""How well two depth images agree when one is carried into the other by their poses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pcpt.doctor.observations import Observations

TOLERANCE = 0.04  # of the depth: relative, so that a wrong unit does not make it easier
GRID = 3  # every so many pixels of the small depth image


def frame_pairs(
    observations: Observations, gaps: Sequence[int], per_gap: int = 40
) -> tuple[Tensor, Tensor]:
    """Pairs of frames so many places apart in the recording, within a run, spread evenly.

    Returns:
        first, second: (M,) int64 rows of the observations.
    """
    place, window = observations.place.tolist(), observations.window.tolist()
    row = {(w, p): i for i, (w, p) in enumerate(zip(window, place))}
    first, second = [], []
    for gap in gaps:
        found = [(row[w, p], row.get((w, p + gap))) for w, p in zip(window, place)]
        whole = [(i, j) for i, j in found if j is not None]
        step = max(1, len(whole) // per_gap)
        for i, j in whole[::step]:
            first.append(i)
            second.append(j)
    return torch.tensor(first, dtype=torch.int64), torch.tensor(second, dtype=torch.int64)


def relative_poses(camera_to_world: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """(M, 4, 4) from the camera of ``first`` to that of ``second``."""
    return torch.linalg.solve(camera_to_world[second], camera_to_world[first])


def carry(
    observations: Observations,
    first: Tensor,
    second: Tensor,
    relative: Tensor,
    depth_factor: float = 1.0,
    focal_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Carries the depth of frames ``first`` into frames ``second``.

    Returns:
        here, there: (M, P, 3) float32 the points in either depth camera.
        measured: (M, P) float32, depth of ``second`` at their pixels, 0 where none or outside.
        present: (M, P) bool, points that were measured in ``first``.
        unknown: (M, P) bool, points that fall on a pixel of ``second`` without measurement.
    """
    depth = observations.depth
    height, width = depth.shape[1:]
    factors = torch.tensor([[focal_factor], [focal_factor], [1.0]])
    k, k_there = ((observations.intrinsics[rows].float() * factors) for rows in (first, second))
    v, u = torch.meshgrid(
        torch.arange(0, height, GRID), torch.arange(0, width, GRID), indexing="ij"
    )
    z = depth[first][:, ::GRID, ::GRID].flatten(1) * depth_factor
    x = (u.flatten() - k[:, 0, 2, None]) / k[:, 0, 0, None] * z
    y = (v.flatten() - k[:, 1, 2, None]) / k[:, 1, 1, None] * z
    here = torch.stack((x, y, z), dim=2)
    relative = relative.float()
    there = here @ relative[:, :3, :3].transpose(1, 2) + relative[:, None, :3, 3]
    front = there[..., 2] > 1e-6
    safe = torch.where(front, there[..., 2], 1.0)
    pixel = there[..., :2] / safe[..., None] * k_there[:, None, [0, 1], [0, 1]]
    pixel = pixel + k_there[:, None, :2, 2]
    column = pixel[..., 0].clamp(-2, width + 2).round().long()
    row = pixel[..., 1].clamp(-2, height + 2).round().long()
    inside = front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = torch.where(inside, row * width + column, 0)
    measured = depth[second].flatten(1).gather(1, index) * depth_factor
    measured = torch.where(inside, measured, 0.0)
    present = z > 0
    return here, there, measured, present, inside & (measured <= 0)


def agreement(
    observations: Observations,
    first: Tensor,
    second: Tensor,
    *,
    camera_to_world: Tensor | None = None,
    relative: Tensor | None = None,
    depth_factor: float = 1.0,
    focal_factor: float = 1.0,
) -> Tensor:
    """Share of a frame's points that the other frame measures at the same depth, (M,) in 0..1.

    Points outside the other image count as disagreeing, points on its holes do not count: a wrong
    pose cannot do well by looking away.

    Args:
        first, second: (M,) rows.
        camera_to_world: (F, 4, 4) instead of the scan's.
        relative: (M, 4, 4) instead of what poses say.
        depth_factor, focal_factor: applied to all depth, and to all intrinsics.
    """
    if relative is None:
        poses = observations.camera_to_world if camera_to_world is None else camera_to_world
        relative = relative_poses(poses, first, second)
    scores = []
    for part in range(0, len(first), 64):  # bounds the memory
        rows = slice(part, part + 64)
        _, there, measured, present, unknown = carry(
            observations, first[rows], second[rows], relative[rows], depth_factor, focal_factor
        )
        close = (there[..., 2] - measured).abs() < TOLERANCE * measured
        agree = (present & close).sum(1)
        counted = (present & ~unknown).sum(1)
        scores.append(agree / counted.clamp(min=1))
    return torch.cat(scores) if scores else torch.zeros(0)
