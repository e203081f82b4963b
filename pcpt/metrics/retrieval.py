"""Retrieval: does a feature find its own partner among many? The measure of pixel-to-point methods.

Similarity is the cosine, computed in float64. Ties are broken at random *in expectation*, so that
features which tell nothing apart (constant, zero, collapsed) score chance and not 100%.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Between equal float32 features rounding moves the cosine by less than 1e-12; features that
# differ by more than 1 part in 20,000 stay distinct.
_TIE = 1e-9
_ROWS_AT_ONCE = 1024


def sample_pairs(
    positions: Tensor, num_pairs: int = 1024, *, voxel_size: float | None = None, seed: int = 0
) -> Tensor:
    """Chooses pairs to evaluate on, at random and, with ``voxel_size``, spread over the scene.

    Raw pairs are dense where the camera was near. Keeping at most one a voxel makes every surface
    count alike and keeps near-duplicates, which no feature could tell apart, out of the candidates.

    Args:
        positions: (M, 3) float, metres; the points of all pairs.
        num_pairs: how many to choose at most; fewer come back when there are fewer.
        voxel_size: metres; at most one pair is chosen in each voxel. None: any pairs.
        seed: of the choice, which is the same on every device.

    Returns:
        (K,) int64 indices into the pairs, ascending, without repetition.

    Raises:
        ValueError: for positions of another shape or not finite, or a voxel size that is not > 0.
    """
    _check_positions(positions, positions.shape[0])
    if num_pairs < 1:
        raise ValueError(f"num_pairs is {num_pairs}, expected at least 1")
    if voxel_size is not None and not voxel_size > 0:
        raise ValueError(f"voxel_size is {voxel_size}, expected metres > 0, or None to keep all")
    # Drawn on the CPU: generators of different devices give different numbers for one seed.
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(positions.shape[0], generator=generator).to(positions.device)
    if voxel_size is not None:
        voxels = torch.floor(positions[order].double() / voxel_size).long()
        _, voxel_index = torch.unique(voxels, dim=0, return_inverse=True)
        rank = torch.arange(len(order), device=order.device)
        first = torch.full_like(rank, len(order))
        first.scatter_reduce_(0, voxel_index, rank, "amin")
        order = order[first[voxel_index] == rank]
    return order[:num_pairs].sort().values


def retrieval(
    query: Tensor,
    candidates: Tensor,
    positions: Tensor,
    *,
    radius: float = 0.10,
    ks: Sequence[int] = (1, 10),
) -> dict[str, float]:
    """Lets every query look for its partner among all candidates: row i belongs to row i.

    Args:
        query: (M, C) float features.
        candidates: (M, C) float features, on the same device.
        positions: (M, 3) float, metres; where each pair lies in the world.
        radius: metres; a best candidate this near to the true one counts as found.
        ks: ranks at which to report the recall. One beyond M is reached by every query.

    Returns:
        Fractions in [0, 1], for the default ``radius`` and ``ks``:
        ``recall@1``, ``recall@10``: the true candidate is among the k most similar.
        ``within_10cm``: the most similar candidate lies within the radius of the true one.
        ``chance/...``: each of these for a candidate order drawn at random.
        ``num_candidates``: M, without which the others mean little.

    Raises:
        ValueError: if shapes disagree, there is no pair, or a number is not finite.
    """
    _check_features(query, candidates)
    _check_positions(positions, query.shape[0])
    _check_ks(ks)
    if not radius > 0:
        raise ValueError(f"radius is {radius}, expected metres > 0")
    num_pairs = query.shape[0]
    within_key = f"within_{radius * 100:g}cm"
    scores = {f"recall@{k}": 0.0 for k in ks} | {within_key: 0.0}
    chance = {f"chance/recall@{k}": min(k, num_pairs) / num_pairs for k in ks}
    near_share = 0.0
    for start, similarity in _similarities(query, candidates):
        for k, recalled in zip(ks, _recalled(similarity, start, ks)):
            scores[f"recall@{k}"] += recalled / num_pairs
        rows = positions[start : start + len(similarity)].double()
        # The exact differences: the default goes through a matrix product and loses millimetres.
        distance = torch.cdist(
            rows, positions.double(), compute_mode="donot_use_mm_for_euclid_dist"
        )
        near = (distance <= radius).double()
        best = (similarity >= similarity.amax(1, keepdim=True) - _TIE).double()
        scores[within_key] += float(((near * best).sum(1) / best.sum(1)).sum()) / num_pairs
        near_share += float(near.mean(1).sum()) / num_pairs
    chance[f"chance/{within_key}"] = near_share
    return scores | chance | {"num_candidates": float(num_pairs)}


def retrieval_report(
    point_features: Tensor,
    pixel_features: Tensor,
    positions: Tensor,
    *,
    radius: float = 0.10,
    ks: Sequence[int] = (1, 10),
) -> dict[str, float]:
    """``retrieval`` in both directions, for M pairs of a point and a pixel.

    Args:
        point_features: (M, C) float, from the 3D network.
        pixel_features: (M, C) float, from the 2D network, in the same space.
        positions: (M, 3) float, metres.
        radius: metres, as for ``retrieval``.
        ks: ranks, as for ``retrieval``.

    Returns:
        ``pixel_to_point/recall@1`` (a pixel looks for its point) and so on, ``point_to_pixel/...``,
        and once, as it is the same for both, ``chance/...`` and ``num_candidates``.

    Raises:
        ValueError: as ``retrieval``.
    """
    directions = {
        "pixel_to_point": (pixel_features, point_features),
        "point_to_pixel": (point_features, pixel_features),
    }
    report: dict[str, float] = {}
    shared: dict[str, float] = {}
    for direction, (query, candidates) in directions.items():
        scores = retrieval(query, candidates, positions, radius=radius, ks=ks)
        shared = {k: v for k, v in scores.items() if k.startswith(("chance/", "num_"))}
        report |= {f"{direction}/{k}": v for k, v in scores.items() if k not in shared}
    return report | shared


def cross_view_recall(
    features_a: Tensor, features_b: Tensor, ks: Sequence[int] = (1, 10)
) -> dict[str, float]:
    """Do features stay themselves when the view changes? Mean recall of a in b and of b in a.

    Args:
        features_a: (N, C) float, of N world points as computed from one frame.
        features_b: (N, C) float, of the same points, in the same order, from another frame.
        ks: ranks, as for ``retrieval``.

    Returns:
        ``recall@k`` and ``chance/recall@k`` for every k, and ``num_candidates``.

    Raises:
        ValueError: if shapes disagree, there is no point, or a feature is not finite.
    """
    _check_features(features_a, features_b)
    _check_ks(ks)
    num_points = features_a.shape[0]
    scores = {f"recall@{k}": 0.0 for k in ks}
    for query, candidates in ((features_a, features_b), (features_b, features_a)):
        for start, similarity in _similarities(query, candidates):
            for k, recalled in zip(ks, _recalled(similarity, start, ks)):
                scores[f"recall@{k}"] += recalled / (2 * num_points)
    chance = {f"chance/recall@{k}": min(k, num_points) / num_points for k in ks}
    return scores | chance | {"num_candidates": float(num_points)}


def _similarities(query: Tensor, candidates: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Cosines (rows, M) float64 of some queries with all candidates, and the first row's index."""
    query = F.normalize(query.detach().double(), dim=1)
    candidates = F.normalize(candidates.detach().double(), dim=1)
    for start in range(0, len(query), _ROWS_AT_ONCE):
        yield start, query[start : start + _ROWS_AT_ONCE] @ candidates.T


