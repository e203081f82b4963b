"""Visibility-aware feature projection against loops over views and points."""

import pytest
import torch

from pcpt.methods.visible_projection import VisibleProjection, visible_max


def by_hand(
    embedding: torch.Tensor, visible: torch.Tensor, masking: str = "exclude"
) -> torch.Tensor:
    out = torch.zeros(len(embedding), visible.shape[1], embedding.shape[2], dtype=embedding.dtype)
    for shape in range(len(embedding)):
        for view in range(visible.shape[1]):
            shown = visible[shape, view]
            if masking == "multiply":
                out[shape, view] = (embedding[shape] * shown[:, None]).max(0).values
            elif bool(shown.any()):
                out[shape, view] = embedding[shape][shown].max(0).values
    return out


@pytest.mark.parametrize("masking", ["exclude", "multiply"])
@pytest.mark.parametrize("seed", range(10))
def test_maximum_over_visible_points(masking: str, seed: int) -> None:
    torch.manual_seed(seed)
    batch, points, views, channels = torch.randint(1, 9, (4,)).tolist()
    embedding = torch.randn(batch, points, channels) - 0.5  # most are below zero
    visible = torch.rand(batch, views, points) < torch.rand(()).item()
    visible[0, 0] = False
    found, valid = visible_max(embedding, visible, masking)
    assert torch.equal(found, by_hand(embedding, visible, masking))
    assert torch.equal(valid, visible.any(2)) and bool((found[0, 0] == 0).all())


def test_negative_features_stay_negative() -> None:
    embedding = torch.tensor([[[-3.0], [-1.0], [-2.0]]])
    visible = torch.tensor([[[True, False, True], [True, True, True]]])
    assert visible_max(embedding, visible)[0].flatten().tolist() == [-2, -1]
    # the released code's product lets hidden points in with zeros
    assert visible_max(embedding, visible, "multiply")[0].flatten().tolist() == [0, -1]


def test_gradient() -> None:
    torch.manual_seed(1)
    embedding = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    visible = torch.rand(2, 4, 6) < 0.4
    visible[1, 2] = False
    assert torch.autograd.gradcheck(lambda e: visible_max(e, visible)[0], embedding)
    nothing = torch.zeros(2, 4, 6, dtype=torch.bool)
    out, valid = visible_max(embedding, nothing)
    out.sum().backward()
    assert not bool(valid.any()) and bool((embedding.grad == 0).all())


def test_descriptors_of_views_that_show_nothing() -> None:
    torch.manual_seed(2)
    layer = VisibleProjection(3, 5).train()
    embedding, visible = torch.randn(4, 6, 3), torch.rand(4, 2, 6) < 0.7
    visible[:, 0, 0] = True
    visible[1:, 1] = False
    codeword, valid = layer(embedding, visible)
    assert valid.tolist()[1:] == [[True, False]] * 3
    assert bool((codeword[1:, 1] == 0).all()) and bool((codeword[valid] >= 0).all())
    # the norm has seen the valid rows and no zeros
    rows = by_hand(embedding, visible)[valid] @ layer.linear.weight.T
    assert torch.allclose(layer.norm.running_mean, 0.1 * rows.mean(0), atol=1e-6)
    expected = layer.norm(rows).relu()
    assert torch.allclose(codeword[valid], expected, atol=1e-5)
    counted, all_valid = VisibleProjection(3, 5, skip_empty=False)(embedding, visible)
    assert bool(all_valid.all()) and counted.shape == codeword.shape


def test_signed_codewords() -> None:
    torch.manual_seed(3)
    layer = VisibleProjection(3, 5, relu=False)
    codeword, _ = layer(torch.randn(4, 6, 3), torch.ones(4, 2, 6).bool())
    assert bool((codeword < 0).any())


def test_refuses() -> None:
    with pytest.raises(ValueError, match="one for each point"):
        visible_max(torch.zeros(2, 5, 3), torch.zeros(2, 4, 6).bool())
    with pytest.raises(ValueError, match="masking"):
        VisibleProjection(3, 4, masking="ignore")
