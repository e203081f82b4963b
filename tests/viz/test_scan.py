"""Pictures of scans and labelled scenes show what they should, where they should."""

from pathlib import Path

import pytest
import torch

from pcpt.cli import main
from pcpt.data.frame import Frame
from pcpt.data.ply import read_ply
from pcpt.data.scene import Scene
from pcpt.geometry.camera import Camera
from pcpt.scan_pictures import write_label_picture, write_scan_pictures
from pcpt.viz.cloud import look_at
from pcpt.viz.labels import UNLABELLED, instance_colors, label_picture, semantic_colors
from pcpt.viz.picture import BACKGROUND
from pcpt.viz.scan import camera_path, cloud_overview, contact_sheet, depth_picture, overlook
from tests.data import tiny_scans
from tests.data.recordings import MemoryScan
from tests.data.scannet_files import write_labelled_scene
from tests.viz.rooms import LABELS, room

Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)


def has_color(picture: torch.Tensor, color: tuple[int, int, int], near: int = 24) -> bool:
    distance = (picture.int() - torch.tensor(color)[:, None, None]).abs().amax(0)
    return bool((distance < near).any())


def test_depth_is_bright_when_near_and_black_where_unmeasured() -> None:
    depth = torch.tensor([[0.0, 0.5, 1.0, 2.0, 4.0, 9.0]])
    picture = depth_picture(depth, 4.0)
    light = picture.float().sum(0)[0]
    assert picture[:, 0, 0].tolist() == [0, 0, 0]
    assert (light[1:5] > light[2:]).all() or (light[1:4] > light[2:5]).all()
    assert torch.equal(picture[:, 0, 4], picture[:, 0, 5])


def test_the_contact_sheet_holds_every_frame_beside_its_depth() -> None:
    scan = MemoryScan("s", 5, [], [])
    frames = [scan.load(name) for name in scan.names]
    sheet = contact_sheet(frames, columns=2)
    assert sheet.dtype == torch.uint8 and sheet.shape[0] == 3
    tile_height = 150
    assert sheet.shape[1] > 3 * tile_height and sheet.shape[2] > 4 * tile_height
    for frame in frames:
        mean = frame.image.float().mean((1, 2)).int()
        assert has_color(sheet, tuple(mean.tolist()), 60)
    alone = contact_sheet(frames[:1], columns=4)
    assert alone.shape[2] < sheet.shape[2]
    with pytest.raises(ValueError, match="no frames"):
        contact_sheet([])


