"""Curves from records as a run writes them, whole or broken."""

import math

import pytest
import torch

from pcpt.viz.curves import _smoothed, loss_curve
from pcpt.viz.picture import filled


def records(count: int) -> list[dict[str, float]]:
    return [{"step": i, "loss": 8 * math.exp(-i / 50), "lr": 0.1} for i in range(count)]


def test_curve_is_drawn_at_the_size_asked_for_and_repeatable() -> None:
    picture = loss_curve(records(100), width=400, height=200)
    assert tuple(picture.shape) == (3, 200, 400)
    assert (picture != filled(200, 400)).any(0).float().mean() > 0.01
    assert torch.equal(picture, loss_curve(records(100), width=400, height=200))


def test_levels_and_several_keys_change_the_picture() -> None:
    one = loss_curve(records(20), width=300, height=150)
    two = loss_curve(records(20), ("loss", "lr"), width=300, height=150)
    level = loss_curve(records(20), levels={"a guess, $": 7.0}, width=300, height=150)
    assert not torch.equal(one, two) and not torch.equal(one, level)


def test_records_without_a_number_are_passed_over() -> None:
    extra = [{"step": 3, "loss": math.nan}, {"loss": 1.0}, {"step": 5, "recall@1": 0.3}]
    extra += [{"step": 6, "loss": "high"}, {"step": 7, "loss": None}]
    clean = loss_curve(records(10), width=300, height=150)
    assert torch.equal(loss_curve([*extra, *records(10)], width=300, height=150), clean)
    assert loss_curve(records(1), width=300, height=150).shape[0] == 3


def test_smoothing_keeps_straight_lines_straight() -> None:
    line = torch.arange(200).numpy() * 0.5 + 3
    assert _smoothed(line) == pytest.approx(line)


def test_nothing_to_draw_is_an_error_that_names_the_keys() -> None:
    with pytest.raises(ValueError, match=r"\['accuracy'\]; keys are \['loss', 'lr', 'step'\]"):
        loss_curve(records(3), ("accuracy",))
