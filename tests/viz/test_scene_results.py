"""Panels of results: what is drawn where, in which colour; boxes; confusion."""

import dataclasses
import math

import pytest
import torch

from pcpt.data.scene import Boxes
from pcpt.geometry.camera import Camera
from pcpt.viz.boxes import EDGES, box_corners, box_segments, draw_boxes
from pcpt.viz.cloud import look_at, render_cloud, render_colorings
from pcpt.viz.confusion import confusion_picture
from pcpt.viz.labels import UNLABELLED
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.scene_results import RIGHT, WRONG, error_colors, result_figures
from tests.viz.results import boxes, scene_result


def camera(height: int = 60, width: int = 80) -> Camera:
    """At (0, -5, 0), looking along +y, z up."""
    eye, middle = torch.tensor([0.0, -5.0, 0.0]), torch.zeros(3)
    intrinsics = torch.tensor([[50.0, 0, 40], [0, 50, 30], [0, 0, 1]], dtype=torch.float64)
    return Camera(intrinsics, height, width, look_at(eye, middle, torch.tensor([0.0, 0, 1])))


def has_color(picture: torch.Tensor, color: tuple[int, int, int], slack: int = 12) -> bool:
    near = (picture.long() - torch.tensor(color)[:, None, None]).abs().amax(0) <= slack
    return int(near.sum()) > 20


def test_figures_show_what_there_is() -> None:
    figures = result_figures(scene_result(), height=120)
    assert list(figures) == ["segmentation", "instances", "boxes", "features"]
    assert has_color(figures["segmentation"].picture, WRONG)
    assert has_color(figures["segmentation"].picture, (90, 160, 90))
    assert "of all labelled points" in figures["segmentation"].caption
    assert "0.3" in figures["boxes"].caption
    bare = SceneResult("bare", scene_result().points)
    assert result_figures(bare, height=120) == {}
    assert result_figures(SceneResult("empty", torch.zeros(0, 3))) == {}


def test_labels_alone_and_prediction_alone() -> None:
    whole = scene_result()
    labels = dataclasses.replace(
        SceneResult("a", whole.points), label_set=whole.label_set, labels=whole.labels
    )
    picture = result_figures(labels, height=120, from_above=True)["segmentation"].picture
    assert has_color(picture, (60, 90, 210)) and not has_color(picture, WRONG, 4)
    said = dataclasses.replace(labels, labels=None, prediction=whole.prediction)
    picture = result_figures(said, height=120, from_above=True)["segmentation"].picture
    assert not has_color(picture, (60, 90, 210))  # the lamp is called a chair


def test_error_colors() -> None:
    colors = error_colors(torch.tensor([0, 1, -1]), torch.tensor([0, 0, 0]))
    assert [tuple(c) for c in colors.tolist()] == [RIGHT, WRONG, UNLABELLED]


def test_scores_below_the_least_are_left_out() -> None:
    true_only = dataclasses.replace(scene_result(), boxes=Boxes.none())
    high = result_figures(true_only, height=120, min_score=0.95)["boxes"].picture
    low = result_figures(true_only, height=120, min_score=0.1)["boxes"].picture
    assert has_color(low, (200, 60, 60), 30) and not has_color(high[:, :140], (200, 60, 60), 30)


def test_corners_by_hand() -> None:
    one = boxes((1.0, 2.0, 3.0), heading=math.pi / 2)
    one = dataclasses.replace(one, sizes=torch.tensor([[2.0, 4.0, 6.0]]))
    corners = box_corners(one)[0]
    # corner 1 is at high x, low y, low z of the box: (1, -2, -3) turned a quarter to (2, 1, -3)
    assert torch.allclose(corners[1], torch.tensor([3.0, 3.0, 0.0]).double())
    lengths = sorted({round(float((corners[a] - corners[b]).norm()), 4) for a, b in EDGES})
    assert len(EDGES) == 12 and lengths == [2, 4, 6]


def test_corners_along_another_up() -> None:
    up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    one = dataclasses.replace(boxes((0.0, 0, 0)), sizes=torch.tensor([[1.0, 1.0, 4.0]]))
    extent = box_corners(one, up)[0]
    assert torch.allclose(extent.amax(0) - extent.amin(0), torch.tensor([1.0, 4, 1]).double())


def test_segments_are_cut_at_the_camera() -> None:
    one = dataclasses.replace(boxes((0.0, -5.0, 0.0)), sizes=torch.tensor([[2.0, 4.0, 2.0]]))
    segments = box_segments(box_corners(one), camera())
    # around the camera: the four edges at its back are hidden, the four along its sight are cut
    hidden = torch.isnan(segments).flatten(2).any(2)
    assert int(hidden.sum()) == 4
    assert bool(segments[~hidden].isfinite().all())
    behind = box_segments(box_corners(boxes((0.0, -20.0, 0.0))), camera())
    assert bool(torch.isnan(behind).all())


def test_boxes_are_drawn_where_they_are() -> None:
    ground = torch.zeros(3, 60, 80, dtype=torch.uint8)
    color = torch.tensor([[250, 10, 10]], dtype=torch.uint8)
    corners = box_corners(boxes((0.0, 0.0, 0.0)))
    whole = draw_boxes(ground, camera(), corners, color)
    red = whole[0] > 150
    rows, columns = red.nonzero().unbind(1)
    # 0.6 m at 4.7 m and a focal length of 50: 6.4 pixels about (40, 30), lines 2 pixels thick
    assert 25 <= int(rows.min()) <= 27 and 33 <= int(rows.max()) <= 35
    assert 35 <= int(columns.min()) <= 37 and 43 <= int(columns.max()) <= 45
    large = box_corners(dataclasses.replace(boxes((0.0, 0, 0)), sizes=torch.full((1, 3), 4.0)))
    whole, dashed = (
        draw_boxes(ground, camera(), large, color, dashed=dashed) for dashed in (False, True)
    )
    assert 0.3 < int((dashed[0] > 150).sum()) / int((whole[0] > 150).sum()) < 0.9
    around = dataclasses.replace(boxes((0.0, -5.0, 0.0)), sizes=torch.tensor([[2.0, 4.0, 2.0]]))
    assert bool(draw_boxes(ground, camera(), box_corners(around), color)[0].any())
    nothing = draw_boxes(ground, camera(), box_corners(Boxes.none()), color[:0])
    assert torch.equal(nothing, ground)


def test_one_look_for_several_colourings() -> None:
    points = torch.rand(500, 3) - 0.5
    colorings = [torch.rand(500, 3) for _ in range(2)]
    pictures = render_colorings(points, colorings, camera())
    for colors, picture in zip(colorings, pictures):
        assert torch.equal(picture, render_cloud(points, colors, camera()))


def test_confusion_picture() -> None:
    names = ("wall", "$x_1$", "never " * 9)
    counts = torch.tensor([[9, 1, 0], [0, 0, 0], [0, 0, 0]])
    few = confusion_picture(counts, names)
    more = confusion_picture(torch.tensor([[9, 1, 0], [3, 5, 0], [0, 0, 0]]), names)
    assert few.dtype == torch.uint8 and few.shape[0] == 3
    assert more.shape[1] == few.shape[1] + 42  # another class that occurs: another row
    assert has_color(few, (224, 236, 255), 24)  # nearly all right: the bright end
    many = confusion_picture(torch.eye(200), [str(i) for i in range(200)])
    assert many.shape[1] > 3000
    for wrong, message in (
        (counts[:2], "expected one row"),
        (-counts, "below 0"),
        (0 * counts, "counts nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            confusion_picture(wrong, names)
