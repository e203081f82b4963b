"""VoteNet's terms against double loops."""

import math

import pytest
import torch

from pcpt.losses.votenet import center_loss, objectness_labels, objectness_loss, vote_loss


def test_votes() -> None:
    generator = torch.Generator().manual_seed(0)
    for seeds, boxes in ((7, 3), (33, 1), (5, 0), (0, 3)):
        votes = torch.rand(seeds, 3, generator=generator, dtype=torch.float64).requires_grad_()
        members = torch.rand(seeds, boxes, generator=generator) < 0.4
        centers = torch.rand(boxes, 3, generator=generator, dtype=torch.float64)
        terms = []
        for i in range(seeds):
            options = [
                sum(abs(a - b) for a, b in zip(votes[i].tolist(), centers[j].tolist()))
                for j in range(boxes)
                if members[i, j]
            ]
            if options:
                terms.append(min(options))
        loss = vote_loss(votes, members, centers)
        assert loss.item() == pytest.approx(sum(terms) / len(terms) if terms else 0.0)
        assert torch.autograd.gradcheck(lambda v, m=members, c=centers: vote_loss(v, m, c), votes)


def test_objectness() -> None:
    distance = torch.tensor([0.0, 0.29, 0.3, 0.6, 0.61, math.inf])
    labels = objectness_labels(distance)
    assert labels.tolist() == [1, 1, -1, -1, 0, 0]
    logits = torch.randn(6, 2, dtype=torch.float64).requires_grad_()
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist()):
        if label >= 0:
            shares = [math.exp(value) for value in row]
            total -= (0.2, 0.8)[label] * math.log(shares[label] / sum(shares))
    assert objectness_loss(logits, labels).item() == pytest.approx(total / 4)
    assert torch.autograd.gradcheck(lambda x: objectness_loss(x, labels), (logits,))
    nothing = objectness_loss(logits, torch.full((6,), -1))
    nothing.backward()
    assert nothing.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_centers() -> None:
    generator = torch.Generator().manual_seed(1)
    for proposals, boxes in ((9, 4), (1, 1), (5, 0), (0, 4)):
        centers = torch.rand(proposals, 3, generator=generator, dtype=torch.float64)
        targets = torch.rand(boxes, 3, generator=generator, dtype=torch.float64)
        scene = torch.arange(proposals) % 2
        target_scene = torch.arange(boxes) % 3  # of scene 2 there is no proposal
        same = scene[:, None] == target_scene
        positive = same.any(1) & (torch.rand(proposals, generator=generator) < 0.7)
        forth = [
            min(
                math.dist(centers[i].tolist(), targets[j].tolist()) ** 2
                for j in range(boxes)
                if same[i, j]
            )
            for i in range(proposals)
            if positive[i]
        ]
        back = [
            min(
                math.dist(centers[i].tolist(), targets[j].tolist()) ** 2
                for i in range(proposals)
                if same[i, j]
            )
            for j in range(boxes)
            if same[:, j].any()
        ]
        expected = sum(sum(part) / len(part) for part in (forth, back) if part)
        leaf = centers.requires_grad_()
        assert center_loss(leaf, positive, targets, same).item() == pytest.approx(expected)
        assert torch.autograd.gradcheck(
            lambda c, p=positive, t=targets, s=same: center_loss(c, p, t, s), (leaf,)
        )
