"""The network itself: sizes, shapes, names, initialisation, input."""

import pytest
import torch
from omegaconf import OmegaConf

import pcpt
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet

# As PPKT's Res16UNet34C with 128 outputs; computed by hand from the layer table for the others.
PARAMETERS = {
    "small": 3_452_128,
    "res16unet14": 8_025_568,
    "res16unet18a": 15_494_240,
    "res16unet34c": 37_857_120,
}
TINY = {"planes": [4, 6, 8, 10, 8, 6, 5, 7], "blocks": [1] * 8, "stem_channels": 3}


def tiny(**options) -> SparseUNet:
    torch.manual_seed(0)
    return SparseUNet(SparseUNet.Config(**{**TINY, "out_channels": 4, "voxel_size": 0.1} | options))


def cloud(num_points: int = 400, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(num_points, 3, generator=generator) * 2 - 1
    return points, torch.rand(num_points, 3, generator=generator)


@pytest.mark.parametrize("variant", PARAMETERS)
def test_number_of_parameters(variant):
    with torch.device("meta"):
        model = SparseUNet(SparseUNet.Config(variant=variant))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[variant]
    assert model.out_channels == 128
    assert model.feature_channels == (64 if variant == "small" else 96)


def test_registered():
    assert "sparse_unet" in pcpt.list("students")


def test_names_of_parameters_are_kept():
    """Exports depend on these names: a change needs a new format version."""
    names = {name.split(".")[0] for name in tiny().state_dict()}
    assert names == {"stem", "encoder", "decoder", "final"}
    block = [n for n, _ in tiny().named_parameters() if n.startswith("decoder.3.blocks.0.")]
    assert [name.removeprefix("decoder.3.blocks.0.") for name in block] == [
        "conv1.conv.weight",
        "conv1.norm.weight",
        "conv1.norm.bias",
        "conv2.conv.weight",
        "conv2.norm.weight",
        "conv2.norm.bias",
        "shortcut.conv.weight",
        "shortcut.norm.weight",
        "shortcut.norm.bias",
    ]


def test_forward_keeps_voxels(device):
    model = tiny().to(device)
    points, colors = (t.to(device) for t in cloud())
    voxels, point_to_voxel = model.voxels(points, colors)
    out = model(voxels)
    assert out.coordinates is voxels.coordinates
    assert out.features.shape == (len(voxels.coordinates), 7)
    assert model.project(out.features).shape == (len(voxels.coordinates), 4)
    assert point_to_voxel.shape == (400,)


def test_every_parameter_learns():
    model = tiny()
    voxels, _ = model.voxels(*cloud())
    model.project(model(voxels).features).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_clouds_of_a_batch_do_not_mix():
    model = tiny().eval()
    (points, colors), (other, other_colors) = cloud(seed=1), cloud(100, seed=2)
    batch_index = torch.cat((torch.zeros(400), torch.ones(100))).long()
    joined, to_voxel = model.voxels(
        torch.cat((points, other)), torch.cat((colors, other_colors)), batch_index
    )
    alone, alone_to_voxel = model.voxels(points, colors)
    with torch.no_grad():
        together = model(joined).features[to_voxel[:400]]
        apart = model(alone).features[alone_to_voxel]
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("num_points", [0, 1])
def test_smallest_inputs(num_points):
    model = tiny().eval()
    voxels, point_to_voxel = model.voxels(torch.zeros(num_points, 3), torch.rand(num_points, 3))
    out = model(voxels).features
    assert out.shape == (num_points, 7) and bool(torch.isfinite(out).all())
    assert len(point_to_voxel) == num_points


def test_seed_decides_the_weights():
    one, same = tiny().state_dict(), tiny().state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_initial_scale():
    """He initialisation by fan out: standard deviation sqrt(2 / (K C_out))."""
    torch.manual_seed(0)
    model = SparseUNet(SparseUNet.Config(variant="small"))
    weight = model.encoder[3].blocks[0].conv2.conv.weight  # (27, 128, 128)
    assert float(weight.detach().std()) == pytest.approx((2 / (27 * 128)) ** 0.5, rel=0.01)


def test_compiled_forward_is_equal():
    model = tiny().eval()
    voxels, _ = model.voxels(*cloud(60))
    with torch.no_grad():
        fine = model.encoder[0](model.stem(voxels))
        expected = model.encoder[1](fine).features  # makes the kernel maps, too
        compiled = torch.compile(model.encoder[1], backend="eager")
        torch.testing.assert_close(compiled(fine).features, expected)


def test_no_projection():
    model = tiny(out_channels=0)
    assert model.final is None and model.out_channels == 0
    with pytest.raises(ValueError, match="out_channels is 0"):
        model.project(torch.zeros(1, 7))


def test_options_reach_the_layers():
    model = tiny(stem_kernel=5, in_channels=4, bn_momentum=0.02, sync_bn=True)
    assert model.stem.conv.weight.shape == (125, 4, 3)
    assert model.decoder[2].up.norm.momentum == 0.02
    assert model.decoder[2].up.norm.sync


def test_voxels_hold_mean_colours():
    model = tiny()
    points = torch.tensor([[0.01, 0, 0], [0.25, 0, 0], [0.09, 0, 0], [-0.01, 0, 0]])
    colors = torch.tensor([[1.0, 0, 0.5], [1, 1, 1], [0, 0, 0.5], [0, 1, 0]])
    voxels, point_to_voxel = model.voxels(points, colors)
    assert voxels.coordinates.tolist() == [[0, -1, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0]]
    assert point_to_voxel.tolist() == [1, 2, 1, 0]
    assert voxels.features.tolist() == [[-1, 1, -1], [0, -1, 0], [1, 1, 1]]


def test_voxels_do_not_depend_on_the_order_of_points():
    model = tiny(voxel_size=0.5)
    points, colors = cloud(2000)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(3))
    voxels, _ = model.voxels(points, colors)
    shuffled, _ = model.voxels(points[order], colors[order])
    assert torch.equal(voxels.features, shuffled.features)  # to the bit
    mean = colors[(points >= 0).all(1) & (points < 0.5).all(1)].double().mean(0)
    row = voxels.coordinates.tolist().index([0, 0, 0, 0])
    torch.testing.assert_close(voxels.features[row], (2 * mean - 1).float(), rtol=0, atol=1e-6)


