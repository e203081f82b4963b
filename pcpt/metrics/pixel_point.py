"""The figures of pixel-to-point pretraining on held-out frames, averaged over frames."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pcpt.data.batch import Batch
from pcpt.metrics.retrieval import cross_view_recall, retrieval_report, sample_pairs
from pcpt.metrics.shared_points import shared_points

NUM_CANDIDATES = 1024
# One candidate in a cell of this edge, metres: surfaces near and far then count alike.
SPACING = 0.05
# Fewer shared places than this make another, easier task.
MIN_SHARED = 512
MAX_VIEW_PAIRS = 64
NUM_DRAWS = 8
_PAIR_PARTS = ("points", "pixels", "positions")


class View(NamedTuple):
    """What is kept of a held-out frame, on the CPU."""

    world: Tensor
    kinds: dict[str, Tensor]
    points: Tensor
    pixels: Tensor
    positions: Tensor


def evaluate_pixel_point(method: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """Retrieval between pixels and points of held-out frames, and of points between frames.

    Args:
        method: with ``student``, ``teacher_map``, ``pixel_features`` and ``point_features``.
        batches: one held-out cloud each.

    Returns:
        ``retrieval_report`` with 1,024 candidates drawn from all frames, mean of 8 draws;
        ``in_frame/...``, the same with the candidates of one frame, one in each 5 cm cell, mean
        over frames: the harder task, since they look alike;
        ``cross_view/KIND/recall@k`` over pairs of frames that share at least 512 places, at most 64
        pairs, with KIND ``projected`` and ``decoder`` (the student's two outputs) and ``color``
        (the points' own colours, the control);
        ``num_frames``, ``num_candidates`` and ``cross_view/num_pairs``.

    Raises:
        ValueError: there is no pair at all.
    """
    views = [view for i, batch in enumerate(batches) if (view := _look(method, batch, i))]
    if not views:
        raise ValueError("no held-out frame has a pair of a pixel and a point; nothing to evaluate")
    pooled = [torch.cat([getattr(v, part) for v in views]) for part in _PAIR_PARTS]
    draws = []
    for seed in range(NUM_DRAWS):
        chosen = sample_pairs(pooled[2], NUM_CANDIDATES, seed=seed)
        draws.append(retrieval_report(*(part[chosen] for part in pooled)))
    frames = [retrieval_report(v.points, v.pixels, v.positions) for v in views]
    return (
        _mean(draws)
        | {f"in_frame/{name}": value for name, value in _mean(frames).items()}
        | {"num_frames": float(len(views))}
        | evaluate_cross_view(views)
    )


def _look(method: Any, batch: Batch, seed: int) -> View | None:
    voxels, point_to_voxel = method.student.voxels(batch.points, batch.colors, batch.batch_index)
    decoder = method.student(voxels).features
    where = batch.world[batch.point_index]
    chosen = sample_pairs(where, NUM_CANDIDATES, voxel_size=SPACING, seed=seed)
    if not len(chosen):
        return None
    point = batch.point_index[chosen]
    size = (batch.images.shape[2], batch.images.shape[3])
    pixels = method.pixel_features(
        method.teacher_map(batch.images), batch.view_index[chosen], batch.pixel[chosen], size
    )
    projected = method.point_features(decoder, torch.arange(len(decoder), device=decoder.device))
    kinds = {
        "projected": projected[point_to_voxel].cpu(),
        "decoder": decoder[point_to_voxel].cpu(),
        "color": (batch.colors * 2 - 1).cpu(),
    }
    points = projected[point_to_voxel[point]].cpu()
    return View(batch.world.cpu(), kinds, points, pixels.cpu(), batch.world[point].cpu())


def _mean(reports: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(r[name] for r in reports) / len(reports) for name in reports[0]}


def evaluate_cross_view(views: list[View]) -> dict[str, float]:
    """Mean cross-view recall over pairs of views, spread evenly where there are too many pairs."""
    pairs = []
    for a in range(len(views)):
        for b in range(a + 1, len(views)):
            index_a, index_b = shared_points(views[a].world, views[b].world)
            if len(index_a) >= MIN_SHARED:
                pairs.append((a, b, index_a, index_b))
    step = -(-len(pairs) // MAX_VIEW_PAIRS) or 1
    sums: dict[str, float] = defaultdict(float)
    for number, (a, b, index_a, index_b) in enumerate(pairs[::step]):
        where = views[a].world[index_a]
        chosen = sample_pairs(where, NUM_CANDIDATES, voxel_size=SPACING, seed=number)
        for kind in views[a].kinds:
            scores = cross_view_recall(
                views[a].kinds[kind][index_a[chosen]], views[b].kinds[kind][index_b[chosen]]
            )
            for name, value in scores.items():
                if name.startswith("recall"):
                    sums[f"cross_view/{kind}/{name}"] += value
        for name, value in scores.items():  # of the last kind, the same for all
            if name.startswith("chance"):
                sums[f"cross_view/{name}"] += value
    used = len(pairs[::step])
    return {name: value / used for name, value in sums.items()} | {"cross_view/num_pairs": used}
