"""Checkpoints as the training scripts of MinkowskiEngine's zoos write them, made from a small
Res16UNet, with random weights or trained for a moment."""

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pcpt.sparse.minkowski import from_minkowski_kernel
from pcpt.students import SparseUNet, convert_minkowski_state_dict

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "minkowski"
# of the golden network
CONFIG = SparseUNet.Config(
    planes=[8, 12, 16, 24, 20, 16, 12, 10],
    blocks=[1, 2, 1, 2, 1, 2, 1, 1],
    stem_channels=8,
    out_channels=5,
    bn_momentum=0.05,
)


def golden_state() -> dict[str, Tensor]:
    """Random weights under MinkowskiEngine's names, whose outputs are known in both orders."""
    return load_file(GOLDEN / "res16unet.safetensors")


@cache
def trained() -> SparseUNet:
    """A network that has begun to tell slopes of a wavy surface."""
    torch.manual_seed(0)
    model = SparseUNet(CONFIG).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 3:  # what is learned soon outgrows small initial kernels
                parameter.mul_(0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(15):
        points = torch.rand(600, 3)
        x, y = 6 * points[:, 0], 4 * points[:, 1] + step
        points[:, 2] = 0.3 * x.sin() + 0.3 * y.cos()
        voxels, point_to_voxel = model.voxels(points, 0.4 + 0.2 * torch.rand_like(points))
        wanted = torch.stack([x.cos(), y.sin(), points[:, 2], x.sin(), y.cos()], dim=1)
        loss = (model.project(model(voxels).features)[point_to_voxel] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def to_minkowski(state: dict[str, Tensor], order: str) -> dict[str, Tensor]:
    """Weights of a SparseUNet of ``CONFIG`` under MinkowskiEngine's names and in its layout."""
    theirs = {}
    for name, like in golden_state().items():
        ((own_name, _),) = convert_minkowski_state_dict({name: like}, order).items()
        own = state[own_name].clone()
        if own_name.startswith("final"):
            own = own.T if own.ndim == 2 else own[None]
        elif own.ndim == 3:
            hybrid = order == "hybrid" and own_name.endswith(
                ("conv1.conv.weight", "conv2.conv.weight")
            )
            number = torch.arange(len(own))[:, None, None]
            own[from_minkowski_kernel(number, hybrid=hybrid).flatten()] = own.clone()
        theirs[name] = own.reshape(like.shape).contiguous()
    return theirs