def test_voxels_without_colours_are_mid_grey():
    voxels, _ = tiny().voxels(cloud()[0])
    assert voxels.features.shape[1] == 3 and not voxels.features.any()


def test_voxels_errors():
    model = tiny()
    points, colors = cloud(5)
    with pytest.raises(ValueError, match=r"colors are \(4, 3\), points \(5, 3\)"):
        model.voxels(points, colors[:4])
    with pytest.raises(ValueError, match=r"range over \[0, 255\].*divide 8-bit colours by 255"):
        model.voxels(points, torch.tensor([0.0, 128, 255]).expand(5, 3))
    with pytest.raises(ValueError, match="range over"):
        model.voxels(points, colors * torch.nan)
    with pytest.raises(ValueError, match="batch_index reaches from -1"):
        model.voxels(points, colors, torch.tensor([0, 0, -1, 0, 0]))
    with pytest.raises(ValueError, match="batch_index"):
        model.voxels(points, colors, torch.full((5,), 2**15))
    with pytest.raises(ValueError, match="this student takes 4"):
        tiny(in_channels=4).voxels(points, colors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"voxel_size": 0.0}, r"voxel_size is 0\.0, expected metres above 0"),
        ({"voxel_size": -0.05}, r"voxel_size is -0\.05"),
        ({"voxel_size": float("nan")}, "voxel_size is nan"),
        ({"voxel_size": float("inf")}, "voxel_size is inf"),
        ({"variant": "res16unet34"}, "did you mean 'res16unet34c'"),
        ({"in_channels": 0}, "in_channels is 0, expected at least 1"),
        ({"out_channels": -1}, "out_channels is -1"),
        ({"stem_kernel": 4}, "stem_kernel is 4, expected odd"),
        ({"bn_momentum": 0.0}, r"bn_momentum is 0\.0"),
        ({"planes": [32, 64]}, r"planes is \[32, 64\], expected 8 whole numbers"),
        ({"blocks": [1, 1, 1, 0, 1, 1, 1, 1]}, "blocks is"),
    ],
)
def test_config_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SparseUNet.Config(**options)


def test_config_is_an_omegaconf_schema():
    schema = OmegaConf.structured(SparseUNet.Config)
    merged = OmegaConf.merge(schema, {"variant": "small", "planes": [8] * 8, "voxel_size": 1e-1})
    config = OmegaConf.to_object(merged)
    assert isinstance(config, SparseUNet.Config) and config.planes == [8] * 8
    assert SparseUNet(config).feature_channels == 8


def test_other_colour_channels_than_three():
    model = tiny(in_channels=1)
    voxels = SparseTensor(torch.ones(2, 1), torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]).int())
    assert model(voxels).features.shape == (2, 7)
