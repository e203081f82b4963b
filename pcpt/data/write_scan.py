"""Writes scans in the neutral `folder` layout of docs/data_layout.md: for your own recordings."""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcpt.choices import check_depth_scale
from pcpt.data.frame import Frame
from pcpt.data.images import SATURATED
from pcpt.data.names import file_stem
from pcpt.data.rig import direction
from pcpt.data.scan_json import VERSION
from pcpt.geometry.camera import Camera

# How far the offset between both cameras may wander over a recording, in metres and radians: poses
# in files are rounded to about 1e-6.
RIG_TOLERANCE = 1e-4
# Of PNG: on a Kinect's images level 9 takes 25 times as long for depth that is 20% smaller.
COMPRESS_LEVEL = 3


def write_folder_scan(
    folder: Path | str,
    name: str,
    frames: Iterable[Frame],
    *,
    up: Iterable[float] | Tensor | None = None,
    held_out: Collection[str] = (),
    depth_scale: float = 1000.0,
    jpeg_quality: int | None = None,
    note: str = "",
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Writes frames as a folder with scan.json, color/ and depth/, all of it or nothing.

    Frames are taken one by one, so a generator may read them from anywhere.

    Args:
        folder: must not exist yet; appears when everything in it is written.
        name: of the scan, unique in your data set.
        frames: all of the same two cameras, mounted rigidly, though intrinsics may differ between
            frames. Names become file names, with a hash where they hold anything but letters,
            digits, ``_``, ``-`` and ``.``.
        up: (3,), against gravity in the world frame.
        held_out: names of frames that must not be trained on.
        depth_scale: units per metre of the 16-bit depth images; 1000 rounds to millimetres.
        jpeg_quality: 1 to 100 for JPEG colour; None for PNG, which loses nothing.
        note: origin and licence, for readers of scan.json.
        finish: called with the folder, still under another name, when all else is in it; what it
            writes there appears with the rest, and what it raises undoes all.

    Returns:
        The path of scan.json.

    Raises:
        FileExistsError: ``folder`` exists.
        ValueError: no name, an ``up`` that is no direction, a ``depth_scale`` that is not positive;
            no frames, a frame's name that is empty or comes twice, cameras that differ between
            frames, depth beyond what 16 bits hold, or ``held_out`` that is no frame.

    Example:
        >>> camera = Camera(K, 480, 640, camera_to_world)
        >>> write_folder_scan("my_scan", "my_scan", [Frame("0", image, depth, camera, camera)])
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target} exists and is not overwritten; remove or rename it")
    vertical = _check_head(target, name, up, depth_scale)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        for part in ("color", "depth"):
            (unfinished / part).mkdir(parents=True)
        listed: dict[str, dict[str, Any]] = {}
        cameras: tuple[Camera, Camera, Tensor] | None = None
        for frame in frames:
            cameras = _same_rig(frame, cameras)
            if frame.name in listed:
                raise ValueError(f"frame {frame.name} comes twice; names must be unique")
            listed[frame.name] = _write_frame(unfinished, frame, depth_scale, jpeg_quality)
            listed[frame.name].update(_own_intrinsics(frame, cameras))
            if frame.name in held_out:
                listed[frame.name]["held_out"] = True
        if cameras is None:
            raise ValueError(f"{target}: there are no frames to write")
        unknown = set(held_out) - set(listed)
        if unknown:
            raise ValueError(f"held_out names {min(unknown)!r}, which is no frame")
        head = _head(name, note, vertical, cameras, depth_scale)
        (unfinished / "scan.json").write_text(
            _layout(head, list(listed.values())), encoding="utf-8"
        )
        if finish is not None:
            finish(unfinished)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return target / "scan.json"


def _check_head(
    target: Path, name: str, up: Iterable[float] | Tensor | None, depth_scale: float
) -> list[float] | None:
    """Refuses what the reader would refuse, before frames are written; returns ``up`` as a list."""
    if not name.strip():
        raise ValueError(f"{target}: name is {name!r}, expected a text that is not empty")
    check_depth_scale(f"{target}: depth_scale", depth_scale)
    if up is None:
        return None
    vertical = [float(value) for value in up]
    if direction(vertical, target) is None:
        raise ValueError(f"{target}: up is empty; leave it out where it is not known")
    return vertical


def _same_rig(
    frame: Frame, first: tuple[Camera, Camera, Tensor] | None
) -> tuple[Camera, Camera, Tensor]:
    """Colour camera, depth camera and depth_to_color (4, 4), checked against the first frame's."""
    depth_to_color = frame.color_camera.world_to_camera @ frame.depth_camera.camera_to_world
    if first is None:
        return frame.color_camera, frame.depth_camera, depth_to_color
    for kind, camera, other in (
        ("color", frame.color_camera, first[0]),
        ("depth", frame.depth_camera, first[1]),
    ):
        if (camera.height, camera.width) != (other.height, other.width):
            raise ValueError(
                f"frame {frame.name}: {kind}_camera is of {camera.width}x{camera.height} pixels, "
                f"the first frame's of {other.width}x{other.height}; resize to one size or write "
                "several scans"
            )
    wander = float((depth_to_color - first[2]).abs().max())
    if wander > RIG_TOLERANCE:
        raise ValueError(
            f"frame {frame.name}: the offset between both cameras differs from the first frame's "
            f"by {wander:.1e}, expected at most {RIG_TOLERANCE}; write several scans"
        )
    return first


