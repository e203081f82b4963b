"""Reads scan.json, the description of a scan in the `folder` layout (docs/data_layout.md), and says
what is wrong with it in its own terms."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from torch import Tensor

from pcpt.data.rig import FrameFiles, Rig
from pcpt.geometry.camera import Camera

VERSION = 1
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
    try:
        value = json.loads(path.read_bytes(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    scan = _Object(value, path, "")
    scan.allow("version", "name", "note", "up", "color", "depth", "frames")
    version = scan.get("version")
    if version != VERSION:
        raise scan.error("version", version, f"{VERSION}, the layout that this pcpt reads")
    files, held_out = _frames(scan)
    up = scan.numbers("up", (3,)).tolist() if "up" in scan.fields else []
    return ScanDescription(scan.text("name"), _rig(scan), files, frozenset(held_out), up)


def _without_repetition(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r} appears twice in one object")
        result[key] = value
    return result


class _Object:
    """One JSON object, read key by key."""

    def __init__(self, value: Any, path: Path, where: str) -> None:
        self.path, self.where = path, where
        if not isinstance(value, dict):
            raise ValueError(
                f"{path}: {where or 'the file'} is {_short(value)}, expected an object"
            )
        self.fields: dict[str, Any] = value

    def key(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def error(self, key: str, value: Any, expected: str) -> ValueError:
        return ValueError(f"{self.path}: {self.key(key)} is {_short(value)}, expected {expected}")

    def allow(self, *keys: str) -> None:
        for key in self.fields:
            if key not in keys:
                inside = [known for known in keys if known in key or key in known]
                near = inside or difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
                raise ValueError(f"{self.path}: unknown key {self.key(key)!r}; {hint}")

    def get(self, key: str) -> Any:
        if key not in self.fields:
            raise ValueError(f"{self.path}: {self.key(key)} is missing (docs/data_layout.md)")
        return self.fields[key]

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, value, "a text that is not empty")
        return value

    def flag(self, key: str) -> bool:
        value = self.fields.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, value, "true or false")
        return value

    def file(self, key: str) -> str:
        """A path below the scan's folder, with forward slashes."""
        value = self.text(key)
        path, windows = PurePosixPath(value), PureWindowsPath(value)
        escapes = ".." in path.parts or ".." in windows.parts
        if escapes or path.is_absolute() or windows.drive or windows.root or "\0" in value:
            raise self.error(key, value, "a path inside the scan's folder, relative to it")
        return value

    def numbers(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """A number or (nested) list of numbers of that shape, float64."""
        value = self.get(key)
        layout = "x".join(map(str, shape)) + " numbers" if shape else "a number"
        if not _has_shape(value, shape):
            raise self.error(key, value, layout + (", row by row" if len(shape) > 1 else ""))
        try:
            return torch.tensor(value, dtype=torch.float64)
        except (RuntimeError, OverflowError) as error:  # an integer of more than 64 bits
            raise self.error(key, value, layout) from error

    def positive(self, key: str) -> float:
        value = float(self.numbers(key, ()))
        if not 0 < value < float("inf"):
            raise self.error(key, self.fields[key], "a number > 0")
        return value

    def whole(self, key: str) -> int:
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(key, value, "a whole number >= 1")
        return value


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if not shape:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(_has_shape(item, shape[1:]) for item in value)
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _rig(scan: _Object) -> Rig:
    color_object = _Object(scan.get("color"), scan.path, "color")
    color_object.allow(*_CAMERA_KEYS)
    color = _camera(color_object)
    depth = _Object(scan.get("depth"), scan.path, "depth")
    depth.allow("scale", "registered_to_color", "depth_to_color", *_CAMERA_KEYS)
    scale = depth.positive("scale") if "scale" in depth.fields else 1000.0
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


def _camera(camera: _Object) -> Camera:
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


def _frames(scan: _Object) -> tuple[dict[str, FrameFiles], list[str]]:
    listed = scan.get("frames")
    if not isinstance(listed, list) or not listed:
        raise scan.error("frames", listed, "a list of at least one frame")
    files: dict[str, FrameFiles] = {}
    held_out = []
    for index, value in enumerate(listed):
        frame = _Object(value, scan.path, f"frames[{index}]")
        frame.allow("name", "image", "depth", "camera_to_world", "held_out")
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
        files[name] = FrameFiles(frame.file("image"), frame.file("depth"), pose, origin)
        if frame.flag("held_out"):
            held_out.append(name)
    return files, held_out
