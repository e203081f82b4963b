"""Heat: the cosine, its colours, and where they end up."""

import pytest
import torch
import torch.nn.functional as F

from pcpt.geometry.camera import Camera
from pcpt.viz.similarity import (
    color_bar,
    heat_colors,
    heat_limits,
    heat_on_image,
    heat_on_points,
    similarity_picture,
    similarity_to,
)


def test_similarity_is_the_cosine_for_rows_and_maps() -> None:
    grid, query = torch.randn(6, 4, 5), torch.randn(6)
    grid[:, 0, 0] = 0
    expected = F.cosine_similarity(grid, query[:, None, None], dim=0)
    assert torch.allclose(similarity_to(grid, query), expected, atol=1e-6)
    assert torch.allclose(similarity_to(grid.flatten(1).T, query), expected.flatten(), atol=1e-6)
    with pytest.raises(ValueError, match=r"\(6, 4, 5\) and the query \(5,\)"):
        similarity_to(grid, query[:5])


def test_heat_runs_from_blue_to_red_and_stops_at_its_limits() -> None:
    colors = heat_colors(torch.tensor([-9.0, 0.0, 0.5, 1.0, 9.0, torch.nan]), (0.0, 1.0)).int()
    assert torch.equal(colors[0], colors[1]) and torch.equal(colors[3], colors[4])
    assert colors[1, 2] > colors[1, 0] and colors[3, 0] > colors[3, 2]
    assert torch.equal(colors[5], colors[0])
    assert tuple(heat_colors(torch.rand(2, 3), (0, 1)).shape) == (2, 3, 3)


def test_limits_span_all_values_and_never_collapse() -> None:
    low, high = heat_limits(torch.zeros(50), torch.ones(50))
    assert (low, high) == (0.0, 1.0)
    low, high = heat_limits(torch.full((9,), 0.4))
    assert low < high
    assert heat_limits(torch.empty(0)) == (0.0, 1.0)


def test_heat_covers_what_it_belongs_to() -> None:
    image = torch.full((3, 4, 6), 100, dtype=torch.uint8)
    values = torch.zeros(4, 6)
    values[1, 2] = 1.0
    heated = heat_on_image(image, values, (0.0, 1.0), opacity=1.0)
    assert torch.equal(heated[:, 1, 2], heat_colors(torch.ones(1), (0.0, 1.0))[0])
    assert torch.equal(heat_on_image(image, values, (0.0, 1.0), opacity=0.0), image)
    points = heat_on_points(torch.full((2, 3), 0.5), torch.tensor([0.0, 1.0]), (0.0, 1.0), 1.0)
    assert torch.equal(points, heat_colors(torch.tensor([0.0, 1.0]), (0.0, 1.0)))
    with pytest.raises(ValueError, match="upsample_map"):
        heat_on_image(image, values[:2], (0.0, 1.0))
    with pytest.raises(ValueError, match=r"values are \(3,\) for 2 points"):
        heat_on_points(torch.zeros(2, 3), torch.zeros(3), (0.0, 1.0))


def test_picture_has_every_panel_and_a_legend() -> None:
    camera = Camera([[40.0, 0, 29.5], [0, 40.0, 19.5], [0, 0, 1]], 40, 60)
    points = torch.rand(300, 3) + torch.tensor([-0.5, -0.5, 1.5])
    image = torch.full((3, 20, 30), 90, dtype=torch.uint8)
    clouds = {"untrained": torch.rand(300), "trained": torch.rand(300)}
    arguments = (image, torch.tensor([10.0, 5.0]), torch.rand(20, 30), points, points * 0)
    picture = similarity_picture(*arguments, clouds, camera, point=points[0])
    bar = color_bar((0.0, 1.0), 40).shape[2]
    assert tuple(picture.shape) == (3, 2 * (40 + 20) + 12, 2 * 60 + 12 + bar)
    plain = picture[:, 20:60, :60]
    assert torch.equal(plain[:, 35:, 55:], image[:, :5, :5]), "the image as it is, away from marks"
    assert plain[0, 10, 20].int() == 90, "the inside of the cross hair stays free"
    assert (plain[:, 4:19, 14:28].amax(0) > 200).any(), "the cross hair"