def _own_intrinsics(frame: Frame, first: tuple[Camera, Camera, Tensor]) -> dict[str, Any]:
    """The keys of a frame whose intrinsics are not the first frame's, as of a lens that focuses."""
    keys: dict[str, Any] = {}
    if not torch.equal(frame.color_camera.intrinsics, first[0].intrinsics):
        keys["color_intrinsics"] = frame.color_camera.intrinsics.tolist()
    if _one_camera(*first):
        if not torch.equal(frame.color_camera.intrinsics, frame.depth_camera.intrinsics):
            raise ValueError(
                f"frame {frame.name}: colour and depth have different intrinsics, but are one "
                "camera in the first frame; write several scans"
            )
    elif not torch.equal(frame.depth_camera.intrinsics, first[1].intrinsics):
        keys["depth_intrinsics"] = frame.depth_camera.intrinsics.tolist()
    return keys


def _one_camera(color: Camera, depth: Camera, depth_to_color: Tensor) -> bool:
    """Whether the depth camera is the colour camera: of equal size and intrinsics, in its place."""
    apart = float((depth_to_color - torch.eye(4, dtype=torch.float64)).abs().max())
    same_size = (color.height, color.width) == (depth.height, depth.width)
    return same_size and torch.equal(color.intrinsics, depth.intrinsics) and apart < 1e-12


def _write_frame(
    folder: Path, frame: Frame, depth_scale: float, jpeg_quality: int | None
) -> dict[str, Any]:
    """Writes both images and returns the entry of scan.json."""
    if not frame.name.strip():
        raise ValueError(f"a frame's name is {frame.name!r}, expected a text that is not empty")
    stem = file_stem(frame.name)
    color, depth = f"color/{stem}.png", f"depth/{stem}.png"
    if (folder / depth).exists():
        raise ValueError(
            f"frame {frame.name}: its file {depth} would be another frame's; rename one of them"
        )
    image = Image.fromarray(frame.image.permute(1, 2, 0).contiguous().numpy())
    if jpeg_quality is None:
        _save(image, folder / color, compress_level=COMPRESS_LEVEL)
    else:
        color = f"color/{stem}.jpg"
        _save_jpeg(image, folder / color, jpeg_quality)
    units = (frame.depth.double() * depth_scale).round()
    if not bool(((units >= 0) & (units < SATURATED)).all()):
        raise ValueError(
            f"frame {frame.name}: depth spans {float(frame.depth.min()):g} to "
            f"{float(frame.depth.max()):g} m, expected 0 to {(SATURATED - 1) / depth_scale:g} m at "
            f"depth_scale {depth_scale:g}; set unmeasured pixels to 0, or lower depth_scale"
        )
    pixels = Image.fromarray(units.numpy().astype(np.uint16))
    _save(pixels, folder / depth, compress_level=COMPRESS_LEVEL)
    return {
        "name": frame.name,
        "image": color,
        "depth": depth,
        "camera_to_world": frame.depth_camera.camera_to_world.tolist(),
    }


def _save_jpeg(image: Image.Image, path: Path, quality: int) -> None:
    """Without chroma subsampling: at the edges of small objects colour carries the feature."""
    try:
        _save(image, path, quality=quality, subsampling=0, optimize=True)
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the encoder
            raise
        # Pillow's buffer for an optimized file is too small for an image full of detail.
        _save(image, path, quality=quality, subsampling=0)


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Saves an image; of a full disk the error names the file, which Pillow's does not."""
    try:
        image.save(path, **options)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _head(
    name: str,
    note: str,
    up: list[float] | None,
    cameras: tuple[Camera, Camera, Tensor],
    depth_scale: float,
) -> dict[str, Any]:
    color, depth, depth_to_color = cameras
    head: dict[str, Any] = {"version": VERSION, "name": name}
    if note:
        head["note"] = note
    if up is not None:
        head["up"] = up
    fields = [
        {"width": camera.width, "height": camera.height, "intrinsics": camera.intrinsics.tolist()}
        for camera in (color, depth)
    ]
    if _one_camera(color, depth, depth_to_color):
        head["color"] = fields[0]
        head["depth"] = {"scale": depth_scale, "registered_to_color": True}
    else:
        head["color"] = fields[0]
        head["depth"] = {
            "scale": depth_scale,
            **fields[1],
            "depth_to_color": depth_to_color.tolist(),
        }
    return head


def _layout(head: dict[str, Any], frames: list[dict[str, Any]]) -> str:
    """JSON with one key or frame a line: short enough to read, and to compare with diff."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = ",\n".join("  " + json.dumps(frame) for frame in frames)
    return "{\n" + ",\n".join([*lines, f' "frames": [\n{rows}\n ]']) + "\n}\n"
