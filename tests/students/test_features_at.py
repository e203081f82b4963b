"""Features at the points of any cloud: where it lies and how it is stored must not matter."""

import numpy as np
import pytest
import torch

from pcpt.students import SparseUNet

VOXEL = 0.05


@pytest.fixture(scope="module")
def model() -> SparseUNet:
    torch.manual_seed(0)
    config = SparseUNet.Config(
        planes=[4, 6, 8, 10, 8, 6, 5, 7],
        blocks=[1] * 8,
        stem_channels=4,
        out_channels=3,
        voxel_size=VOXEL,
    )
    model = SparseUNet(config)
    for name, parameter in model.named_parameters():
        if "norm.bias" in name:  # as after training: a cloud without colours has features too
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """A bumpy sheet, 500 points that lie clear of voxel boundaries, about two to a voxel."""
    random = np.random.default_rng(0)
    index = random.integers(-8, 8, (500, 3)) * (1, 1, 0.2)
    points = (np.floor(index) + random.uniform(0.01, 0.99, (500, 3))) * VOXEL
    return points, random.integers(0, 256, (500, 3)).astype(np.uint8)


def test_shapes_and_devices(model, cloud, device):
    points, colors = cloud
    network = model.to(device)
    features = network.features_at(points, colors)
    assert features.shape == (500, 7) and features.dtype == torch.float32
    assert features.device.type == device.type and not features.requires_grad
    projected = network.features_at(points, colors, projected=True)
    assert projected.shape == (500, 3)
    torch.testing.assert_close(projected.norm(dim=1), torch.ones(500, device=device))
    model.to("cpu")


def test_equals_the_steps_by_hand(model, cloud):
    points, colors = torch.from_numpy(cloud[0]), torch.from_numpy(cloud[1])
    index = torch.floor(points / VOXEL)
    middle = torch.ceil((index.amin(0) + index.amax(0)) / 2)
    voxels, point_to_voxel = model.voxels((points - middle * VOXEL).float(), colors.float() / 255)
    with torch.no_grad():
        features = model(voxels).features
        projected = model.project(features)[point_to_voxel]
    assert torch.equal(model.features_at(points, colors), features[point_to_voxel])
    torch.testing.assert_close(
        model.features_at(points, colors, projected=True),
        projected / projected.norm(dim=1, keepdim=True),
    )


def test_points_of_a_voxel_share_their_feature(model):
    points = np.array([[0.01, 0.01, 0.01], [0.04, 0.02, 0.03], [0.06, 0.01, 0.01]])
    features = model.features_at(points, np.full((3, 3), 200, np.uint8))
    assert torch.equal(features[0], features[1]) and not torch.equal(features[0], features[2])


def test_kinds_of_input_agree(model, cloud):
    points, colors = cloud
    expected = model.features_at(points, colors)
    scaled = colors / 255
    for same in (
        model.features_at(torch.from_numpy(points), torch.from_numpy(colors)),
        model.features_at(points, scaled),
        model.features_at(points, torch.from_numpy(scaled).float()),
        model.features_at(points.astype(">f8"), colors),
        model.features_at(points.astype(np.float32), colors),
        model.features_at(np.asfortranarray(points), colors[:, ::-1][:, ::-1]),
    ):
        torch.testing.assert_close(same, expected, rtol=1e-5, atol=1e-6)


def test_inputs_are_left_as_they_are(model, cloud):
    points, colors = (array.copy() for array in cloud)
    points.flags.writeable = colors.flags.writeable = False  # as a memory-mapped file
    model.features_at(points, colors)
    np.testing.assert_array_equal(points, cloud[0])


def test_order_of_points_does_not_matter(model, cloud):
    points, colors = cloud
    order = np.random.default_rng(1).permutation(500)
    expected = model.features_at(points, colors)
    assert torch.equal(model.features_at(points[order], colors[order]), expected[order])


@pytest.mark.parametrize("shift", [(1, 0, 0), (-7, 3, 11), (9_876_543, -112_233_445, 4001)])
def test_moving_by_whole_voxels_does_not_matter(model, cloud, shift):
    """The last shift is that of map coordinates: hundreds of kilometres."""
    points, colors = cloud
    moved = points + np.array(shift) * VOXEL
    assert torch.equal(model.features_at(moved, colors), model.features_at(points, colors))


def test_without_colours(model, cloud):
    features = model.features_at(cloud[0])
    assert features.shape == (500, 7) and bool(torch.isfinite(features).all())
    assert float(features.std(dim=0).max()) > 0  # goes by shape


def test_no_points(model):
    nothing = np.zeros((0, 3))
    assert model.features_at(nothing, nothing).shape == (0, 7)
    assert model.features_at(torch.zeros(0, 3)).shape == (0, 7)
    assert model.features_at(nothing, projected=True).shape == (0, 3)


def test_one_point(model):
    assert bool(torch.isfinite(model.features_at([[5.0, 6.0, 7.0]], [[0.1, 0.5, 1.0]])).all())


def test_training_state_is_restored(model, cloud):
    points, colors = cloud
    expected = model.features_at(points, colors)
    model.train()
    model.decoder.eval()  # as a network half frozen
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert torch.equal(model.features_at(points, colors), expected)
    assert model.training and model.stem.training and not model.decoder[0].training
    with pytest.raises(ValueError):
        model.features_at(points, colors[:1])
    assert model.stem.training
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    model.eval()


def test_widest_cloud_that_fits(model):
    widest = (2**16 - 1) * VOXEL
    points = np.array([[0.02, 0, 0], [widest + 0.02, 0, 0]])
    assert model.features_at(points).shape == (2, 7)
    points[1, 0] += VOXEL
    with pytest.raises(ValueError, match=r"spans 65537 voxels of 0\.05 m .*remove outliers"):
        model.features_at(points)


def test_points_errors(model, cloud):
    points, colors = cloud
    broken = points.copy()
    broken[[3, 8], 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"points\[3\] is .*nan.*2 of 500 points are not finite"):
        model.features_at(broken, colors)
    for wrong in (points[:, :2], points.ravel(), points.astype(complex), []):
        with pytest.raises(ValueError, match=r"points are .*expected \(N, 3\)"):
            model.features_at(wrong)
    with pytest.raises(ValueError, match="points cannot be read as an array of numbers"):
        model.features_at([["a", "b", "c"]])


def test_colors_errors(model, cloud):
    points, colors = cloud
    with pytest.raises(ValueError, match=r"colors are \(499, 3\), expected \(500, 3\)"):
        model.features_at(points, colors[:-1])
    with pytest.raises(ValueError, match=r"colors are torch\.int64, expected uint8"):
        model.features_at(points, colors.astype(np.int64))
    with pytest.raises(ValueError, match=r"colors range over .*divide 8-bit colours by 255"):
        model.features_at(points, colors.astype(np.float32))


def test_no_projection():
    config = SparseUNet.Config(planes=[2] * 8, blocks=[1] * 8, stem_channels=2, out_channels=0)
    with pytest.raises(ValueError, match="out_channels is 0"):
        SparseUNet(config).features_at(np.zeros((1, 3)), projected=True)
