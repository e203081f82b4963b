"""VoteNet's parts: bins of headings, boxes of proposals, who is a member, and the head's loss."""

import math

import pytest
import torch

from pcpt.detectors.detections import Targets
from pcpt.detectors.padded import Padding
from pcpt.detectors.votenet import Proposals, VoteHead, decode_proposals, heading_bins
from pcpt.detectors.votenet_loss import WEIGHTS, seed_members, total_loss, votenet_losses


def targets_of(boxes: torch.Tensor, labels: list[int], scene: list[int], own: list[int]) -> Targets:
    return Targets(boxes, torch.tensor(labels), torch.tensor(own), torch.tensor(scene), 0)


@pytest.mark.parametrize("bins", [1, 4, 12])
def test_headings_in_bins(bins: int) -> None:
    yaw = torch.linspace(-9, 9, 181, dtype=torch.float64)
    index, residual = heading_bins(yaw, bins)
    assert int(index.min()) >= 0 and int(index.max()) == bins - 1
    assert residual.abs().max() <= 1 + 1e-9
    back = (2 * index + residual) * math.pi / bins
    torch.testing.assert_close(back.cos(), yaw.cos())
    torch.testing.assert_close(back.sin(), yaw.sin())
    zero, at = heading_bins(torch.zeros(1), bins)
    assert zero.item() == 0 and abs(at.item()) < 1e-6


def perfect(boxes: torch.Tensor, labels: torch.Tensor, means: torch.Tensor, bins: int) -> Proposals:
    """Proposals that say exactly these boxes."""
    count, classes = len(boxes), len(means)
    rows = torch.arange(count)
    index, residual = heading_bins(boxes[:, 6], max(1, bins))
    one_hot = torch.nn.functional.one_hot
    sizes = torch.zeros(count, classes, 3)
    sizes[rows, labels] = boxes[:, 3:6] / means[labels] - 1
    residuals = torch.zeros(count, bins)
    if bins:
        residuals[rows, index] = residual
    return Proposals(
        torch.zeros(count, dtype=torch.int64),
        boxes[:, :3],
        torch.tensor([[-20.0, 20.0]]).repeat(count, 1),
        boxes[:, :3],
        40.0 * one_hot(index, bins).float() if bins else torch.zeros(count, 0),
        residuals,
        40.0 * one_hot(labels, classes).float(),
        sizes,
        40.0 * one_hot(labels, classes).float(),
    )


@pytest.mark.parametrize("bins", [0, 12])
def test_perfect_proposals_decode_to_the_boxes_and_cost_nothing(bins: int) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(9, 7, generator=generator) * 5
    boxes[:, 3:6] += 0.2
    boxes[:, 6] = boxes[:, 6] if bins else 0
    labels = torch.randint(4, (9,), generator=generator)
    means = torch.rand(4, 3, generator=generator) + 0.5
    proposals = perfect(boxes, labels, means, bins)
    decoded = decode_proposals(proposals, means)
    torch.testing.assert_close(decoded[:, :6], boxes[:, :6])
    torch.testing.assert_close(decoded[:, 6].cos(), boxes[:, 6].cos(), atol=1e-5, rtol=0)
    targets = targets_of(boxes, labels.tolist(), [0] * 9, [-1] * 9)
    votes = VoteHead(3, 4)(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0).long(), 1)[0]
    losses = votenet_losses(votes, proposals, torch.zeros(0, 9, dtype=torch.bool), targets, means)
    assert set(losses) == set(WEIGHTS) - (set() if bins else {"heading_class", "heading_residual"})
    assert all(loss.item() < 1e-6 for loss in losses.values())


