"""Lifting where the answer is known: a wall behind a board, seen by cameras side by side."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.lifting import lift_features, world_points
from pcpt.data.scene import Scene
from pcpt.data.skips import SkipLog
from pcpt.geometry import Camera
from pcpt.teachers.base import Teacher

HEIGHT, WIDTH = 24, 32
WALL, BOARD = (10, 200, 30), (250, 20, 90)


class Colors(Teacher):
    """Features are the colours themselves: exact where a surface has one colour."""

    @dataclass
    class Config:
        name: str = "lifting_colors"
        stride: int = 1

    def __init__(self, config: Config | None = None) -> None:
        super().__init__()
        self.channels, self.stride, self.offset = 3, config.stride if config else 1, 0.0
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.calls: list[int] = []

    def features(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return images[:, :, :: self.stride, :: self.stride].float()


class BoardAndWall(Scan):
    """Cameras at x = 0, 0.2, ... look along z at a wall at z = 3; a board at z = 1 with x < 0 hides
    part of it. ``tint`` adds the frame's number to the blue of the wall."""

    def __init__(self, frames: int = 3, tint: bool = False, broken: tuple[str, ...] = ()) -> None:
        self.name = "scene"
        self.names = [str(index) for index in range(frames)]
        self.tint, self.broken = tint, broken
        self.loaded: list[str] = []

    def load(self, name: str) -> Frame:
        self.loaded.append(name)
        if name in self.broken:
            raise BrokenFrame(f"{name}.png is damaged")
        pose = torch.eye(4)
        pose[0, 3] = 0.2 * int(name)
        intrinsics = [[20.0, 0, WIDTH / 2], [0, 20.0, HEIGHT / 2], [0, 0, 1]]
        camera = Camera(intrinsics, HEIGHT, WIDTH, pose)
        column = torch.arange(WIDTH).expand(HEIGHT, WIDTH)
        on_board = (column - WIDTH / 2) / 20 + 0.2 * int(name) < 0
        depth = torch.where(on_board, 1.0, 3.0)
        wall = torch.tensor([*WALL[:2], WALL[2] + (int(name) if self.tint else 0)])
        image = torch.where(on_board, torch.tensor(BOARD)[:, None, None], wall[:, None, None])
        return Frame(name, image.to(torch.uint8), depth, camera, camera)


SIZE: dict[str, Any] = {"image_size": (HEIGHT, WIDTH)}
ON_WALL = torch.tensor([[1.0, 0.1, 3.0], [1.2, 0.5, 3.02]])
ON_BOARD = torch.tensor([[-0.3, 0.1, 1.0]])
HIDDEN = torch.tensor([[-1.5, 0.0, 3.0]])  # behind the board in every frame
INSIDE = torch.tensor([[1.0, 0.1, 2.0]])  # between the cameras and the wall: nothing is there
POINTS = torch.cat([ON_WALL, ON_BOARD, HIDDEN, INSIDE])


def test_points_have_the_features_of_their_surface() -> None:
    lifted = lift_features(Colors(), BoardAndWall(), POINTS, fill="zero", **SIZE)
    expected = torch.tensor([WALL, WALL, BOARD, (0, 0, 0), (0, 0, 0)]).float()
    torch.testing.assert_close(lifted.features, expected)
    assert lifted.num_views.tolist()[:2] == [3, 3] and lifted.num_views.tolist()[3:] == [0, 0]
    assert lifted.num_views[2] >= 1  # the board leaves the later views


def test_unseen_points_take_the_nearest_seen() -> None:
    lifted = lift_features(Colors(), BoardAndWall(), POINTS, **SIZE)
    torch.testing.assert_close(lifted.features[3], torch.tensor(BOARD).float())
    torch.testing.assert_close(lifted.features[4], torch.tensor(WALL).float())
    assert lifted.num_views.tolist()[3:] == [0, 0]
    nothing = lift_features(Colors(), BoardAndWall(), HIDDEN, **SIZE)
    assert not nothing.features.any() and nothing.num_views.tolist() == [0]


