"""Reads scan.json, the description of a scan in the `folder` layout (docs/data_layout.md), and says
what is wrong with it in its own terms."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pcpt.choices import check_depth_scale
from pcpt.data.files import read_intrinsics
from pcpt.data.frame import BrokenFrame
from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.rig import FrameFiles, Rig
from pcpt.geometry.camera import Camera

VERSION = 1
_OWN_KEYS = ("color_intrinsics", "depth_intrinsics")
_CAMERA_KEYS = ("width", "height", "intrinsics", "fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class ScanDescription:
    """What scan.json holds: see docs/data_layout.md."""

    name: str
    rig: Rig
    files: dict[str, FrameFiles]
    held_out: frozenset[str]
    up: list[float]


def read_scan_json(path: Path) -> ScanDescription:
    """Reads and checks a scan.json; the images and pose files it names are not touched.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, an unknown key, or a missing or unusable value; the message holds the
            file, the key, the value and what was expected.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; a folder scan is described by a scan.json "
            "(docs/data_layout.md), and pcpt.data.write_scan writes one"
        )
    scan = JsonObject(read_json(path), path, "")
    scan.allow("version", "name", "note", "up", "color", "depth", "frames")
    version = scan.get("version")
    if version != VERSION:
        raise scan.error("version", version, f"{VERSION}, the layout that this pcpt reads")
    name, rig = scan.text("name"), _rig(scan)
    files, held_out = _frames(scan, rig)
    up = scan.numbers("up", (3,)).tolist() if "up" in scan.fields else []
    return ScanDescription(name, rig, files, frozenset(held_out), up)


def _rig(scan: JsonObject) -> Rig:
    color_object = JsonObject(scan.get("color"), scan.path, "color")
    color_object.allow(*_CAMERA_KEYS)
    color = _camera(color_object)
    depth = JsonObject(scan.get("depth"), scan.path, "depth")
    depth.allow("scale", "registered_to_color", "depth_to_color", *_CAMERA_KEYS)
    scale = depth.positive("scale") if "scale" in depth.fields else 1000.0
    check_depth_scale(f"{scan.path}: depth.scale", scale)
    if depth.flag("registered_to_color"):
        for key in ("depth_to_color", *_CAMERA_KEYS):
            if key in depth.fields:
                raise depth.error(
                    key, depth.fields[key], "nothing: registered_to_color means color's camera"
                )
        return Rig(color, color, scale)
    depth_camera = _camera(depth)
    if "depth_to_color" not in depth.fields:
        return Rig(color, depth_camera, scale)
    # In the rig the depth camera is the world: depth_to_color is the colour camera's
    # world_to_camera.
    depth_to_color = depth.numbers("depth_to_color", (4, 4))
    try:
        pose = torch.linalg.inv(depth_to_color)
        pose[3] = depth_to_color[3]  # not what the solver rounded it to; Camera checks it
        color = Camera(color.intrinsics, color.height, color.width, pose)
    except (ValueError, RuntimeError) as error:
        expected = f"a rigid motion that maps depth camera to colour camera points ({error})"
        raise depth.error("depth_to_color", depth.fields["depth_to_color"], expected) from error
    return Rig(color, depth_camera, scale)


def _camera(camera: JsonObject) -> Camera:
    height, width = camera.whole("height"), camera.whole("width")
    parts = [key for key in ("fx", "fy", "cx", "cy") if key in camera.fields]
    if ("intrinsics" in camera.fields) == bool(parts):
        found = "both given" if parts else "missing"
        raise ValueError(
            f"{camera.path}: {camera.key('intrinsics')} is {found}; give either a 3x3 matrix "
            "under intrinsics or the four numbers fx, fy, cx, cy, in pixels"
            + ("" if camera.where == "color" else ", or registered_to_color: true")
        )
    if parts:
        fx, fy, cx, cy = (float(camera.numbers(key, ())) for key in ("fx", "fy", "cx", "cy"))
        intrinsics = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
    else:
        intrinsics = camera.numbers("intrinsics", (3, 3))
    try:
        return Camera(intrinsics, height, width)
    except ValueError as error:
        raise ValueError(f"{camera.path}: {camera.where}: {error}") from error


def _frames(scan: JsonObject, rig: Rig) -> tuple[dict[str, FrameFiles], list[str]]:
    listed = scan.get("frames")
    if not isinstance(listed, list) or not listed:
        raise scan.error("frames", listed, "a list of at least one frame")
    files: dict[str, FrameFiles] = {}
    held_out = []
    for index, value in enumerate(listed):
        frame = JsonObject(value, scan.path, f"frames[{index}]")
        frame.allow("name", "image", "depth", "camera_to_world", "held_out", *_OWN_KEYS)
        name = frame.text("name")
        if name in files:
            raise frame.error("name", name, "a name that no earlier frame has")
        pose: str | Tensor
        if isinstance(frame.get("camera_to_world"), str):
            pose = frame.file("camera_to_world")
        elif frame.get("camera_to_world") is None:  # tracking lost: a broken frame, not a bad file
            pose = torch.full((4, 4), float("nan"), dtype=torch.float64)
        else:
            pose = frame.numbers("camera_to_world", (4, 4))
        origin = f"{scan.path.name} {frame.key('camera_to_world')}"
        own = _own_rig(frame, rig)
        files[name] = FrameFiles(frame.file("image"), frame.file("depth"), pose, origin, own)
        if frame.flag("held_out"):
            held_out.append(name)
    return files, held_out


def _own_rig(frame: JsonObject, rig: Rig) -> partial[Rig] | None:
    """The cameras of a frame that gives intrinsics of its own, read when the frame is loaded."""
    given: dict[str, Path | Tensor] = {}
    for key in _OWN_KEYS:
        if key not in frame.fields:
            continue
        if key == "depth_intrinsics" and rig.color is rig.depth:
            raise frame.error(key, frame.fields[key], "nothing: registered_to_color, one camera")
        if isinstance(frame.fields[key], str):
            given[key] = frame.path.parent / frame.file(key)
        else:
            given[key] = frame.numbers(key, (3, 3))
    return partial(_with_intrinsics, rig, given, f"{frame.path} {frame.where}") if given else None


def _with_intrinsics(rig: Rig, given: dict[str, Path | Tensor], origin: str) -> Rig:
    cameras = {"color_intrinsics": rig.color, "depth_intrinsics": rig.depth}
    for key, value in given.items():
        try:
            matrix = read_intrinsics(value) if isinstance(value, Path) else value
            cameras[key] = replace(cameras[key], intrinsics=matrix)
        except (ValueError, FileNotFoundError) as error:
            raise BrokenFrame(f"{origin}.{key}: {error}") from error
    if rig.color is rig.depth:
        return replace(rig, color=cameras["color_intrinsics"], depth=cameras["color_intrinsics"])
    return replace(rig, color=cameras["color_intrinsics"], depth=cameras["depth_intrinsics"])
