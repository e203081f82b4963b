import pytest
import torch

from pcpt.losses.codewords import codeword_l1


def test_mean_over_valid_views() -> None:
    torch.manual_seed(0)
    student = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, 5, requires_grad=True)
    valid = torch.rand(3, 4) < 0.6
    terms = [
        abs(student[b, v, d].item() - teacher[b, v, d].item())
        for b in range(3)
        for v in range(4)
        for d in range(5)
        if valid[b, v]
    ]
    loss = codeword_l1(student, teacher, valid)
    assert loss.item() == pytest.approx(sum(terms) / len(terms))
    loss.backward()
    assert teacher.grad is None and bool((student.grad[~valid] == 0).all())


def test_no_valid_view_no_loss() -> None:
    student = torch.randn(2, 3, 4, requires_grad=True)
    loss = codeword_l1(student, torch.full((2, 3, 4), torch.inf), torch.zeros(2, 3).bool())
    loss.backward()
    assert loss.item() == 0 and bool((student.grad == 0).all())


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"\(B, V, D\)"):
        codeword_l1(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.zeros(2, 3).bool())
    with pytest.raises(ValueError, match="valid is"):
        codeword_l1(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.zeros(2, 4).bool())
