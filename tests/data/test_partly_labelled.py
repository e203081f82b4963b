"""Shares of unlabelled samples near none and near all."""

from fractions import Fraction

import pytest

from pcpt.data.partly_labelled import PartlyLabelled
from tests.methods.test_point_mcd import data


def unlabelled(share: float, numbers: range) -> list[int]:
    mixed = PartlyLabelled(data(limit=0.34), 0, share)
    return [number for number in numbers if int(mixed[number].label) < 0]


def test_no_stream_vanishes_by_rounding() -> None:
    assert unlabelled(0.9996, range(9)) == list(range(1, 9))
    assert len(unlabelled(0.0004, range(2490, 2510))) == 1
    assert not unlabelled(0.0, range(9))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.75, 1 / 3, 0.34, 0.999])
def test_plain_shares_are_plain_fractions(share: float) -> None:
    assert PartlyLabelled(data(), 0, share).share == Fraction(share).limit_denominator(1000)
