"""Retrieval against a double loop, at its edges, and on features that know nothing."""

import math

import pytest
import torch
from torch import Tensor

from pcpt.metrics import cross_view_recall, retrieval, retrieval_report, sample_pairs


def random_pairs(num_pairs: int, channels: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Related features and positions in a cube of 30 cm, so that some neighbours are near."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(num_pairs, channels, generator=generator)
    candidates = query + torch.randn(num_pairs, channels, generator=generator)
    return query, candidates, 0.3 * torch.rand(num_pairs, 3, generator=generator)


def naive(query: Tensor, candidates: Tensor, positions: Tensor, k: int) -> tuple[float, float]:
    """Recall@k and the within-10-cm share, one query and one candidate at a time; no ties."""
    found = near = 0
    for i in range(len(query)):
        scores = []
        for j in range(len(candidates)):
            dot = sum(float(a) * float(b) for a, b in zip(query[i], candidates[j]))
            scores.append(dot / float(query[i].norm()) / float(candidates[j].norm()))
        order = sorted(range(len(scores)), key=lambda j: -scores[j])
        found += i in order[:k]
        near += math.dist(positions[i].tolist(), positions[order[0]].tolist()) <= 0.10
    return found / len(query), near / len(query)


@pytest.mark.parametrize("num_pairs, channels", [(1, 1), (2, 7), (37, 5), (60, 13)])
def test_equals_a_double_loop(num_pairs: int, channels: int, device: torch.device) -> None:
    query, candidates, positions = random_pairs(num_pairs, channels)
    scores = retrieval(query.to(device), candidates.to(device), positions.to(device), ks=(1, 3, 10))
    for k in (1, 3, 10):
        recall, within = naive(query, candidates, positions, k)
        assert scores[f"recall@{k}"] == pytest.approx(recall)
        assert scores["within_10cm"] == pytest.approx(within)


def test_table_by_hand() -> None:
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    query = torch.tensor([[9.0, 1.0], [2.0, 1.0], [-1.0, 0.1]])  # the second prefers the first's
    positions = torch.tensor([[0.0, 0, 0], [0.05, 0, 0], [1.0, 0, 0]])
    scores = retrieval(query, candidates, positions, radius=0.07, ks=(1, 2, 5))
    assert scores == pytest.approx(
        {
            "recall@1": 2 / 3,
            "recall@2": 1.0,
            "recall@5": 1.0,
            "within_7cm": 1.0,
            "chance/recall@1": 1 / 3,
            "chance/recall@2": 2 / 3,
            "chance/recall@5": 1.0,
            "chance/within_7cm": 5 / 9,
            "num_candidates": 3,
        }
    )


@pytest.mark.parametrize(
    "features",
    [torch.full((50, 33), 0.37), torch.zeros(50, 8), 1 + 1e-8 * torch.rand(50, 8).double()],
    ids=["constant", "zero", "collapsed"],
)
def test_features_that_tell_nothing_apart_score_chance(features: Tensor) -> None:
    _, _, positions = random_pairs(50, 1)
    scores = retrieval(features, features, positions)
    assert 0 < scores["within_10cm"] < 1
    for name in ("recall@1", "recall@10", "within_10cm"):
        assert scores[name] == pytest.approx(scores[f"chance/{name}"])
    assert cross_view_recall(features, features)["recall@10"] == pytest.approx(10 / 50)


def test_ties_count_half_when_two_candidates_are_equal() -> None:
    features = torch.eye(4).repeat_interleave(2, 0)
    scores = retrieval(features, features, torch.arange(8.0)[:, None].expand(8, 3), ks=(1, 2))
    assert scores["recall@1"] == pytest.approx(0.5)
    assert scores["within_10cm"] == pytest.approx(0.5)
    assert scores["recall@2"] == pytest.approx(1.0)


def test_perfect_and_unrelated_features() -> None:
    query, _, positions = random_pairs(2500, 32)  # several blocks of rows
    assert retrieval(query, 3 * query, positions)["recall@1"] == 1.0
    scores = retrieval(query, query.flip(0).roll(1, 1), positions)
    assert scores["recall@10"] < 5 * scores["chance/recall@10"]


def test_report_names_the_directions() -> None:
    points, pixels, positions = random_pairs(40, 6)
    report = retrieval_report(points, pixels, positions)
    forward = retrieval(pixels, points, positions)
    backward = retrieval(points, pixels, positions)
    assert forward["recall@1"] != backward["recall@1"]
    for name in ("recall@1", "recall@10", "within_10cm"):
        assert report[f"pixel_to_point/{name}"] == forward[name]
        assert report[f"point_to_pixel/{name}"] == backward[name]
        assert report[f"chance/{name}"] == forward[f"chance/{name}"]
    assert len(report) == 10


def test_cross_view_is_the_mean_of_both_directions() -> None:
    a, b, positions = random_pairs(40, 6)
    scores = cross_view_recall(a, b, ks=(1, 5))
    for k in (1, 5):
        expected = (naive(a, b, positions, k)[0] + naive(b, a, positions, k)[0]) / 2
        assert scores[f"recall@{k}"] == pytest.approx(expected)
        assert scores[f"chance/recall@{k}"] == k / 40


def test_sampled_pairs_are_seeded_and_one_a_voxel(device: torch.device) -> None:
    positions = 2 * torch.rand(5000, 3, generator=torch.Generator().manual_seed(1)) - 1
    chosen = sample_pairs(positions.to(device), 200, voxel_size=0.2, seed=3).cpu()
    assert len(chosen) == 200 and bool((chosen.diff() > 0).all())
    voxels = torch.floor(positions[chosen].double() / 0.2)
    assert len(torch.unique(voxels, dim=0)) == 200
    assert torch.equal(chosen, sample_pairs(positions, 200, voxel_size=0.2, seed=3))
    assert not torch.equal(chosen, sample_pairs(positions, 200, voxel_size=0.2, seed=4))


def test_sampling_keeps_everything_when_there_is_little() -> None:
    positions = torch.rand(7, 3)
    assert sample_pairs(positions).tolist() == list(range(7))
    assert len(sample_pairs(positions, voxel_size=2.0)) == 1
    assert sample_pairs(torch.empty(0, 3), voxel_size=0.1).tolist() == []


def test_errors_say_what_was_expected() -> None:
    query, candidates, positions = random_pairs(5, 3)
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(4, 3\)"):
        retrieval(query, candidates[:4], positions)
    with pytest.raises(ValueError, match=r"positions are \(4, 3\), expected \(5, 3\)"):
        retrieval(query, candidates, positions[:4])
    with pytest.raises(ValueError, match="1 of 5 rows of the second features are not finite"):
        candidates = candidates.clone()
        candidates[2, 1] = torch.nan
        retrieval(query, candidates, positions)
    with pytest.raises(ValueError, match="no pairs"):
        cross_view_recall(query[:0], query[:0])
    with pytest.raises(ValueError, match="ks is"):
        retrieval(query, query, positions, ks=(0,))
    with pytest.raises(ValueError, match="voxel_size is 0"):
        sample_pairs(positions, voxel_size=0)
