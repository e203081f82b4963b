"""Few-shot episodes: from a few examples of a few classes tell further shapes of them apart."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcpt.choices import check_minimum
from pcpt.data.order import generator_for


class Episode(NamedTuple):
    """One task of ``ways`` classes.

    Attributes:
        classes: (ways,) int64, class index of each label within the episode.
        support: (ways * shots,) int64, places of the examples in the list of shapes.
        support_label: (ways * shots,) int64 in 0..ways - 1.
        query: (ways * queries,) int64, places of the shapes to tell apart; none is an example.
        query_label: (ways * queries,) int64 in 0..ways - 1.
    """

    classes: Tensor
    support: Tensor
    support_label: Tensor
    query: Tensor
    query_label: Tensor


def draw_episode(
    labels: Sequence[int],
    *,
    ways: int,
    shots: int,
    queries: int = 20,
    seed: int = 0,
    number: int = 0,
) -> Episode:
    """Episode ``number`` of a seed; a function of the arguments alone.

    The usual protocol (Sharma and Kaul, NeurIPS 2020, arXiv 2009.14168) is the mean over ten
    episodes of 5 or 10 ways, 10 or 20 shots and 20 queries of each class on ModelNet40.

    Args:
        labels: class index of every shape; -1, no label, is never drawn.
        ways: classes of an episode.
        shots: examples of each class.
        queries: further shapes of each class.
        seed: of all episodes.
        number: of this one.

    Raises:
        ValueError: fewer than ``ways`` classes have ``shots + queries`` shapes.
    """
    check_minimum("ways", ways, 2)
    check_minimum("shots", shots, 1)
    check_minimum("queries", queries, 1)
    generator = generator_for(seed, number)
    every = torch.as_tensor(list(labels), dtype=torch.int64)
    found, counts = every[every >= 0].unique(return_counts=True)
    large = found[counts >= shots + queries]
    if len(large) < ways:
        raise ValueError(
            f"an episode of {ways} ways, {shots} shots and {queries} queries needs {ways} classes "
            f"of {shots + queries} shapes; {len(large)} of {len(found)} classes have as many"
        )
    classes = large[torch.randperm(len(large), generator=generator)[:ways]]
    support, query = [], []
    for label in classes.tolist():
        members = (every == label).nonzero()[:, 0]
        drawn = members[torch.randperm(len(members), generator=generator)[: shots + queries]]
        support.append(drawn[:shots])
        query.append(drawn[shots:])
    way = torch.arange(ways)
    return Episode(
        classes,
        torch.cat(support),
        way.repeat_interleave(shots),
        torch.cat(query),
        way.repeat_interleave(queries),
    )