def test_terms_of_wrong_proposals() -> None:
    """One proposal, 10 cm off, 20% too long, half a bin turned: each term by hand."""
    box = torch.tensor([[1.0, 2, 1, 0.8, 0.6, 1.0, 0.0]])
    means = torch.tensor([[0.8, 0.6, 1.0]])
    said = box + torch.tensor([[0.1, 0, 0, 0.16, 0, 0, math.pi / 12]])
    proposals = perfect(said, torch.tensor([0]), means, 12)
    uncertain = proposals._replace(classes=torch.zeros(1, 1), objectness=torch.zeros(1, 2))
    targets = targets_of(box, [0], [0], [-1])
    votes = VoteHead(3, 1)(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0).long(), 1)[0]
    losses = votenet_losses(votes, uncertain, torch.zeros(0, 1, dtype=torch.bool), targets, means)
    expected = {
        "vote": 0.0,
        "objectness": 0.8 * math.log(2),
        "center": 2 * 0.01,
        "class": 0.0,
        "heading_class": losses[
            "heading_class"
        ].item(),  # which of two bins is a matter of rounding
        "heading_residual": losses["heading_residual"].item(),
        "size_class": 0.0,
        "size_residual": 0.5 * 0.2**2 / 3,
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, abs=1e-6)
    total = 10 * sum(WEIGHTS[name] * value for name, value in expected.items())
    assert total_loss(losses).item() == pytest.approx(total, rel=1e-5)
    far = votenet_losses(
        votes,
        uncertain._replace(positions=box[:, :3] + 5),
        torch.zeros(0, 1, dtype=torch.bool),
        targets,
        means,
    )
    assert far["objectness"].item() == pytest.approx(0.2 * math.log(2))
    assert far["class"].item() == far["size_residual"].item() == 0


def test_members_by_instance_or_by_box() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 2, 2, 2, 0]])
    targets = targets_of(boxes, [0, 0, 0], [0, 0, 1], [4, -1, -1])
    positions = torch.tensor([[0.9, 0, 0], [0.2, 0, 0], [0.2, 0, 0]])
    members = seed_members(positions, torch.tensor([4, -1, 4]), torch.tensor([0, 0, 1]), targets)
    assert members.tolist() == [[True, False, False], [False, True, False], [False, False, True]]


def test_padding_puts_rows_side_by_side() -> None:
    padding = Padding(torch.tensor([0, 0, 2, 2, 2]), 3)
    rows = torch.arange(5.0)[:, None]
    assert padding.pad(rows)[..., 0].tolist() == [[0, 1, 0], [0, 0, 0], [2, 3, 4]]
    found, scene = padding.rows(torch.tensor([[1, -1], [-1, -1], [2, 0]]))
    assert found.tolist() == [1, 4, 2] and scene.tolist() == [0, 2, 2]
    assert Padding(torch.zeros(0, dtype=torch.int64), 2).pad(torch.zeros(0, 4)).shape == (2, 0, 4)


@pytest.mark.parametrize("counts", [[40, 40], [5, 40], [0, 12], [1]])
def test_head_takes_scenes_of_any_size(counts: list[int]) -> None:
    torch.manual_seed(0)
    head = VoteHead(6, 4, num_seeds=16, num_proposals=8, heading_bins=6).eval()
    scene = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    features, positions = torch.randn(len(scene), 6), torch.rand(len(scene), 3)
    with torch.no_grad():
        votes, proposals = head(features, positions, scene, len(counts))
    for number, count in enumerate(counts):
        assert int((votes.batch_index == number).sum()) == min(16, count)
        assert int((proposals.batch_index == number).sum()) == min(8, count)
        mine = scene == number
        with torch.no_grad():
            alone = head(features[mine], positions[mine], torch.zeros(count).long(), 1)[1]
        together = proposals.centers[proposals.batch_index == number]
        torch.testing.assert_close(alone.centers, together)
    norm = votes.features.norm(dim=1)
    torch.testing.assert_close(norm, torch.ones_like(norm))
    begin = positions[votes.rows]
    assert (votes.positions - begin).norm(dim=1).amax() < 0.1  # votes begin at their seeds
