"""Pictures: their layout on a page, their titles, and their way into files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pcpt.viz.picture import (
    BACKGROUND,
    color_bytes,
    encode_jpeg,
    filled,
    grid,
    save_png,
    side_by_side,
    stacked,
    text_bar,
    title_height,
)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_png_holds_the_picture_exactly(tmp_path: Path) -> None:
    picture = noise(7, 5)
    path = save_png(tmp_path / "made" / "picture.png", picture)
    read = cv2.imread(str(path))[:, :, ::-1]
    assert np.array_equal(read, picture.permute(1, 2, 0).numpy())


def test_jpeg_keeps_red_red() -> None:
    data = encode_jpeg(filled(16, 16, (250, 10, 20)))
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[8, 8, ::-1]
    assert np.abs(read.astype(int) - (250, 10, 20)).max() < 6


def test_side_by_side_places_pictures_untouched() -> None:
    a, b = noise(6, 4, 1), noise(6, 9, 2)
    row = side_by_side([a, b], gap=3)
    assert tuple(row.shape) == (3, 6, 16)
    assert torch.equal(row[:, :, :4], a) and torch.equal(row[:, :, 7:], b)
    assert torch.equal(row[:, :, 4:7], filled(6, 3))


def test_side_by_side_scales_to_one_height_and_keeps_proportions() -> None:
    row = side_by_side([noise(20, 10), noise(40, 60)], ["left", "right"], height=30, gap=0)
    assert tuple(row.shape) == (3, 30 + title_height(30), 15 + 45)


def test_stacked_and_grid() -> None:
    a, b, c = noise(4, 6, 1), noise(4, 6, 2), noise(4, 6, 3)
    assert torch.equal(grid([a, b, c], gap=2)[:, :4], side_by_side([a, b], gap=2))
    column = stacked([side_by_side([a, b], gap=2), c], gap=1)
    assert torch.equal(grid([a, b, c], gap=1)[:, 5:, 3:9], c)
    assert torch.equal(column[:, 5:, 4:10], c)


def test_text_is_drawn_and_shrinks_to_fit() -> None:
    ground = torch.tensor(BACKGROUND)[:, None, None]
    for width, text in ((200, "student"), (60, "a title much too long for it, $5 $ {x}")):
        bar = text_bar(text, width, 24)
        assert tuple(bar.shape) == (3, 24, width)
        ink = ((bar.int() - ground).abs().amax(0) > 60).any(0)
        assert ink.any() and not ink[:2].any() and not ink[-2:].any()
    assert torch.equal(text_bar("", 50, 20), filled(20, 50))


def test_colors_as_bytes() -> None:
    assert color_bytes(torch.tensor([[0.0, 0.5, 1.0]])).tolist() == [[0, 128, 255]]
    given = torch.zeros(2, 3, dtype=torch.uint8)
    assert color_bytes(given) is given
    for bad in (torch.full((1, 3), 200.0), torch.full((1, 3), torch.nan), torch.zeros(3, 2)):
        with pytest.raises(ValueError, match="colors are"):
            color_bytes(bad)


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 3\) torch.uint8, expected \(3, H, W\)"):
        save_png("unused.png", noise(4, 4).permute(1, 2, 0))
    with pytest.raises(ValueError, match="no pictures"):
        side_by_side([])
    with pytest.raises(ValueError, match="1 titles for 2 pictures"):
        side_by_side([noise(4, 4), noise(4, 4)], ["one"])
