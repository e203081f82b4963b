"""The 3D student: a sparse residual U-Net on voxels, and its use on plain point clouds."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcpt.choices import check_choice, check_minimum
from pcpt.ops import voxelize
from pcpt.registry import register
from pcpt.sparse import Conv3d, ConvTranspose3d, SparseTensor
from pcpt.students.blocks import ConvNorm, DownStage, UpStage
from pcpt.students.cloud import as_colors, as_points, centre_on_grid, inference, mean_colors
from pcpt.students.pretrained import Pretrained

NUM_LEVELS = 4  # stages down, and as many up
# variant -> widths and numbers of residual blocks of the stages, down then up
VARIANTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "small": ((32, 64, 96, 128, 96, 64, 64, 64), (1, 1, 1, 1, 1, 1, 1, 1)),
    "res16unet14": ((32, 64, 128, 256, 128, 128, 96, 96), (1, 1, 1, 1, 1, 1, 1, 1)),
    "res16unet18a": ((32, 64, 128, 256, 128, 128, 96, 96), (2, 2, 2, 2, 2, 2, 2, 2)),
    "res16unet34c": ((32, 64, 128, 256, 256, 128, 96, 96), (2, 3, 4, 6, 2, 2, 2, 2)),
}


@register("students", "sparse_unet")
class SparseUNet(Pretrained):
    """Sparse residual U-Net: PPKT's SR-UNet (Liu et al. 2021) is variant "res16unet34c".

    Stem, four stages that halve the resolution, four that double it again with the encoder's
    features appended, after Choy et al. (CVPR 2019) and Xie et al. (ECCV 2020). Weights are drawn
    from torch's generator: seed it for a network that can be made again.

    Args:
        config: see ``Config``.

    Attributes:
        feature_channels: width of the features that ``forward`` yields.
        level_channels: widths of what ``levels`` yields.
        out_channels: width of the final projection, 0 where there is none.
        voxel_size: metres.

    Example:
        >>> model = SparseUNet(SparseUNet.Config(variant="small"))
        >>> model.features_at(torch.rand(100, 3), torch.rand(100, 3)).shape
        torch.Size([100, 64])
    """

    @dataclass
    class Config:
        """Keys of the ``student`` section.

        Attributes:
            variant: small (3.5M parameters, for CPUs), res16unet14, res16unet18a or
                res16unet34c (38M, the paper's).
            in_channels: features of a voxel; 3 = RGB.
            out_channels: of the final 1x1 convolution with bias; 0 leaves it out.
            stem_kernel: edge of the stem's kernel (PPKT 3; the original networks 5).
            voxel_size: metres (PPKT pretrains at 0.025).
            bn_momentum: weight of the newest batch in the running statistics.
            sync_bn: batch statistics over all ranks of a distributed run.
            planes: widths of the 8 stages in place of the variant's.
            blocks: numbers of residual blocks of the 8 stages in place of the variant's.
            stem_channels: width of the stem.

        Raises:
            ValueError: unknown variant, or a value out of range.
        """

        name: str = "sparse_unet"
        variant: str = "res16unet34c"
        in_channels: int = 3
        out_channels: int = 128
        stem_kernel: int = 3
        voxel_size: float = 0.025
        bn_momentum: float = 0.1
        sync_bn: bool = False
        planes: list[int] | None = None
        blocks: list[int] | None = None
        stem_channels: int = 32

        def __post_init__(self) -> None:
            check_choice("student.variant", self.variant, VARIANTS)
            for key in ("in_channels", "stem_kernel", "stem_channels"):
                check_minimum(f"student.{key}", getattr(self, key), 1)
            check_minimum("student.out_channels", self.out_channels, 0)
            if not 0 < self.voxel_size < math.inf:
                raise ValueError(
                    f"student.voxel_size is {self.voxel_size}, expected metres above 0: 0.05"
                )
            if self.stem_kernel % 2 == 0:
                raise ValueError(f"student.stem_kernel is {self.stem_kernel}, expected odd: 3 or 5")
            if not 0 < self.bn_momentum <= 1:
                raise ValueError(f"student.bn_momentum is {self.bn_momentum}, expected in (0, 1]")
            _check_stages("planes", self.planes)
            _check_stages("blocks", self.blocks)

    def __init__(self, config: Config) -> None:
        super().__init__()
        default_planes, default_blocks = VARIANTS[config.variant]
        planes = tuple(config.planes or default_planes)
        blocks = tuple(config.blocks or default_blocks)
        self.config = config
        self.voxel_size = config.voxel_size
        self.out_channels = config.out_channels
        self.feature_channels = planes[-1]
        self.level_channels = planes[NUM_LEVELS - 1 :]
        norm = (config.bn_momentum, config.sync_bn)
        stem = Conv3d(config.in_channels, config.stem_channels, config.stem_kernel)
        self.stem = ConvNorm(stem, *norm)
        widths = [config.stem_channels, *planes]
        self.encoder = nn.ModuleList(
            DownStage(widths[i], widths[i + 1], blocks[i], *norm) for i in range(NUM_LEVELS)
        )
        self.decoder = nn.ModuleList(
            # stage i rises to the resolution of encoder level 7 - i, whose width is widths[7 - i]
            UpStage(widths[i], widths[2 * NUM_LEVELS - 1 - i], widths[i + 1], blocks[i], *norm)
            for i in range(NUM_LEVELS, 2 * NUM_LEVELS)
        )
        self.final = nn.Linear(planes[-1], config.out_channels) if config.out_channels else None
        self._initialise()

    def _initialise(self) -> None:
        """He initialisation by fan out, as is usual for residual networks."""
        for module in self.modules():
            if isinstance(module, (Conv3d, ConvTranspose3d)):
                fan_out = module.weight.shape[0] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, in_channels) -> (N, feature_channels), same voxels in the same order."""
        return self.levels(x)[-1]

    def levels(self, x: SparseTensor) -> list[SparseTensor]:
        """Features of every level, coarse to fine: what the encoder ends in, at 16 times the
        voxel size, then each stage of the decoder; the last is what ``forward`` yields."""
        x = self.stem(x)
        skips = []
        for down in self.encoder:
            skips.append(x)
            x = down(x)
        levels = [x]
        for up in self.decoder:
            levels.append(up(levels[-1], skips.pop()))
        return levels

    def project(self, features: Tensor) -> Tensor:
        """The final 1x1 convolution: (N, feature_channels) -> (N, out_channels).

        Raises:
            ValueError: the network was built with ``out_channels=0``.
        """
        if self.final is None:
            raise ValueError("this student has no final projection: its out_channels is 0")
        return self.final(features)

    @torch.no_grad()
    def voxels(
        self, points: Tensor, colors: Tensor | None = None, batch_index: Tensor | None = None
    ) -> tuple[SparseTensor, Tensor]:
        """The network's input for a batch of clouds: mean colour per voxel, mapped to [-1, 1].

        Args:
            points: (N, 3) floating point, metres.
            colors: (N, 3) floating point in [0, 1]. None gives zeros, mid-grey: a network trained
                with colours then goes by shape alone.
            batch_index: (N,) int64, the cloud of each point; None is one cloud.

        Returns:
            voxels: (U, 3) features, sorted by batch index and coordinates.
            point_to_voxel: (N,) int64, row of each point's voxel.

        Raises:
            ValueError: shapes, points not finite or beyond the voxel hash, colours outside [0, 1],
                or a network whose ``in_channels`` is not 3.
        """
        if self.config.in_channels != 3:
            raise ValueError(
                f"voxels() makes 3 colour channels, this student takes {self.config.in_channels}; "
                "build its SparseTensor yourself"
            )
        if colors is not None and colors.shape != points.shape:
            raise ValueError(
                f"colors are {tuple(colors.shape)}, points {tuple(points.shape)}; pass one colour "
                "for each point"
            )
        coordinates, point_to_voxel = voxelize(points, self.voxel_size, batch_index)
        dtype = self.stem.conv.weight.dtype
        if colors is None:
            features = points.new_zeros((len(coordinates), 3), dtype=dtype)
        else:
            features = mean_colors(colors, point_to_voxel, len(coordinates)).to(dtype)
        return SparseTensor(features, coordinates), point_to_voxel

    def features_at(
        self,
        points: Tensor | np.ndarray,
        colors: Tensor | np.ndarray | None = None,
        *,
        projected: bool = False,
    ) -> Tensor:
        """Features at the original points of any cloud: voxelises, runs, reads back.

        Runs in eval mode, without gradients and in full precision, whatever the state of the
        network, which is left as it was. The result does not depend on the order of the points
        nor on where the cloud lies: the voxel grid is laid from its middle, in float64, so clouds
        in map coordinates work and moving one by whole voxels changes nothing.

        Args:
            points: (N, 3) of any real dtype, metres.
            colors: (N, 3) uint8, or floating point in [0, 1], or None (see ``voxels``).
            projected: the unit-length final projection instead, as compared with the teacher.

        Returns:
            (N, feature_channels) float32, or (N, out_channels) if ``projected``; on the network's
            device. Points of one voxel share their feature.

        Raises:
            ValueError: shapes, points that are not finite, colours out of range, or a cloud wider
                than 65,536 voxels.
        """
        points = as_points(points)
        device = self.stem.conv.weight.device
        if colors is not None:
            colors = as_colors(colors, len(points)).to(device)
        if projected and self.final is None:
            raise ValueError("projected features need a final projection; out_channels is 0")
        if len(points) == 0:
            width = self.out_channels if projected else self.feature_channels
            return torch.zeros(0, width, device=device)
        centred = centre_on_grid(points, self.voxel_size).to(device)
        with inference(self):
            voxels, point_to_voxel = self.voxels(centred, colors)
            features = self(voxels).features
            if projected:
                features = F.normalize(self.project(features), dim=1)
        return features[point_to_voxel].float()


def _check_stages(key: str, values: list[int] | None) -> None:
    if values is None:
        return
    if len(values) != 2 * NUM_LEVELS or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(
            f"student.{key} is {values}, expected {2 * NUM_LEVELS} whole numbers above 0, one for "
            "each stage"
        )
