"""Clusters within a radius against a flood fill over all pairs."""

import numpy as np
import pytest
import torch

from pcpt.geometry.clusters import CELL, radius_clusters


def flood_fill(points, radius, groups):
    """Components of the whole graph: the partition as a set of frozen sets."""
    unseen, parts = set(range(len(points))), set()
    near = torch.cdist(points.double(), points.double()) <= radius
    near &= groups[:, None] == groups[None, :]
    while unseen:
        part, front = set(), [unseen.pop()]
        while front:
            point = front.pop()
            part.add(point)
            found = set(near[point].nonzero().flatten().tolist()) & unseen
            unseen -= found
            front += found
        parts.add(frozenset(part))
    return parts


def partition(labels):
    return {frozenset((labels == k).nonzero().flatten().tolist()) for k in labels.unique()}


@pytest.mark.parametrize("seed", range(30))
def test_equals_the_flood_fill_where_no_two_points_share_a_cell(seed):
    random = np.random.default_rng(seed)
    radius = 0.5
    cell = CELL * radius
    # one point in the middle of each of some random cells: merging changes nothing
    cells = np.unique(random.integers(-14, 15, size=(int(random.integers(1, 200)), 3)), axis=0)
    points = torch.from_numpy((cells + 0.5) * cell).float()
    groups = torch.from_numpy(random.integers(0, 3, size=len(points)))
    # no distance on this lattice lies between 4 and 4.1 cells
    found = radius_clusters(points, radius * 1.0001, groups)
    assert partition(found) == flood_fill(points, radius * 1.0001, groups)
    assert sorted(found.unique().tolist()) == list(range(int(found.max()) + 1))


def test_points_on_top_of_each_other_are_joined_in_little_memory():
    # 40,000 points within a radius have 800 million pairs
    generator = torch.Generator().manual_seed(0)
    heap = 0.02 * torch.randn(40000, 3, generator=generator)
    points = torch.cat([heap, heap + torch.tensor([2.0, 0, 0])])
    found = radius_clusters(points, 0.1)
    assert found[:40000].unique().numel() == found[40000:].unique().numel() == 1
    assert found[0] != found[-1]


def test_clusters_do_not_depend_on_the_order_of_points():
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(500, 3, generator=generator) * 3
    order = torch.randperm(500, generator=generator)
    assert torch.equal(radius_clusters(points, 0.2)[order], radius_clusters(points[order], 0.2))


def test_groups_are_never_joined():
    points = torch.zeros(4, 3)
    assert radius_clusters(points, 1.0).unique().numel() == 1
    found = radius_clusters(points, 1.0, torch.tensor([5, 0, 5, 1]))
    assert found[0] == found[2] and found.unique().numel() == 3


def test_no_points_and_bad_arguments():
    assert radius_clusters(torch.zeros(0, 3), 0.1).shape == (0,)
    for radius in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="radius"):
            radius_clusters(torch.zeros(2, 3), radius)
    with pytest.raises(ValueError, match="nan"):
        radius_clusters(torch.full((2, 3), float("nan")), 0.1)
