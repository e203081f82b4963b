"""One room from its number to its files."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from pcpt.data.ply import write_ply
from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.fused_mesh import FusedMesh, Fusion, Truth
from pcpt.data.rooms.labels import NYU40_OF, raw_id, write_aggregation, write_segments
from pcpt.data.rooms.path import drifted, walk
from pcpt.data.rooms.plan import Plan
from pcpt.data.rooms.render import Renderer
from pcpt.data.rooms.room_types import TYPES, furnish
from pcpt.data.rooms.scene import Scene, flatten
from pcpt.data.rooms.sensor import ColorCamera, measure_depth
from pcpt.data.scannet_scene import ScanNetFiles
from pcpt.data.sens import SensWriter
from pcpt.data.sens_format import SensHeader
from pcpt.geometry.camera import Camera

FRAME_TIME = 400_000  # microseconds: a frame in twelve of thirty a second


@dataclass(frozen=True)
class Room:
    """A furnished and lit room with the way a camera takes through it.

    Attributes:
        kind: one of ``room_types.TYPES``.
        plan, scene, renderer: of the room, in its own axes.
        poses: (F, 4, 4) camera_to_world in the room's axes.
        depth_camera, color_camera: at the origin.
        room_to_scan: (4, 4); scans are turned at random, so that axisAlignment matters.
    """

    kind: str
    plan: Plan
    scene: Scene
    renderer: Renderer
    poses: np.ndarray
    depth_camera: Camera
    color_camera: Camera
    room_to_scan: np.ndarray


def make_room(config: RoomsConfig, number: int) -> Room:
    """Room ``number``: the same for the same seed, whatever other rooms are made."""
    kind = list(TYPES)[number % len(TYPES)]
    plan = furnish(_generator(config, number, 0), kind)
    scene = flatten(plan.things)
    renderer = Renderer(_generator(config, number, 1), scene, plan.size, plan.height)
    rng = _generator(config, number, 2)
    poses = walk(rng, plan, config.frames)
    depth_camera = _camera(rng, config.depth_size)
    same = config.color_size == config.depth_size
    color_camera = depth_camera if same else _camera(rng, config.color_size)
    angle = rng.uniform(0, 2 * np.pi)
    room_to_scan = np.eye(4)
    room_to_scan[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    room_to_scan[:3, 3] = [*rng.uniform(0, 3, 2), rng.uniform(-0.05, 0.05)]
    return Room(kind, plan, scene, renderer, poses, depth_camera, color_camera, room_to_scan)


def _generator(config: RoomsConfig, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, *numbers])


def _camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    height, width = size
    focal = 0.9 * width * rng.uniform(0.98, 1.02)
    centre = np.array([(width - 1) / 2, (height - 1) / 2]) + rng.normal(0, 0.004, 2) * width
    return Camera(
        torch.tensor([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]), height, width
    )


def posed(camera: Camera, pose: np.ndarray) -> Camera:
    """The camera at another place."""
    return Camera(camera.intrinsics, camera.height, camera.width, torch.from_numpy(pose))


def write_room(config: RoomsConfig, number: int, folder: Path, name: str) -> None:
    """Renders room ``number`` and writes all files of scene ``name`` into an existing folder."""
    room = make_room(config, number)
    views = _record(config, number, room, folder / f"{name}.sens")
    seen = np.zeros(len(room.scene.corners), bool)
    for frame in views:
        seen[frame.quads] = True
    fusion = Fusion(room.scene, seen, config.spacing)
    for frame, pose in zip(views, room.poses):
        fusion.add(
            posed(room.depth_camera, pose),
            frame.truth,
            frame.millimetres,
            posed(room.color_camera, pose),
            frame.image,
        )
    present = _write_mesh(room, fusion.finish(), folder, name)
    _write_description(config, room, folder / f"{name}.txt")
    if config.label_images:
        _write_label_images(room, present, views, folder)


@dataclass(frozen=True)
class Shot:
    """A frame as recorded, beside the truth; kept until the mesh is fused, so no more than needed.

    Attributes:
        quads: those that some ray met.
        truth: exact depth and what is seen, of the depth camera.
        color_instance: (H, W) what the colour camera sees.
        image: (H, W, 3) uint8.
        millimetres: (h, w) uint16.
    """

    quads: np.ndarray
    truth: Truth
    color_instance: np.ndarray
    image: np.ndarray
    millimetres: np.ndarray


def _record(config: RoomsConfig, number: int, room: Room, path: Path) -> list[Shot]:
    header = SensHeader(
        color_size=config.color_size,
        depth_size=config.depth_size,
        intrinsic_color=_four(room.color_camera),
        intrinsic_depth=_four(room.depth_camera),
        sensor_name="pcpt rooms",
    )
    written = room.room_to_scan @ drifted(_generator(config, number, 3), room.poses, config.drift)
    lens = ColorCamera.draw(_generator(config, number, 4))
    shots = []
    with SensWriter(path, header) as writer:
        for index, pose in enumerate(room.poses):
            shot = _shoot(_generator(config, number, 5, index), room, pose, lens)
            encoded = cv2.imencode(".jpg", shot.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            time = index * FRAME_TIME
            writer.add(encoded.tobytes(), shot.millimetres, written[index], time, time)
            shots.append(shot)
    return shots


def _shoot(rng: np.random.Generator, room: Room, pose: np.ndarray, lens: ColorCamera) -> Shot:
    view, quads = room.renderer.look(posed(room.depth_camera, pose))
    color_view = view
    if room.color_camera is not room.depth_camera:
        color_view, more = room.renderer.look(posed(room.color_camera, pose))
        quads = np.union1d(quads, more)
    image = lens.shoot(rng, color_view.radiance)
    truth = Truth(view.depth, view.instance.astype(np.int16))
    seen = color_view.instance.astype(np.int16)
    return Shot(quads, truth, seen, image, measure_depth(rng, view))


def _four(camera: Camera) -> np.ndarray:
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = camera.intrinsics.numpy()
    return matrix


def _write_mesh(room: Room, mesh: FusedMesh, folder: Path, name: str) -> list[int]:
    """Returns the things that have a vertex, in the order of their ``objectId``."""
    turn = room.room_to_scan
    points = (mesh.points @ turn[:3, :3].T + turn[:3, 3]).astype(np.float32)
    files = ScanNetFiles(folder.with_name(name))
    names = [thing.label for thing in room.scene.things]
    nyu40 = np.array([NYU40_OF[label] for label in names])
    write_ply(folder / files.mesh.name, points, mesh.colors, faces=mesh.faces)
    labels = nyu40[mesh.instance]
    write_ply(folder / files.labels.name, points, mesh.colors, labels=labels, faces=mesh.faces)
    write_segments(folder / files.segments.name, name, mesh.segment)
    present = write_aggregation(
        folder / files.aggregation.name, name, mesh.instance, mesh.segment, names
    )
    _write_boxes(room, present, folder / f"{name}.boxes.json", name)
    return present


def _write_boxes(room: Room, present: list[int], path: Path, name: str) -> None:
    """The whole things' boxes, turned as the things are, in the aligned frame."""
    boxes = []
    shift = np.array([*np.array(room.plan.size) / 2, 0.0])
    for place, number in enumerate(present):
        thing = room.scene.things[number]
        low, high = thing.moved(-thing.heading, (0, 0, 0)).bounds()
        c, s = np.cos(thing.heading), np.sin(thing.heading)
        centre = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ ((low + high) / 2) - shift
        boxes.append({
            "objectId": place,
            "label": thing.label,
            "center": [round(float(x), 5) for x in centre],
            "size": [round(float(x), 5) for x in high - low],
            "heading": round(float(np.arctan2(s, c)), 6),
        })  # fmt: skip
    rows = ",\n".join("  " + json.dumps(box) for box in boxes)
    text = f'{{"sceneId": {json.dumps(name)}, "frame": "axis-aligned", "boxes": [\n{rows}\n]}}\n'
    path.write_text(text, encoding="utf-8")


