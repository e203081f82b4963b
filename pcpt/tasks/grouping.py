"""From classes and offsets of voxels to objects: the clustering of PointGroup (CVPR 2020)."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from pcpt.data.predicted_instances import PredictedInstances
from pcpt.geometry.clusters import radius_clusters
from pcpt.ops import segment_reduce

COORDINATES = ("shifted", "original")
SCORES = ("agreement", "probability")


def group_instances(
    points: Tensor,
    offsets: Tensor,
    probabilities: Tensor,
    num_points: Tensor,
    things: Tensor,
    *,
    radius: float,
    min_points: int,
    coordinates: Sequence[str] = COORDINATES,
    max_iou: float = 0.3,
    score: str = "agreement",
) -> PredictedInstances:
    """Objects of one scene.

    Voxels of one predicted class that lie within the radius of each other, link by link, are one
    candidate; they are looked for where voxels are and where the offsets move them to. Of
    candidates that overlap by more than ``max_iou`` the one of the highest score stays.

    The score is the mean probability of the class over the candidate's points. "agreement"
    multiplies it by the share of the candidate's extent that the offsets take away: with the mean
    distance to the mean, before and after, (before - after) / (before + 2 radius). It is near 1
    where all voxels of a large candidate point to one centre, lower for two objects in one
    candidate, whose voxels point to two, and for a fragment of an object. It stands in for the
    network that PointGroup trains to score candidates.

    Args:
        points: (U, 3) floating, metres, of each voxel.
        offsets: (U, 3), metres, to the predicted centre of its object.
        probabilities: (U, C) of the classes.
        num_points: (U,) int64, points in each voxel; sizes and overlaps are counted in these.
        things: (C,) bool, classes that have objects.
        radius: metres.
        min_points: of an object.
        coordinates: where candidates are looked for, of "shifted" and "original".
        max_iou: see above.
        score: "agreement" or "probability".

    Returns:
        Objects as masks over the U voxels, on the CPU.
    """
    points, offsets = points.cpu().float(), offsets.cpu().float()
    best, label = probabilities.cpu().float().max(dim=1)
    weight = num_points.cpu()
    rows = things.cpu()[label].nonzero()[:, 0]
    moved = {"original": points, "shifted": points + offsets}
    members, labels, scores = [], [], []
    for name in coordinates:
        cluster = radius_clusters(moved[name][rows], radius, label[rows])
        count = int(cluster.max()) + 1 if len(cluster) else 0
        size = torch.zeros(count, dtype=weight.dtype).index_add_(0, cluster, weight[rows])
        number = torch.full((count,), -1)
        large = size >= min_points
        number[large] = torch.arange(int(large.sum()))
        cluster = number[cluster]
        inside = cluster >= 0
        of_voxel, voxel = cluster[inside], rows[inside]
        count = int(large.sum())
        sure = _mean(best[voxel], weight[voxel], of_voxel, count)
        if score == "agreement":
            sure = sure * _agreement(points[voxel], offsets[voxel], of_voxel, count, radius)
        members.append(_membership(of_voxel, voxel, count, len(points)))
        kind = torch.zeros(count, dtype=torch.int64)
        kind[of_voxel] = label[voxel]  # the same for all voxels of a cluster
        labels.append(kind)
        scores.append(sure)
    masks = torch.from_numpy(np.concatenate([m.toarray() for m in members]) > 0)
    found = PredictedInstances.sorted(masks, torch.cat(labels), torch.cat(scores))
    kept = _suppress(found.masks, weight, max_iou)
    return PredictedInstances(found.masks[kept], found.labels[kept], found.scores[kept])


def _mean(values: Tensor, weight: Tensor, index: Tensor, count: int) -> Tensor:
    """Weighted mean of the values of each cluster: (count,)."""
    wide = weight.to(values.dtype)
    total = segment_reduce(values * wide, index, count)
    return total / segment_reduce(wide, index, count).clamp(min=1)


def _agreement(points: Tensor, offsets: Tensor, index: Tensor, count: int, radius: float) -> Tensor:
    before = _spread(points, index, count)
    after = _spread(points + offsets, index, count)
    # without the radius, a fragment would agree as well as the whole object
    return ((before - after) / (before + 2 * radius)).clamp(min=0)


def _spread(points: Tensor, index: Tensor, count: int) -> Tensor:
    """Mean distance of the points of each cluster to their mean: (count,)."""
    centre = segment_reduce(points, index, count, "mean")
    return segment_reduce((points - centre[index]).norm(dim=1), index, count, "mean")


def _membership(index: Tensor, voxel: Tensor, count: int, num_voxels: int) -> csr_matrix:
    ones = np.ones(len(voxel), dtype=np.uint8)
    return csr_matrix((ones, (index.numpy(), voxel.numpy())), shape=(count, num_voxels))


def _suppress(masks: Tensor, weight: Tensor, max_iou: float) -> Tensor:
    """Rows to keep, of masks by falling score."""
    sparse = csr_matrix(masks.numpy().astype(np.float64))
    common = (sparse.multiply(weight.numpy()[None, :].astype(np.float64)) @ sparse.T).toarray()
    size = common.diagonal()
    iou = common / np.maximum(size[:, None] + size[None, :] - common, 1)
    alive = np.ones(len(masks), dtype=bool)
    for row in range(len(masks)):
        if alive[row]:
            alive[row + 1 :] &= iou[row, row + 1 :] <= max_iou
    return torch.from_numpy(np.flatnonzero(alive))
