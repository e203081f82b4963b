"""Multi-level features against the parent of each voxel worked out from coordinates."""

import pytest
import torch
from torch import nn

from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet
from pcpt.students.multi_level import multi_level_features


def _student() -> SparseUNet:
    torch.manual_seed(0)
    config = SparseUNet.Config(planes=[4, 5, 6, 7, 6, 5, 4, 3], blocks=[1] * 8, stem_channels=4)
    return SparseUNet(config).eval()


@pytest.mark.parametrize("count", [0, 1, 7, 500])
@torch.no_grad()
def test_every_voxel_has_the_features_of_those_it_lies_in(count: int) -> None:
    student = _student()
    coordinates = torch.randint(-20, 20, (count, 4), dtype=torch.int32).unique(dim=0)
    coordinates[:, 0] = coordinates[:, 0].abs() % 2
    coordinates = coordinates.unique(dim=0)[torch.randperm(len(coordinates.unique(dim=0)))]
    voxels = SparseTensor(torch.randn(len(coordinates), 3), coordinates)
    found = multi_level_features(student, voxels)
    assert found.shape == (len(coordinates), 7 + 6 + 5 + 4 + 3)
    levels = student.levels(voxels)
    start = 0
    for level in levels:
        rows = {tuple(c): row for row, c in enumerate(level.coordinates.tolist())}
        for i, (batch, *xyz) in enumerate(coordinates.tolist()):
            parent = (batch, *(v // level.stride * level.stride for v in xyz))
            expected = level.features[rows[parent]]
            assert torch.equal(found[i, start : start + level.features.shape[1]], expected)
        start += level.features.shape[1]
    assert [level.stride for level in levels] == [16, 8, 4, 2, 1]


def test_the_last_columns_are_what_forward_yields() -> None:
    student = _student()
    coordinates = torch.randint(0, 9, (50, 4), dtype=torch.int32).unique(dim=0)
    voxels = SparseTensor(torch.randn(len(coordinates), 3), coordinates)
    assert torch.equal(multi_level_features(student, voxels)[:, -3:], student(voxels).features)


def test_a_student_without_levels() -> None:
    voxels = SparseTensor(torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"levels\(\), Linear has none"):
        multi_level_features(nn.Linear(3, 3), voxels)
