import pytest
import torch

from pcpt.losses import lovasz_softmax


def by_definition(probabilities: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The Lovasz extension of the Jaccard loss, set by set."""
    losses = []
    for c in sorted(set(target.tolist()) - {-1}):
        rows = [i for i, t in enumerate(target.tolist()) if t >= 0]
        errors = {
            i: (1 - probabilities[i, c] if target[i] == c else probabilities[i, c]) for i in rows
        }
        order = sorted(rows, key=lambda i: -float(errors[i]))
        positives = {i for i in rows if target[i] == c}

        def jaccard(mistakes: set[int], positives: set[int] = positives) -> float:
            return len(mistakes) / len(positives | mistakes)

        total, mistakes = probabilities.new_zeros(()), set()
        for i in order:
            before = jaccard(mistakes)
            mistakes = mistakes | {i}
            total = total + errors[i] * (jaccard(mistakes) - before)
        losses.append(total)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("count", [1, 7, 33])
@pytest.mark.parametrize("classes", [1, 3, 7])
def test_against_the_definition(count: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(count * 10 + classes)
    for _ in range(20):
        logits = torch.randn(count, classes, generator=generator, dtype=torch.float64)
        target = torch.randint(-1, classes, (count,), generator=generator)
        target[0] = 0
        probabilities = logits.softmax(1)
        expected = by_definition(probabilities, target)
        assert torch.allclose(lovasz_softmax(probabilities, target), expected, atol=1e-12)


def test_right_is_zero_and_wrong_is_one() -> None:
    target = torch.tensor([0, 1, 1, -1])
    right = torch.eye(2)[[0, 1, 1, 0]]
    assert lovasz_softmax(right, target) == 0
    assert lovasz_softmax(1 - right, target) == 1


def test_gradient() -> None:
    logits = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 0, 1, 1, -1, 2, 2])
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), target), logits)


def test_nothing_labelled_is_zero_with_zero_gradient() -> None:
    probabilities = torch.rand(4, 2, requires_grad=True)
    loss = lovasz_softmax(probabilities, torch.full((4,), -1))
    loss.backward()
    assert loss == 0 and probabilities.grad is not None and not probabilities.grad.any()
    with pytest.raises(ValueError, match=r"\(4, 2\), target \(3,\)"):
        lovasz_softmax(probabilities, torch.zeros(3).long())
