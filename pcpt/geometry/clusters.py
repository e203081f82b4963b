"""Clusters of points that lie near each other."""

import math

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from pcpt.ops import segment_reduce, voxelize

# Points within a cell of this share of the radius are taken as one, at their mean. Points that were
# moved to the centre of their object lie on top of each other, and the pairs within the radius
# would be quadratic in their number; like this a point has at most some 270 neighbours.
CELL = 0.25


def radius_clusters(points: Tensor, radius: float, groups: Tensor | None = None) -> Tensor:
    """Connected components of the graph that joins points of one group within the radius.

    Points are first merged in cells of a quarter of the radius, so that a pair whose distance is
    within about half a radius of the limit may be judged by its cells' means instead. Runs on the
    CPU. The clusters do not depend on the order of the points.

    Args:
        points: (N, 3) floating, metres, finite.
        radius: metres, > 0; points at most this far apart are joined.
        groups: (N,) int64 in 0..2^15-1; points of two groups are never joined. One by default.

    Returns:
        (N,) int64, 0 to K - 1, on the points' device.

    Raises:
        ValueError: a radius that is not positive, points that are not finite or lie further than
            2^15 cells from the origin.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius is {radius}, expected metres above 0")
    device = points.device
    points = points.detach().cpu().float()
    groups = torch.zeros(len(points), dtype=torch.int64) if groups is None else groups.cpu()
    cells, place = voxelize(points, CELL * radius, groups)
    means = segment_reduce(points.double(), place, len(cells), "mean").numpy()
    # groups as a fourth axis, on which they lie too far apart to be joined
    lifted = np.column_stack([means, cells[:, 0].numpy() * (2.0 * radius)])
    pairs = cKDTree(lifted).query_pairs(radius, output_type="ndarray")
    ones = np.ones(len(pairs), dtype=bool)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    _, component = connected_components(graph, directed=False)
    return torch.from_numpy(component.astype(np.int64))[place].to(device)
