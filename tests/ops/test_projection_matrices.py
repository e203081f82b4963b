"""projection_matrices: kernel against reference, both against the inverse of NumPy. Its errors are
tested through the operators that use it."""

import importlib
import random

import numpy as np
import pytest
import torch
from torch import Tensor

from pcpt.ops._library import COMPILED

module = importlib.import_module("pcpt.ops._projection_matrices")


def cameras(seed: int) -> tuple[Tensor, Tensor]:
    """Intrinsics with and without skew, and poses that are rigid, scaled, mirrored or sheared."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    num_views = draw.choice([0, 1, 2, 7, 33])
    intrinsics = torch.eye(3, dtype=torch.float64).repeat(num_views, 1, 1)
    upper = torch.rand(num_views, 2, 3, generator=generator, dtype=torch.float64)
    intrinsics[:, :2] = upper * torch.tensor([500.0, 500.0, 900.0]) + 100 * intrinsics[:, :2]
    if draw.random() < 0.5:
        intrinsics[:, 0, 1] = intrinsics[:, 1, 0] = 0.0
    skew = torch.randn(num_views, 3, 3, generator=generator, dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).repeat(num_views, 1, 1)
    pose[:, :3, :3] = torch.linalg.matrix_exp(skew - skew.mT) * draw.choice([1.0, 1.0, -1.0, 30.0])
    if draw.random() < 0.3:
        pose[:, 0, :3] += 0.3
    shift = torch.randn(num_views, 3, generator=generator, dtype=torch.float64)
    pose[:, :3, 3] = draw.choice([0.0, 3.0, 1e4]) * shift
    dtype = draw.choice([torch.float32, torch.float64])
    return intrinsics.to(dtype), pose.to(dtype)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_random_cameras_equal_the_reference_and_numpy() -> None:
    for seed in range(200):
        intrinsics, pose = cameras(seed)
        found = module.projection_matrices(intrinsics, pose)
        first, second = intrinsics.double(), pose.double()
        assert torch.equal(found, module._reference(first, second)), seed
        expected = first.numpy() @ np.linalg.inv(second.numpy())[:, :3]
        scale = np.abs(expected).max(initial=1.0)
        np.testing.assert_allclose(found.numpy(), expected, rtol=2e-7, atol=1e-11 * scale)


def test_hand_worked_camera(path: str) -> None:
    intrinsics = torch.tensor([[[2.0, 0, 5], [0, 3, 7], [0, 0, 1]]])
    pose = torch.tensor([[[0.0, -1, 0, 10], [1, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]]])
    expected = [[0.0, 2, 5, -190], [-3, 0, 7, -180], [0, 0, 1, -30]]
    assert module.projection_matrices(intrinsics, pose).tolist() == [expected]


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("entry, value", [((1, 0, 0), 0.0), ((1, 1, 2), torch.inf), ((1, 2, 0), 1)])
def test_the_kernel_refuses_what_the_reference_refuses(
    path: str, entry: tuple[int, int, int], value: float
) -> None:
    good = torch.eye(3).repeat(2, 1, 1), torch.eye(4).repeat(2, 1, 1)
    for which, name in enumerate(("intrinsics", "camera_to_world")):
        matrices = [matrix.clone() for matrix in good]
        place = (1, 3, 0) if which == 1 and entry == (1, 2, 0) else entry
        matrices[which][place] = value
        with pytest.raises(ValueError, match=rf"{name}\[1\]"):
            module.projection_matrices(*matrices)


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
def test_opcheck() -> None:
    operands = torch.eye(3).double()[None], torch.eye(4).double()[None]
    torch.library.opcheck(torch.ops.pcpt.projection_matrices.default, operands)
