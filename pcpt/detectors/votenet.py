"""VoteNet's head (Qi et al., ICCV 2019, arXiv 1904.09664) on features of a voxel network.

Seeds vote for the centre of the object they lie on; votes that meet are pooled into proposals,
which say whether there is an object, where, how large, how turned, and what.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.detectors.padded import Padding
from pcpt.detectors.perceptron import perceptron
from pcpt.ops import ball_query, farthest_points

SEED_CHANNELS = 256
PROPOSAL_CHANNELS = 128
MIN_SIZE = 0.01  # metres; a residual may ask for less than nothing


class Votes(NamedTuple):
    """Seeds of all scenes, sorted by scene, and what they vote for.

    Attributes:
        rows: (S,) int64, the voxel that each seed is.
        batch_index: (S,) int64.
        positions: (S, 3) metres, of the votes.
        features: (S, 256), unit length.
    """

    rows: Tensor
    batch_index: Tensor
    positions: Tensor
    features: Tensor


class Proposals(NamedTuple):
    """P proposals of all scenes, sorted by scene.

    Attributes:
        batch_index: (P,) int64.
        positions: (P, 3) the votes that they gathered around, metres.
        objectness: (P, 2) logits: nothing, an object.
        centers: (P, 3) metres.
        heading_logits: (P, H) bins of the heading; H = 0 along the axes.
        heading_residuals: (P, H) from the bin's middle, in half bins.
        size_logits: (P, C) whose class's mean size to start from; (P, 0) with direct sizes.
        sizes: (P, C, 3) residuals as shares of the mean sizes; direct: (P, 1, 3) logarithms.
        classes: (P, C) logits.
    """

    batch_index: Tensor
    positions: Tensor
    objectness: Tensor
    centers: Tensor
    heading_logits: Tensor
    heading_residuals: Tensor
    size_logits: Tensor
    sizes: Tensor
    classes: Tensor


class VoteHead(nn.Module):
    """Voting, grouping and proposals.

    Args:
        in_channels: of the voxel features.
        num_classes: C.
        num_seeds: voxels that vote, per scene.
        num_proposals: per scene.
        heading_bins: H; 0 for boxes along the axes.
        size_classes: start from the mean sizes of classes; otherwise predict sizes directly.
        radius: metres around a proposal's vote from which votes are pooled.
        samples: votes pooled at most.
        momentum: of the running statistics.
        sync: batch statistics over all ranks.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        num_seeds: int = 1024,
        num_proposals: int = 256,
        heading_bins: int = 0,
        size_classes: bool = True,
        radius: float = 0.3,
        samples: int = 16,
        momentum: float = 0.1,
        sync: bool = False,
    ) -> None:
        super().__init__()
        self.num_seeds, self.num_proposals = num_seeds, num_proposals
        self.radius, self.samples = radius, samples
        self.seed = nn.Linear(in_channels, SEED_CHANNELS)
        self.voting = perceptron([SEED_CHANNELS] * 3, momentum, sync)
        self.vote = nn.Linear(SEED_CHANNELS, 3 + SEED_CHANNELS)
        width = PROPOSAL_CHANNELS
        self.pooling = perceptron([3 + SEED_CHANNELS, width, width, width], momentum, sync)
        self.proposal = perceptron([width] * 3, momentum, sync)
        self.objectness = nn.Linear(width, 2)
        self.center = nn.Linear(width, 3)
        self.heading = nn.Linear(width, 2 * heading_bins) if heading_bins else None
        self.size_class = nn.Linear(width, num_classes) if size_classes else None
        self.size = nn.Linear(width, 3 * num_classes if size_classes else 3)
        self.classes = nn.Linear(width, num_classes)
        # votes and centres begin where their seeds and proposals are, not metres away
        with torch.no_grad():
            for weight in (self.vote.weight[:3], self.vote.bias[:3], *self.center.parameters()):
                weight.mul_(0.01)

    def forward(
        self, features: Tensor, positions: Tensor, batch_index: Tensor, num_scenes: int
    ) -> tuple[Votes, Proposals]:
        """
        Args:
            features: (N, C_in) of voxels, sorted by scene.
            positions: (N, 3) metres.
            batch_index: (N,) int64, ascending.
            num_scenes: B.
        """
        votes = self._vote(features, positions, batch_index, num_scenes)
        return votes, self._propose(votes, num_scenes)

    def _vote(
        self, features: Tensor, positions: Tensor, batch_index: Tensor, num_scenes: int
    ) -> Votes:
        voxels = Padding(batch_index, num_scenes)
        places = farthest_points(voxels.pad(positions), self.num_seeds, lengths=voxels.lengths)
        rows, scene = voxels.rows(places)
        seeds = self.seed(features[rows])
        offsets, residuals = self.vote(self.voting(seeds)).split((3, SEED_CHANNELS), dim=1)
        voted = F.normalize(seeds + residuals, dim=1)
        return Votes(rows, scene, positions[rows] + offsets, voted)

    def _propose(self, votes: Votes, num_scenes: int) -> Proposals:
        padding = Padding(votes.batch_index, num_scenes)
        where = padding.pad(votes.positions.detach())  # which votes meet has no gradient
        chosen = farthest_points(where, self.num_proposals, lengths=padding.lengths)
        rows, scene = padding.rows(chosen)
        groups = Padding(scene, num_scenes)
        middles = votes.positions[rows]
        near = ball_query(
            groups.pad(middles.detach()),
            where,
            self.radius,
            self.samples,
            query_lengths=groups.lengths,
            lengths=padding.lengths,
        ).index
        members = torch.where(near < 0, near[..., :1], near)  # a ball is never without its middle
        place = torch.arange(len(rows), device=rows.device) - groups.starts[scene]
        members = padding.starts[scene][:, None] + members[scene, place]
        away = (votes.positions[members] - middles[:, None]) / self.radius
        grouped = torch.cat((away, votes.features[members]), dim=2)
        pooled = self.pooling(grouped.flatten(0, 1)).unflatten(0, members.shape).amax(1)
        return self._read(self.proposal(pooled), middles, scene)

    def _read(self, rows: Tensor, middles: Tensor, scene: Tensor) -> Proposals:
        none = rows.new_zeros(len(rows), 0)
        heading = none if self.heading is None else self.heading(rows)
        return Proposals(
            batch_index=scene,
            positions=middles,
            objectness=self.objectness(rows),
            centers=middles + self.center(rows),
            heading_logits=heading[:, : heading.shape[1] // 2],
            heading_residuals=heading[:, heading.shape[1] // 2 :],
            size_logits=none if self.size_class is None else self.size_class(rows),
            sizes=self.size(rows).unflatten(1, (-1, 3)),
            classes=self.classes(rows),
        )


def heading_bins(yaw: Tensor, num_bins: int) -> tuple[Tensor, Tensor]:
    """Bin (N,) int64 of headings (N,), and their place from its middle in half bins, [-1, 1].

    Bin b is centred on ``2 pi b / num_bins``.
    """
    width = 2 * math.pi / num_bins
    turned = torch.remainder(yaw + width / 2, 2 * math.pi)
    index = (turned / width).long().clamp(max=num_bins - 1)
    return index, (turned - (index.to(yaw.dtype) + 0.5) * width) / (width / 2)


def decode_proposals(proposals: Proposals, mean_sizes: Tensor) -> Tensor:
    """(P, 7) boxes of proposals; the likeliest heading bin and size class are taken.

    Args:
        proposals: of a head.
        mean_sizes: (C, 3) metres, of each class; not looked at with direct sizes.
    """
    rows = torch.arange(len(proposals.centers), device=proposals.centers.device)
    if proposals.size_logits.shape[1]:
        chosen = proposals.size_logits.argmax(1)
        sizes = mean_sizes[chosen] * (1 + proposals.sizes[rows, chosen])
    else:
        sizes = proposals.sizes[:, 0].clamp(-4, 4).exp()
    yaw = torch.zeros_like(sizes[:, :1])
    num_bins = proposals.heading_logits.shape[1]
    if num_bins:
        index = proposals.heading_logits.argmax(1)
        half = math.pi / num_bins
        residual = proposals.heading_residuals[rows, index]
        yaw = ((2 * index + residual) * half)[:, None]
    return torch.cat((proposals.centers, sizes.clamp(min=MIN_SIZE), yaw), dim=1)
