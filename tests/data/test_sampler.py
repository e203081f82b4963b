"""Sample numbers are a function of step and rank."""

import pytest

from pcpt.data.sampler import StepSampler


def test_by_hand() -> None:
    assert list(StepSampler(2, stop=3)) == [[0, 1], [2, 3], [4, 5]]
    second = StepSampler(2, accumulate=2, rank=1, num_ranks=2, stop=2)
    assert list(second) == [[2, 3], [6, 7], [10, 11], [14, 15]]
    assert len(second) == 4


@pytest.mark.parametrize(("accumulate", "num_ranks"), [(1, 1), (4, 1), (1, 4), (2, 2)])
def test_a_step_sees_the_same_samples_however_split(accumulate: int, num_ranks: int) -> None:
    seen: list[set[int]] = [set(), set(), set()]
    for rank in range(num_ranks):
        sampler = StepSampler(
            24 // (accumulate * num_ranks),
            accumulate=accumulate,
            rank=rank,
            num_ranks=num_ranks,
            stop=3,
        )
        for index, batch in enumerate(sampler):
            seen[index // accumulate] |= set(batch)
    assert seen == [set(range(s * 24, (s + 1) * 24)) for s in range(3)]


def test_a_later_start_continues_the_sequence() -> None:
    whole = list(StepSampler(3, accumulate=2, stop=5))
    assert list(StepSampler(3, accumulate=2, start=2, stop=5)) == whole[4:]