def _write_description(config: RoomsConfig, room: Room, path: Path) -> None:
    align = np.linalg.inv(room.room_to_scan)
    align[:2, 3] -= np.array(room.plan.size) / 2
    align[3] = [0, 0, 0, 1]
    lines = {"axisAlignment": " ".join(f"{x:.6f}" for x in align.ravel() + 0.0)}
    for kind, camera in (("color", room.color_camera), ("depth", room.depth_camera)):
        k = camera.intrinsics
        lines |= {
            f"{kind}Height": str(camera.height), f"{kind}Width": str(camera.width),
            f"fx_{kind}": f"{k[0, 0]:.6f}", f"fy_{kind}": f"{k[1, 1]:.6f}",
            f"mx_{kind}": f"{k[0, 2]:.6f}", f"my_{kind}": f"{k[1, 2]:.6f}",
        }  # fmt: skip
    lines |= {
        "numColorFrames": str(config.frames),
        "numDepthFrames": str(config.frames),
        "numIMUmeasurements": "0",
        "sceneType": room.kind,
    }
    path.write_text(
        "".join(f"{key} = {value}\n" for key, value in sorted(lines.items())), encoding="utf-8"
    )


def _write_label_images(room: Room, present: list[int], shots: list[Shot], folder: Path) -> None:
    ids = np.array([*(raw_id(thing.label) for thing in room.scene.things), 0], np.uint16)
    objects = np.zeros_like(ids)  # the last, as of ``ids``, is for pixels of nothing, which are -1
    objects[present] = np.arange(1, len(present) + 1)
    for kind in ("label-filt", "instance-filt"):
        (folder / kind).mkdir()
    for index, shot in enumerate(shots):
        for kind, image in (
            ("label-filt", ids[shot.color_instance]),
            ("instance-filt", objects[shot.color_instance]),
        ):
            path = folder / kind / f"{index}.png"
            if not cv2.imwrite(str(path), image):
                raise OSError(f"could not write {path}; is the disk full?")
