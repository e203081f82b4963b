"""A one-stage, fully sparse detection head: classes and boxes at the voxels of decoder levels.

After TR3D (Rukhovich et al. 2023, arXiv 2302.02858) and FCAF3D (2021, arXiv 2112.00322), without
their generation and pruning of voxels: every box is answered for by the occupied voxels nearest to
its centre, at a level that its size decides. Turned boxes are coded as in FCAF3D, which leaves no
two ways to write the same box.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcpt.sparse import Conv3d, SparseTensor
from pcpt.students.blocks import ConvNorm

PRIOR = 0.01  # of a class at a location before training (focal loss's initialisation)
BASE_CELLS = 4.0  # size of a box, in cells of its level, that an output of 0 stands for
MAX_LOG = 4.0  # of sizes: factors above e^4 would be noise, and overflow


class Predictions(NamedTuple):
    """Outputs at N locations of all levels and scenes.

    Attributes:
        locations: (N, 3) centres of voxels, metres.
        batch_index: (N,) int64.
        level: (N,) int64, place in the head's levels.
        logits: (N, C).
        boxes: (N, 7) ``[cx, cy, cz, dx, dy, dz, yaw]``, yaw in (-pi/2, pi/2].
    """

    locations: Tensor
    batch_index: Tensor
    level: Tensor
    logits: Tensor
    boxes: Tensor


class OneStageHead(nn.Module):
    """For every level a 3x3x3 convolution with norm, then outputs shared by the levels.

    Args:
        in_channels: width of the features at each level.
        channels: width of the head.
        num_classes: C.
        oriented: predict headings.
        momentum: of the running statistics.
        sync: batch statistics over all ranks.
    """

    def __init__(
        self,
        in_channels: list[int],
        channels: int,
        num_classes: int,
        *,
        oriented: bool,
        momentum: float = 0.1,
        sync: bool = False,
    ) -> None:
        super().__init__()
        self.oriented = oriented
        convolutions = [Conv3d(width, channels, 3) for width in in_channels]
        for convolution in convolutions:
            fan_out = convolution.weight.shape[0] * channels
            nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_out))
        self.necks = nn.ModuleList(ConvNorm(each, momentum, sync) for each in convolutions)
        self.classes = nn.Linear(channels, num_classes)
        self.geometry = nn.Linear(channels, 7 if oriented else 6)
        for layer in (self.classes, self.geometry):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.classes.bias, -math.log(1 / PRIOR - 1))

    def forward(self, levels: list[SparseTensor], voxel_size: float) -> Predictions:
        """Features at each level, (N_l, C_l), to outputs at all of them, level by level."""
        parts = []
        for number, (neck, level) in enumerate(zip(self.necks, levels, strict=True)):
            features = neck(level).features
            edge = voxel_size * level.stride
            coordinates = level.coordinates
            wide = torch.promote_types(features.dtype, torch.float32)  # metres need the precision
            locations = (coordinates[:, 1:].to(wide) + level.stride / 2) * voxel_size
            boxes = decode_boxes(self.geometry(features), locations, edge)
            batch_index = coordinates[:, 0].long()
            where = torch.full_like(batch_index, number)
            parts.append((locations, batch_index, where, self.classes(features), boxes))
        return Predictions(*(torch.cat(part) for part in zip(*parts)))


def decode_boxes(outputs: Tensor, locations: Tensor, edge: float) -> Tensor:
    """Boxes (N, 7) from what the head puts out at locations.

    The first three outputs are the centre's place from the location, in cells. Along the axes the
    next three are logarithms of the sizes. Of turned boxes two are the logarithms of (dx + dy) / 2
    and dz, and the last two the vector ``log(dx / dy) * (cos 2 yaw, sin 2 yaw)``: a square has no
    heading, and turning by a quarter while swapping the sides changes nothing.

    Args:
        outputs: (N, 6), or (N, 7) for turned boxes.
        locations: (N, 3) metres.
        edge: of a cell, metres.
    """
    wide = torch.promote_types(outputs.dtype, torch.float32)
    outputs, locations = outputs.to(wide), locations.to(wide)
    centers = locations + outputs[:, :3] * edge
    base = BASE_CELLS * edge
    if outputs.shape[1] == 6:
        sizes = base * outputs[:, 3:].clamp(-MAX_LOG, MAX_LOG).exp()
        return torch.cat((centers, sizes, torch.zeros_like(outputs[:, :1])), dim=1)
    mean, height = (base * outputs[:, 3:5].clamp(-MAX_LOG, MAX_LOG).exp()).unbind(1)
    across, along = outputs[:, 5], outputs[:, 6]
    ratio = (across.square() + along.square() + 1e-12).sqrt().clamp(max=MAX_LOG).exp()
    yaw = torch.atan2(along, across + 1e-12) / 2
    length, width = 2 * mean * ratio / (1 + ratio), 2 * mean / (1 + ratio)
    return torch.cat((centers, torch.stack((length, width, height, yaw), dim=1)), dim=1)
