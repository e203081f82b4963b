"""Guided masks: the odds of a draw, saliency over views, temperatures."""

import itertools

import pytest
import torch

from pcpt.methods.masking import (
    draw_visible,
    keep_odds,
    number_visible,
    relative_entropy,
    saliency_of_tokens,
)


def test_the_draw_has_the_odds_of_drawing_one_after_the_other() -> None:
    """Probabilities of every set of two among four, against their sum over both orders."""
    logits = torch.tensor([0.3, -1.0, 1.2, 0.0])
    odds = logits.double().softmax(0)
    generator = torch.Generator().manual_seed(0)
    count = 60_000
    noise = torch.rand(count, 4, generator=generator)
    drawn = draw_visible(logits.expand(count, 4), 2, noise)
    assert (drawn.sum(1) == 2).all()
    for a, b in itertools.combinations(range(4), 2):
        share = float((drawn[:, a] & drawn[:, b]).double().mean())
        first = odds[a] * odds[b] / (1 - odds[a])
        second = odds[b] * odds[a] / (1 - odds[b])
        assert share == pytest.approx(float(first + second), abs=0.008)


def test_a_draw_follows_from_its_noise_and_bears_its_extremes() -> None:
    logits = torch.tensor([[5.0, 0.0, -5.0, 0.0]])
    for value in (0.0, 1 - 2**-24):
        drawn = draw_visible(logits, 1, torch.full((1, 4), value))
        assert drawn.tolist() == [[True, False, False, False]]
    mixed = torch.tensor([[0.0, 0.0, 1 - 2**-24, 0.0]])
    assert draw_visible(logits, 1, mixed).sum() == 1


def test_low_temperatures_keep_the_salient_tokens() -> None:
    saliency = torch.arange(16.0)[None]
    noise = torch.rand(2000, 16, generator=torch.Generator().manual_seed(0))

    def mean_kept(temperature):
        logits = keep_odds(saliency, temperature, standardize=True).expand(2000, 16)
        return float((draw_visible(logits, 4, noise) * saliency).sum() / 2000 / 4)

    cold, warm, hot = (mean_kept(t) for t in (0.05, 0.5, 50.0))
    assert cold > 13.4 > warm > 9 > hot > 7, "14 and a half at best, 7 and a half at random"


def test_raw_attention_hardly_guides_and_standardised_does() -> None:
    """The fault of the released code: attention sums to 1 over patches, its softmax is even."""
    attention = torch.rand(4, 64, generator=torch.Generator().manual_seed(0)).softmax(1) * 0.3
    raw = relative_entropy(keep_odds(attention, 1.0, standardize=False))
    mended = relative_entropy(keep_odds(attention, 0.5, standardize=True))
    assert raw.min() > 0.99999
    assert mended.max() < 0.8


def test_standardised_saliency_has_no_scale_and_bears_equal_values() -> None:
    saliency = torch.rand(3, 10, generator=torch.Generator().manual_seed(0))
    one = keep_odds(saliency, 0.5, standardize=True)
    torch.testing.assert_close(keep_odds(saliency * 1e3 + 7, 0.5, standardize=True), one,
                               atol=1e-3, rtol=1e-3)  # fmt: skip
    torch.testing.assert_close(one.std(1, correction=0), torch.full((3,), 2.0))
    torch.testing.assert_close(keep_odds(saliency, 0.25, standardize=False), saliency * 4)
    for value in (0.0, 0.1, 1e6):
        alike = torch.full((1, 7), value) * (1 + 1e-8)
        assert (keep_odds(alike, 0.5, standardize=True) == 0).all()
    assert relative_entropy(torch.zeros(2, 7)).tolist() == pytest.approx([1, 1])


def test_saliency_is_the_mean_over_views_that_show_a_token() -> None:
    by_view = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8]]])
    seen = torch.tensor([[[True, True, False, False], [True, False, True, False]]])
    assert saliency_of_tokens(by_view, None).tolist() == [[3, 4, 5, 6]]
    # 3, 2, 7, and the last, that nothing shows, their mean
    assert saliency_of_tokens(by_view, seen).tolist() == [[3, 2, 7, 4]]
    nothing = saliency_of_tokens(by_view, torch.zeros_like(seen))
    assert nothing.tolist() == [[0, 0, 0, 0]]


def test_number_visible() -> None:
    assert number_visible(64, 0.8) == 13
    assert number_visible(32, 0.8) == 7
    for count, ratio in ((4, 0.1), (1, 0.5)):
        with pytest.raises(ValueError, match=r"masking\.ratio"):
            number_visible(count, ratio)
