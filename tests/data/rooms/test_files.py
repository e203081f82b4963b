"""The written rooms, read back by the readers of real ScanNet files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pcpt import registry
from pcpt.data.ply import read_mesh
from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.labels import NYU40_OF, TABLE_NAME, raw_id
from pcpt.data.rooms.render import pixel_rays
from pcpt.data.rooms.scan import make_room, posed
from pcpt.data.scannet_classes import NYU40
from pcpt.data.scannet_labels import (
    read_aggregation,
    read_axis_alignment,
    read_label_map,
    read_segments,
)
from pcpt.data.scannet_scene import ScanNetFiles
from pcpt.data.sens import SensReader
from pcpt.geometry.camera import Camera
from tests.data.rooms.conftest import ROOMS, SMALL


def scenes(folder: Path) -> list[Path]:
    return sorted((folder / "scans").iterdir())


def test_every_class_name_is_in_the_table(rooms_folder: Path) -> None:
    table = read_label_map(rooms_folder / TABLE_NAME, "nyu40id")
    assert table == NYU40_OF
    assert set(table.values()) <= set(NYU40.ids)


def test_vertices_segments_and_objects_agree(rooms_folder: Path) -> None:
    for folder in scenes(rooms_folder):
        files = ScanNetFiles(folder)
        mesh, labelled = read_mesh(files.mesh), read_mesh(files.labels)
        assert mesh.faces is not None and mesh.colors is not None and labelled.labels is not None
        np.testing.assert_array_equal(mesh.points, labelled.points)
        segments = read_segments(files.segments, len(mesh.points))
        owner: dict[int, str] = {}
        for group in read_aggregation(files.aggregation):
            assert len(group.segments)
            for segment in group.segments.tolist():
                assert segment not in owner  # of one object alone
                owner[segment] = group.label
        assert set(owner) == set(segments.tolist())  # every vertex is labelled
        expected = np.array([NYU40_OF[owner[s]] for s in segments.tolist()])
        np.testing.assert_array_equal(labelled.labels, expected)


def test_boxes_contain_their_vertices(rooms_folder: Path) -> None:
    for folder in scenes(rooms_folder):
        files = ScanNetFiles(folder)
        points = read_mesh(files.mesh).points.astype(np.float64)
        align = read_axis_alignment(files.description)
        points = points @ align[:3, :3].T + align[:3, 3]
        segments = read_segments(files.segments, len(points))
        groups = read_aggregation(files.aggregation)
        boxes = json.loads((folder / f"{folder.name}.boxes.json").read_text())["boxes"]
        assert [box["label"] for box in boxes] == [group.label for group in groups]
        for box, group in zip(boxes, groups):
            mine = points[np.isin(segments, group.segments)] - box["center"]
            c, s = np.cos(box["heading"]), np.sin(box["heading"])
            local = mine @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            # fusing moves a vertex by up to 4 cm along a ray
            assert (np.abs(local) <= np.array(box["size"]) / 2 + 0.05).all(), (folder.name, box)


def test_alignment_undoes_the_turn(rooms_folder: Path) -> None:
    turned = 0
    for folder in scenes(rooms_folder):
        files = ScanNetFiles(folder)
        align = read_axis_alignment(files.description)
        turned += abs(align[0, 1]) > 0.1
        mesh = read_mesh(files.labels)
        assert mesh.labels is not None
        walls = mesh.points[mesh.labels == 1] @ align[:3, :3].T.astype(np.float32) + align[:3, 3]
        near = np.minimum(
            np.abs(np.abs(walls[:, 0]) - np.abs(walls[:, 0]).max()),
            np.abs(np.abs(walls[:, 1]) - np.abs(walls[:, 1]).max()),
        )
        assert len(walls) > 50
        floor = mesh.points[mesh.labels == 2] @ align[:3, :3].T.astype(np.float32) + align[:3, 3]
        assert abs(float(np.median(floor[:, 2]))) < 0.03
        assert near.min() < 0.05
    assert turned >= ROOMS // 2


def test_the_scannet_sources_read_them(rooms_folder: Path) -> None:
    component = registry.get("datasets", "scannet_scenes")
    source = component(
        component.Config(
            root=str(rooms_folder / "scans"), split_file=str(rooms_folder / "splits/train.txt")
        )
    ).open()
    assert len(source) == ROOMS
    scene = source.load(source.names[0])
    assert not scene.unknown_labels
    assert len(scene.boxes.labels) > 3
    component = registry.get("datasets", "scannet_sens")
    scans = component(component.Config(roots=[str(rooms_folder / "scans")], every=1)).open()
    assert len(scans) == ROOMS
    frame = scans[0].load(scans[0].names[0])
    assert frame.image.shape == (3, 72, 96)
    assert (frame.depth > 0).float().mean() > 0.3


def test_exact_depth_lies_on_the_mesh_and_on_the_surfaces(rooms_folder: Path) -> None:
    """Without noise, a back-projected frame lies on the analytic surfaces; with noise and through
    the written poses, near the written mesh."""
    from scipy.spatial import cKDTree

    for number in range(ROOMS):
        folder = scenes(rooms_folder)[number]
        room = make_room(SMALL, number)
        mesh = read_mesh(ScanNetFiles(folder).mesh)
        tree = cKDTree(mesh.points)
        reader = SensReader(folder / f"{folder.name}.sens")
        for index in range(SMALL.frames):
            view, _ = room.renderer.look(posed(room.depth_camera, room.poses[index]))
            pose = torch.from_numpy(reader.pose(index)).double()
            np.testing.assert_allclose(pose, room.room_to_scan @ room.poses[index], atol=1e-5)
            camera = Camera(torch.from_numpy(reader.header.intrinsic_depth[:3, :3]), 72, 96, pose)
            for depth, tolerance, share in (
                (torch.from_numpy(view.depth), 0.06, 0.80),
                (torch.from_numpy(reader.depth(index)), 0.06, 0.93),
            ):
                points, _ = camera.unproject(depth)
                distance, _ = tree.query(points.numpy())
                assert (distance < tolerance).mean() > share, (number, index, share)
        wrong = Camera(
            torch.from_numpy(reader.header.intrinsic_depth[:3, :3]), 72, 96, torch.linalg.inv(pose)
        )
        points, _ = wrong.unproject(torch.from_numpy(view.depth))
        distance, _ = tree.query(points.numpy())
        assert (distance < 0.06).mean() < 0.5  # the test would notice inverted poses


def test_rays_agree_with_trimesh(embree: None) -> None:
    """An independent intersection of a few rays with the same quads."""
    import trimesh

    room = make_room(SMALL, 0)
    corners = room.scene.corners
    triangles = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    mesh = trimesh.Trimesh(**trimesh.triangles.to_kwargs(triangles), process=False)
    camera = posed(room.depth_camera, room.poses[0])
    view, _ = room.renderer.look(camera)
    pick = np.random.default_rng(0).integers(0, 72 * 96, 40)
    pose = camera.camera_to_world.numpy()
    rays = pixel_rays(camera)[pick] @ pose[:3, :3].T
    for ray, z in zip(rays, view.depth.ravel()[pick]):
        expected = nearest_hit(mesh.triangles, pose[:3, 3], ray)
        assert z == pytest.approx(expected, abs=5e-3)


def nearest_hit(triangles: np.ndarray, origin: np.ndarray, ray: np.ndarray) -> float:
    """Least positive distance at which a ray meets a triangle, in lengths of the ray."""
    a, b, c = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(ray, c)
    det = (b * p).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = origin - a
        u = (s * p).sum(1) / det
        q = np.cross(s, b)
        v = (q * ray).sum(1) / det
        t = (c * q).sum(1) / det
    hit = (np.abs(det) > 1e-12) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-6)
    return float(t[hit].min())


def test_label_images_agree_with_the_mesh(rooms_folder: Path) -> None:
    names = {raw_id(label): label for label in NYU40_OF}
    for folder in scenes(rooms_folder)[:3]:
        present = {group.label for group in read_aggregation(ScanNetFiles(folder).aggregation)}
        for index in range(SMALL.frames):
            image = cv2.imread(str(folder / "label-filt" / f"{index}.png"), cv2.IMREAD_UNCHANGED)
            things = cv2.imread(
                str(folder / "instance-filt" / f"{index}.png"), cv2.IMREAD_UNCHANGED
            )
            assert image.shape == things.shape == (72, 96) and image.dtype == np.uint16
            ids, counts = np.unique(image[image > 0], return_counts=True)
            common = {names[int(each)] for each, count in zip(ids, counts) if count > 60}
            assert common - {"window", "mirror", "tv", "monitor"} <= present
            for each in np.unique(things[things > 0]).tolist():
                assert len(np.unique(image[things == each])) == 1


def test_instance_images_follow_the_objects(rooms_folder: Path) -> None:
    """Pixel value minus one is the objectId: of the aggregation, and of the boxes."""
    names = {raw_id(label): label for label in NYU40_OF}
    skipped = 0
    for number, folder in enumerate(scenes(rooms_folder)):
        groups = read_aggregation(ScanNetFiles(folder).aggregation)
        boxes = json.loads((folder / f"{folder.name}.boxes.json").read_text())["boxes"]
        skipped += len(make_room(SMALL, number).scene.things) - len(groups)
        seen: set[int] = set()
        for index in range(SMALL.frames):
            labels, things = (
                cv2.imread(str(folder / kind / f"{index}.png"), cv2.IMREAD_UNCHANGED)
                for kind in ("label-filt", "instance-filt")
            )
            for value in np.unique(things[things > 0]).tolist():
                label = names[int(labels[things == value][0])]
                assert label == groups[value - 1].label == boxes[value - 1]["label"]
                assert boxes[value - 1]["objectId"] == value - 1
                seen.add(value)
        assert len(seen) > 5
    assert skipped > 0  # else the numbers of things would do


def test_drift_grows_and_leaves_the_mesh(embree: None, tmp_path: Path) -> None:
    from pcpt.data.rooms.generate import generate_rooms

    config = RoomsConfig(seed=5, frames=12, depth_size=(24, 32), color_size=(24, 32), spacing=0.1)
    still, moving = tmp_path / "still", tmp_path / "moving"
    generate_rooms(still, 1, config)
    generate_rooms(moving, 1, RoomsConfig(**{**config.__dict__, "drift": 0.2}))
    name = "scene0000_00"
    paths = [root / "scans" / name for root in (still, moving)]
    first, second = (SensReader(path / f"{name}.sens") for path in paths)
    gaps = [np.linalg.norm((first.pose(i) - second.pose(i))[:3, 3]) for i in range(12)]
    assert gaps[0] == 0 and 0.02 < max(gaps) < 1.0
    meshes = [(path / f"{name}_vh_clean_2.ply").read_bytes() for path in paths]
    assert meshes[0] == meshes[1]


def test_two_cameras_of_two_sizes(embree: None, tmp_path: Path) -> None:
    from pcpt.data.rooms.generate import generate_rooms

    config = RoomsConfig(
        frames=3, depth_size=(48, 64), color_size=(96, 128), spacing=0.1, label_images=True
    )
    generate_rooms(tmp_path, 1, config)
    folder = tmp_path / "scans" / "scene0000_00"
    reader = SensReader(folder / f"{folder.name}.sens")
    assert reader.color(0).shape == (96, 128, 3) and reader.depth(0).shape == (48, 64)
    ratio = reader.header.intrinsic_color[0, 0] / reader.header.intrinsic_depth[0, 0]
    assert 1.9 < ratio < 2.1 and ratio != 2.0
    labels = cv2.imread(str(folder / "label-filt" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (96, 128)
