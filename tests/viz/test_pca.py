"""PCA colours: right, repeatable, comparable; and maps brought to picture size."""

import pytest
import torch
import torch.nn.functional as F

from pcpt.viz.maps import map_rows, upsample_map
from pcpt.viz.pca import PcaColors, pca_colors


def features(count: int, channels: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, 4, generator=generator) @ torch.randn(4, channels)
    return mixed + 0.1 * torch.randn(count, channels, generator=generator)


def test_axes_are_the_principal_components() -> None:
    rows = features(400, 9)
    fitted = PcaColors.fit(rows)
    unit = F.normalize(rows.double(), dim=1)
    axes = torch.linalg.svd(unit - unit.mean(0), full_matrices=False).Vh[:3].T
    overlap = (axes * fitted.axes).sum(0).abs()
    assert torch.allclose(overlap, torch.ones(3, dtype=torch.float64))
    largest = fitted.axes.gather(0, fitted.axes.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_colors_are_the_same_every_time_and_follow_their_rows() -> None:
    rows = features(300, 16)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    (colors,) = pca_colors(rows)
    assert torch.equal(colors, pca_colors(rows)[0])
    (shuffled,) = pca_colors(rows[order])
    assert (shuffled.int() - colors[order].int()).abs().max() <= 1
    assert colors.dtype == torch.uint8 and colors.min() == 0 and colors.max() == 255


def test_colors_do_not_depend_on_the_length_of_features() -> None:
    rows = features(100, 8)
    scaled = rows * torch.linspace(0.5, 20, 100)[:, None]
    assert (pca_colors(rows)[0].int() - pca_colors(scaled)[0].int()).abs().max() <= 1


def test_joint_colors_compare_and_weigh_inputs_alike() -> None:
    a, b = features(50, 8, 1), features(70, 8, 2)
    colors_a, colors_b, again = pca_colors(a, b, a)
    assert torch.equal(colors_a, again)
    repeated = pca_colors(a.repeat(9, 1), b, a)  # copies of a row do not shift the weights
    assert (repeated[1].int() - colors_b.int()).abs().max() <= 1


def test_outliers_do_not_wash_out_the_rest() -> None:
    rows = F.pad(torch.linspace(-0.2, 0.2, 999)[:, None], (0, 1), value=1.0)
    rows = torch.cat((rows, torch.tensor([[-1.0, -1.0]])))
    (colors,) = pca_colors(rows)
    assert colors[:999, 0].int().max() - colors[:999, 0].int().min() > 240


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_few_channels_and_constant_features_are_grey_where_nothing_varies(channels: int) -> None:
    (colors,) = pca_colors(features(20, channels).sign())
    assert tuple(colors.shape) == (20, 3)
    (constant,) = pca_colors(torch.full((20, channels), 0.3))
    assert constant.unique().tolist() == [128]
    assert pca_colors(torch.ones(1, 5))[0].tolist() == [[128, 128, 128]]


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="equal channels"):
        pca_colors(features(5, 4), features(5, 6))
    with pytest.raises(ValueError, match="expected one or more"):
        pca_colors()
    with pytest.raises(ValueError, match="not all finite"):
        pca_colors(torch.full((4, 4), torch.nan))
    with pytest.raises(ValueError, match="6 channels, the colours were fitted to 4"):
        PcaColors.fit(features(5, 4))(features(5, 6))


def test_upsampling_equals_interpolation_by_default() -> None:
    grid = torch.rand(5, 4, 6)
    expected = F.interpolate(grid[None], size=(32, 48), mode="bilinear")[0]
    assert torch.allclose(upsample_map(grid, 32, 48), expected, atol=1e-5)


def test_upsampling_puts_each_cell_where_the_network_says() -> None:
    grid = torch.rand(2, 3, 4)
    picture = upsample_map(grid, 40, 50, stride=16, offset=7)
    for row in range(3):
        for column in range(4):
            v, u = 7 + 16 * row, 7 + 16 * column
            if v < 40 and u < 50:
                assert torch.allclose(picture[:, v, u], grid[:, row, column], atol=1e-5)
    assert torch.allclose(picture[:, 0, 0], grid[:, 0, 0], atol=1e-5), "constant beyond the rim"
    assert torch.allclose(upsample_map(grid[:, :1, :1], 9, 9), grid[:, :1, :1].expand(2, 9, 9))


def test_map_rows_run_along_image_rows() -> None:
    grid = torch.arange(12.0).view(2, 2, 3)
    assert map_rows(grid)[4].tolist() == [4.0, 10.0]
    with pytest.raises(ValueError, match=r"expected \(C, h, w\)"):
        map_rows(grid[0])