def floor_and_ceiling() -> tuple[torch.Tensor, torch.Tensor]:
    """Green floor at z = 0, red ceiling at z = 2.5, 4 x 4 m."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(40_000, 3, generator=generator) * torch.tensor([4.0, 4, 0])
    points[20_000:, 2] = 2.5
    colors = torch.tensor([[30, 200, 60], [230, 20, 20]], dtype=torch.uint8)
    return points, colors.repeat_interleave(20_000, 0)


def walk() -> torch.Tensor:
    """Poses along x at 1.5 m, looking along x and down."""
    places = torch.linspace(0.5, 3.5, 10, dtype=torch.float64)
    ahead = torch.tensor([1.0, 0.2, -0.5], dtype=torch.float64)
    eyes = [torch.tensor([x, 2.0, 1.5], dtype=torch.float64) for x in places.tolist()]
    return torch.stack([look_at(eye, eye + ahead, Z) for eye in eyes])


def test_the_path_is_drawn_under_the_taken_off_ceiling() -> None:
    points, colors = floor_and_ceiling()
    picture = camera_path(points, colors, walk(), Z)
    assert picture.shape[0] == 3
    from_above = picture[:, :, : picture.shape[2] // 2]
    ground = tuple(round(0.6 * c + 0.4 * b) for c, b in zip((30, 200, 60), BACKGROUND))
    ceiling = tuple(round(0.6 * c + 0.4 * b) for c, b in zip((230, 20, 20), BACKGROUND))
    assert has_color(from_above, ground) and not has_color(from_above, ceiling, 12)
    assert has_color(from_above, (70, 140, 255)) and has_color(from_above, (255, 70, 60))
    one = camera_path(points, colors, walk()[:1], Z)
    assert has_color(one, (70, 140, 255))
    with pytest.raises(ValueError, match="0 poses"):
        camera_path(points, colors, torch.zeros(0, 4, 4), Z)


def test_the_overview_frames_everything_from_behind_the_cameras() -> None:
    points, colors = floor_and_ceiling()
    picture = cloud_overview(points, colors, walk(), Z)
    assert picture.shape == (3, 640, 960)
    assert has_color(picture, (30, 200, 60)) and not has_color(picture, (230, 20, 20))
    toward = torch.tensor([1.0, 0, 0])
    camera = overlook(points, Z, toward=toward, height=200, width=300)
    uv, z = camera.project(points.double())
    inside = (uv >= 0).all(1) & (uv < torch.tensor([300, 200])).all(1) & (z > 0)
    assert float(inside.float().mean()) > 0.97
    assert float(camera.camera_to_world[0, 2]) > 0.5 and float(camera.camera_to_world[2, 2]) < -0.5
    straight = overlook(points, Z, toward=Z, height=200, width=300)
    assert torch.isfinite(straight.camera_to_world).all()


def test_classes_and_objects_have_their_colours() -> None:
    scene = room()
    by_class = semantic_colors(scene, LABELS)
    for index in scene.semantic.unique().tolist():
        expected = LABELS.colors[index] if index >= 0 else UNLABELLED
        assert (by_class[scene.semantic == index] == torch.tensor(expected)).all()
    by_object = instance_colors(scene.instances)
    seen = {tuple(by_object[scene.instances == i][0].tolist()) for i in range(-1, 6)}
    assert len(seen) == 7
    assert len({tuple(c) for c in instance_colors(torch.arange(60)).tolist()}) == 60
    assert instance_colors(torch.zeros(0, dtype=torch.int64)).shape == (0, 3)


def test_the_label_picture_shows_classes_objects_and_a_legend() -> None:
    scene = room(1500)
    picture = label_picture(scene, LABELS)
    third = picture.shape[2] // 3
    middle = picture[:, :, third : 2 * third]
    for name in ("floor", "wall", "table", "chair"):
        assert has_color(middle, LABELS.colors[LABELS.names.index(name)], 40), name
    strip = picture[:, -46:]
    for name in ("floor", "wall", "table", "chair"):
        assert has_color(strip, LABELS.colors[LABELS.names.index(name)], 3), name
    assert not has_color(strip, LABELS.colors[LABELS.names.index("bathtub")], 3)
    bare = Scene("bare", scene.points, scene.semantic, torch.full_like(scene.instances, -1))
    assert label_picture(bare, LABELS).shape[2] < picture.shape[2]


def test_what_cannot_be_drawn_is_refused() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="no points"):
        label_picture(Scene("e", torch.zeros(0, 3), none, none), LABELS)
    wrong = Scene("w", torch.zeros(1, 3), torch.tensor([99]), torch.tensor([-1]))
    with pytest.raises(ValueError, match="label 99, but set"):
        semantic_colors(wrong, LABELS)


def test_pictures_of_a_scan_are_written(tmp_path: Path) -> None:
    scan = MemoryScan("s", 12, [0, 4], [])
    paths = write_scan_pictures(scan, tmp_path / "pictures", max_frames=9)
    names = [path.name for path in paths]
    assert names == ["contact_sheet.png", "camera_path.png", "cloud.png", "cloud.ply"]
    assert all(path.stat().st_size > 1000 for path in paths)
    points, colors = read_ply(paths[-1])
    assert len(points) > 500 and colors is not None
    with pytest.raises(ValueError, match="no frame can be used"):
        write_scan_pictures(MemoryScan("s", 2, [0, 1], []), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_color_camera_that_sees_no_depth_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = tiny_scans.folder_json()
    description["depth"]["depth_to_color"][0][3] = 50.0
    path = tiny_scans.write_folder(tmp_path / "scan", description)
    assert main(["visualize", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "scan tiny: the colour camera sees no pixel of depth of 3" in capsys.readouterr().err


def test_the_command_draws_scans_and_labelled_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = torch.zeros(3, 4, 4, dtype=torch.uint8)  # drawing is tested above, and takes seconds
    for name in ("label_picture", "cloud_overview", "camera_path"):
        monkeypatch.setattr(f"pcpt.scan_pictures.{name}", lambda *_: small)
    scan = tiny_scans.write_hololens(tmp_path / "scan")
    assert main(["visualize", str(scan), "--out", str(tmp_path / "a"), "depth_scale=500"]) == 0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "camera_path.png", "cloud.ply", "cloud.png", "contact_sheet.png",
    ]  # fmt: skip
    assert read_ply(tmp_path / "a" / "cloud.ply")[0].max() > 5  # metres: twice those of the file
    with pytest.raises(SystemExit):
        main(["visualize", str(scan)])
    assert "is a scan, not a run; give --out" in capsys.readouterr().err
    scene = write_labelled_scene(tmp_path / "scannet")
    for path, words in ((scene, ()), (scene.parent, ("--source", "scannet_scenes"))):
        out = tmp_path / f"b{len(words)}"
        assert main(["visualize", str(path), "--out", str(out), *words]) == 0
        assert [each.name for each in out.iterdir()] == [f"{scene.name}.labels.png"]
    capsys.readouterr()
    assert main(["visualize", str(tmp_path / "absent"), "--out", str(tmp_path / "c")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert write_label_picture(room(200), LABELS, tmp_path / "d").is_file()


def test_frames_of_different_cameras_fit_one_sheet() -> None:
    camera = Camera([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]], 48, 64)
    wide = camera.resized(48, 100)
    image = torch.zeros(3, 48, 100, dtype=torch.uint8)
    depth = torch.zeros(48, 64)
    sheet = contact_sheet([Frame("odd name $x_1$", image, depth, wide, camera)])
    assert sheet.shape[1] > 150
