import pytest
import torch

from pcpt.viz.codewords import (
    HIDDEN,
    SAME,
    VISIBLE,
    codeword_map,
    retrieval_picture,
    visibility_picture,
)


def has(picture: torch.Tensor, color: tuple[int, int, int]) -> bool:
    return bool((picture == torch.tensor(color, dtype=torch.uint8)[:, None, None]).all(0).any())


def test_visible_points_are_bright() -> None:
    pictures = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    pixel = torch.tensor([[[10.0, 10.0], [30.0, 30.0]]]).repeat(2, 1, 1)
    visible = torch.tensor([[True, True], [False, False]])
    picture = visibility_picture(pictures, pixel, visible, height=80)
    assert picture.shape == (3, 166, 166)
    left, right = picture[:, 86:, :80], picture[:, 86:, 86:]
    assert tuple(left[:, 20, 20].tolist()) == VISIBLE and not has(left, HIDDEN)
    assert tuple(right[:, 60, 60].tolist()) == HIDDEN and not has(right, VISIBLE)


def test_codeword_map() -> None:
    torch.manual_seed(0)
    rows, label = torch.randn(12, 5), torch.tensor([0, 1, 2, -1] * 3)
    picture = codeword_map({"a": rows, "b": rows * 2, "c": rows}, label, ["x", "y", "z"])
    assert picture.dtype == torch.uint8 and picture.shape[2] == 1280
    for flat in (torch.ones(4, 5), torch.ones(4, 1), torch.ones(1, 5)):  # nothing to spread out
        codeword_map({"a": flat}, torch.full((len(flat),), -1), [])
    with pytest.raises(ValueError, match="equal"):
        codeword_map({"a": rows, "b": rows[:3]}, label, ["x", "y", "z"])
    with pytest.raises(ValueError, match="equal"):
        codeword_map({}, label, [])


def test_retrieval_frames() -> None:
    picture = torch.full((3, 20, 20), 7, dtype=torch.uint8)
    rows = [(picture, [(picture, "same"), (picture, "other")])]
    shown = retrieval_picture(rows, height=60)
    assert shown.shape[1] == 60 and has(shown, SAME)
    assert not has(retrieval_picture([(picture, [(picture, "other")])], height=60), SAME)