def _recalled(similarity: Tensor, start: int, ks: Sequence[int]) -> list[float]:
    """Expected number of rows whose partner ranks among the first k, for every k.

    With ``better`` candidates strictly above and ``tied`` level with the partner, its rank under a
    random order of the ties is uniform over better + 1 ... better + tied + 1.
    """
    rows = torch.arange(len(similarity), device=similarity.device)
    own = similarity[rows, start + rows].unsqueeze(1)
    better = (similarity > own + _TIE).sum(1)
    level = ((similarity - own).abs() <= _TIE).sum(1)  # the partner itself included
    return [float(((k - better) / level).clamp(0.0, 1.0).sum()) for k in ks]


def _check_features(query: Tensor, candidates: Tensor) -> None:
    if query.ndim != 2 or query.shape != candidates.shape or query.shape[1] == 0:
        raise ValueError(
            f"features are {tuple(query.shape)} and {tuple(candidates.shape)}, expected two "
            "tensors (M, C) of one shape, row i of one belonging to row i of the other"
        )
    if query.shape[0] == 0:
        raise ValueError("there are no pairs to score; check that the frames have valid depth")
    for name, features in (("first", query), ("second", candidates)):
        if not bool(torch.isfinite(features).all()):
            bad = int((~torch.isfinite(features)).any(1).sum())
            raise ValueError(
                f"{bad} of {len(features)} rows of the {name} features are not finite; "
                "the network that made them has diverged"
            )


def _check_positions(positions: Tensor, num_pairs: int) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3 or positions.shape[0] != num_pairs:
        raise ValueError(f"positions are {tuple(positions.shape)}, expected ({num_pairs}, 3)")
    if not bool(torch.isfinite(positions).all()):
        raise ValueError("positions are not all finite, expected world coordinates in metres")


def _check_ks(ks: Sequence[int]) -> None:
    if not ks or min(ks) < 1:
        raise ValueError(f"ks is {tuple(ks)}, expected ranks of at least 1, such as (1, 10)")