def test_mean_over_views_and_frames_taken() -> None:
    point = ON_WALL[:1]
    for every, expected in ((1, WALL[2] + 2.0), (2, WALL[2] + 2.0), (4, WALL[2] + 2.0)):
        lifted = lift_features(Colors(), BoardAndWall(5, tint=True), point, every=every, **SIZE)
        assert lifted.features[0, 2].item() == pytest.approx(expected)
        assert lifted.num_views.tolist() == [-(-5 // every)]


def test_rows_share_the_pairs_of_their_points() -> None:
    """Two points on the wall and one on the board in one voxel: 3 + 3 pairs and those of the
    board's, by the number of views."""
    scan, row = BoardAndWall(), torch.tensor([0, 0, 0, 1, 0])
    apart = lift_features(Colors(), scan, POINTS, fill="zero", **SIZE)
    lifted = lift_features(Colors(), scan, POINTS, row, fill="zero", **SIZE)
    weights = apart.num_views[[0, 1, 2]].float()[:, None]
    expected = (apart.features[:3] * weights).sum(0) / weights.sum()
    torch.testing.assert_close(lifted.features[0], expected)
    assert lifted.num_views.tolist() == [3, 0]


@pytest.mark.parametrize("views_at_once", [1, 2, 7])
def test_streams_in_chunks(views_at_once: int) -> None:
    teacher, scan = Colors(), BoardAndWall(5, tint=True)
    lifted = lift_features(teacher, scan, POINTS, views_at_once=views_at_once, **SIZE)
    whole = lift_features(Colors(), BoardAndWall(5, tint=True), POINTS, views_at_once=5, **SIZE)
    torch.testing.assert_close(lifted.features, whole.features)
    assert torch.equal(lifted.num_views, whole.num_views)
    assert max(teacher.calls) <= views_at_once and sum(teacher.calls) == 5
    assert scan.loaded == scan.names  # each frame read once


def test_depth_images_of_several_sizes() -> None:
    class Mixed(BoardAndWall):
        def load(self, name: str) -> Frame:
            frame = super().load(name)
            if name != "1":
                return frame
            half = frame.depth_camera.resized(HEIGHT // 2, WIDTH // 2)
            return replace(frame, depth=frame.depth[1::2, 1::2].contiguous(), depth_camera=half)

    lifted = lift_features(Colors(), Mixed(), ON_WALL, **SIZE)
    assert lifted.num_views.tolist() == [3, 3]
    torch.testing.assert_close(lifted.features, torch.tensor([WALL, WALL]).float())


def test_images_are_resized_and_cells_interpolated() -> None:
    for size, stride in (((12, 16), 1), ((48, 64), 4)):
        lifted = lift_features(
            Colors(Colors.Config(stride=stride)),
            BoardAndWall(),
            torch.cat([ON_WALL]),
            image_size=size,
        )
        torch.testing.assert_close(lifted.features, torch.tensor([WALL, WALL]).float())


def test_tolerances() -> None:
    near = torch.tensor([[1.0, 0.1, 3.1]])
    for options, views in (
        ({}, 0),
        ({"absolute_tolerance": 0.2}, 3),
        ({"relative_tolerance": 0.05}, 3),
    ):
        lifted = lift_features(Colors(), BoardAndWall(), near, **options, **SIZE)
        assert lifted.num_views.tolist() == [views]


def test_broken_frames_are_skipped_and_counted() -> None:
    skips = SkipLog()
    lifted = lift_features(Colors(), BoardAndWall(3, broken=("1",)), POINTS, skips=skips, **SIZE)
    assert lifted.num_views[0] == 2 and skips.count == 1
    with pytest.raises(
        ValueError, match=r"none of 2 frames can be used; the last: 1\.png is damaged"
    ):
        lift_features(Colors(), BoardAndWall(2, broken=("0", "1")), POINTS, **SIZE)


def test_no_points() -> None:
    lifted = lift_features(Colors(), BoardAndWall(), torch.zeros(0, 3), **SIZE)
    assert lifted.features.shape == (0, 3) and lifted.num_views.shape == (0,)


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="fill is 'mean'"):
        lift_features(Colors(), BoardAndWall(), POINTS, fill="mean", **SIZE)
    with pytest.raises(ValueError, match="every is 0"):
        lift_features(Colors(), BoardAndWall(), POINTS, every=0, **SIZE)


def test_scenes_turned_along_their_walls_find_their_frames() -> None:
    world_to_scene = torch.eye(4, dtype=torch.float64)
    world_to_scene[:3, :3] = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    world_to_scene[:3, 3] = torch.tensor([1.0, 2, 3])
    count = len(POINTS)
    scene = Scene("scene", POINTS, torch.zeros(count).long(), torch.zeros(count).long())
    turned = (POINTS.double() @ world_to_scene[:3, :3].T + world_to_scene[:3, 3]).float()
    scene = replace(scene, points=turned, world_to_scene=world_to_scene)
    torch.testing.assert_close(world_points(scene), POINTS)
