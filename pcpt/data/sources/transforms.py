"""transforms.json of nerfstudio (Tancik et al., SIGGRAPH 2023) and Instant-NGP, as written by
Record3D, Polycam and others, with depth."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from pcpt.choices import check_depth_scale
from pcpt.data.files import every_nth, expand_roots, pinhole, scan_names
from pcpt.data.frame import BrokenFrame, Scan
from pcpt.data.images import common_size
from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.lens import Lens
from pcpt.data.names import natural
from pcpt.data.poses import opengl_to_opencv
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.geometry.camera import Camera
from pcpt.registry import register

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".PNG")
DEPTH_KEYS = ("depth_file_path", "depth_path")  # of nerfstudio, of Instant-NGP
# camera_model: the model of lens, or none
MODELS = {
    "OPENCV": "brown",
    "OPENCV_FISHEYE": "fisheye",
    "PINHOLE": "",
    "SIMPLE_PINHOLE": "",
}
CAMERA_KEYS = (
    *("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "camera_model"),
    *("k1", "k2", "k3", "k4", "p1", "p2", "is_fisheye", "integer_depth_scale"),
)
ASPECT_TOLERANCE = 0.02  # depth of a lower resolution is rounded to whole pixels


@dataclass(frozen=True)
class _Size:
    """(height, width) of the images and of the depth images of a recording."""

    color: tuple[int, int]
    depth: tuple[int, int]


@register("datasets", "transforms")
class Transforms:
    """Folders with a ``transforms.json``.

    ``frames[]`` hold ``file_path`` (the suffix may be absent), ``depth_file_path`` or
    ``depth_path`` (16-bit PNG, registered to colour; of a lower resolution if it likes) and
    ``transform_matrix``, the camera_to_world of a camera with OpenGL axes, which are turned into
    OpenCV's. Intrinsics ``fl_x fl_y cx cy w h`` or ``camera_angle_x``, and distortion
    ``k1 k2 k3 p1 p2`` (``OPENCV``) or ``k1 k2 k3 k4`` (``OPENCV_FISHEYE``, or ``is_fisheye`` as
    Instant-NGP says it), stand at the top or in the frames, which win. Distortion is undone. Frames
    are put in the order of their names, digits taken as numbers; those without depth are left out
    and counted in the log. Frames under ``val_filenames`` and ``test_filenames`` are held out.
    Masks are ignored.

    ``applied_transform`` and ``applied_scale`` say what was done to the poses when the file was
    made. The scale is undone, because depth is in metres; the transform is undone on request.

    Checked against public sources: nerfstudio's dataparser, its page on data conventions, and its
    ray generation, in which the first pixel's centre is at 0.5 (here: at 0); the loader of
    Instant-NGP for its keys. Not checked: files that other programs write, which may count from 0;
    see ``pixel_center``. Record3D's own export (``metadata`` and ``rgbd/``) is not read: its layout
    is documented only by the programs that read it, and its depth is compressed by LZFSE, for which
    no decoder with a limit on memory is at hand. ``ns-process-data record3d`` and the
    app's nerfstudio export write transforms.json.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: folders or globs.
        every: take every Nth frame that has depth.
        file: name of the JSON file.
        depth_scale: units per metre, instead of what ``integer_depth_scale`` of the file says (as
            metres a unit) and of 1000 where the file says nothing.
        pixel_center: coordinate of the first pixel's centre in the file: 0.5 as nerfstudio and
            COLMAP have it, 0 as OpenCV.
        undo_applied_transform: put the world back to where it was before ``applied_transform``.
        up: against gravity in the world frame.
        """

        name: str = "transforms"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        file: str = "transforms.json"
        depth_scale: float | None = None
        pixel_center: float = 0.5
        undo_applied_transform: bool = False
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return (path / "transforms.json").is_file()

    def open(self) -> list[Scan]:
        """One scan a root.

        Raises:
            FileNotFoundError: a root or its transforms.json does not exist.
            ValueError: what is wrong with a transforms.json, or no frame with depth.
        """
        folders = expand_roots("transforms", self.config.roots)
        return [self._open_one(path, name) for path, name in zip(folders, scan_names(folders))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        path = folder / self.config.file
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist"
                + (
                    "; this looks like Record3D's own export, which ns-process-data record3d "
                    "turns into transforms.json"
                    if (folder / "metadata").is_file()
                    else ""
                )
            )
        head = JsonObject(read_json(path), path, "")
        frames = _frames(head, name)
        frames = {frame: frames[frame] for frame in every_nth(list(frames), self.config.every)}
        images = {frame: _image(folder, value.file("file_path")) for frame, value in frames.items()}
        depths = {
            frame: _image(folder, value.file(_depth_key(value))) for frame, value in frames.items()
        }
        size = _sizes(folder, images, depths)
        world = _world(head, self.config.undo_applied_transform)
        files = {}
        for frame, value in frames.items():
            pose, lost = _pose(value, world)
            origin = f"{path.name} {value.key('transform_matrix')}"
            rig = self._own_rig(head, value, size)
            files[frame] = FrameFiles(images[frame], depths[frame], pose, origin, rig, lost=lost)
        shared = None
        if any(file.rig is None for file in files.values()):
            shared = self._rig(head, size)
        listed = _held_out(head)
        held_out = [frame for frame in frames if _plain(frames[frame].file("file_path")) in listed]
        return RigScan(name, folder, shared, files, held_out=held_out, up=self.config.up)

    def _rig(self, keys: JsonObject, size: _Size) -> Rig:
        color = _camera(keys, size.color, self.config.pixel_center)
        depth = color if size.color == size.depth else color.resized(*size.depth)
        return Rig(color, depth, self._depth_scale(keys), _lens(keys))

    def _depth_scale(self, keys: JsonObject) -> float:
        if self.config.depth_scale is not None:
            return self.config.depth_scale
        if "integer_depth_scale" not in keys.fields:
            return 1000.0
        scale = 1 / keys.positive("integer_depth_scale")
        check_depth_scale(f"{keys.path}: 1 / {keys.key('integer_depth_scale')}", scale)
        return scale

    def _own_rig(self, head: JsonObject, frame: JsonObject, size: _Size) -> partial[Rig] | None:
        """The cameras of a frame that has keys of its own, made when it is loaded."""
        if not any(key in frame.fields for key in CAMERA_KEYS):
            return None
        shared = {key: head.fields[key] for key in CAMERA_KEYS if key in head.fields}
        keys = JsonObject({**shared, **frame.fields}, head.path, frame.where)
        return partial(_or_broken, self._rig, keys, size)


def _frames(head: JsonObject, scan: str) -> dict[str, JsonObject]:
    """The frames with depth by name, in the order of their names."""
    listed = head.get("frames")
    if not isinstance(listed, list) or not listed:
        raise head.error("frames", listed, "a list of at least one frame")
    frames = [JsonObject(value, head.path, f"frames[{i}]") for i, value in enumerate(listed)]
    deep = [frame for frame in frames if _depth_key(frame)]
    if not deep:
        raise ValueError(
            f"{head.path}: none of {len(frames)} frames has a {' or '.join(DEPTH_KEYS)}; pcpt "
            "learns from measured depth, export it with the images"
        )
    if len(deep) < len(frames):
        count = len(frames) - len(deep)
        logger.warning("transforms: %s: %d of %d frames have no depth", scan, count, len(frames))
    deep.sort(key=lambda frame: natural(frame.file("file_path")))
    paths = [_plain(frame.file("file_path")) for frame in deep]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):  # the same name in several folders
        names = ["_".join(path.parts) for path in paths]
    named: dict[str, JsonObject] = {}
    for name, frame in zip(names, deep):
        if name in named:
            raise frame.error("file_path", frame.get("file_path"), "a file no other frame names")
        named[name] = frame
    return named


def _depth_key(frame: JsonObject) -> str:
    """The key that names the depth image; empty if there is none."""
    return next((key for key in DEPTH_KEYS if frame.fields.get(key) not in (None, "")), "")


def _plain(file: str) -> PurePosixPath:
    """An image however it is spelt (``./a.png``, ``a``): without what ends it as an image, as what
    follows another dot (``frame_1.25``) is part of its name."""
    path = PurePosixPath(file)
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path


def _image(folder: Path, file: str) -> str:
    """The file with its suffix, which some writers leave out."""
    if PurePosixPath(file).suffix in SUFFIXES:
        return file
    return next(
        (file + suffix for suffix in SUFFIXES if (folder / (file + suffix)).is_file()), file
    )


def _sizes(folder: Path, images: dict[str, str], depths: dict[str, str]) -> _Size:
    color, depth = (
        common_size([folder / file for file in files.values()], kind)
        for files, kind in ((images, "colour"), (depths, "depth"))
    )
    size = _Size(color, depth)
    ratio = (size.depth[0] * size.color[1]) / (size.depth[1] * size.color[0])
    if abs(ratio - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"{folder}: images are {size.color[1]}x{size.color[0]} but depth is "
            f"{size.depth[1]}x{size.depth[0]}, of another shape, so it is not registered to colour"
        )
    return size


def _or_broken(make: Callable[[JsonObject, _Size], Rig], keys: JsonObject, size: _Size) -> Rig:
    try:
        return make(keys, size)
    except ValueError as error:
        raise BrokenFrame(f"cameras: {error}") from error


def _camera(keys: JsonObject, size: tuple[int, int], pixel_center: float) -> Camera:
    height = keys.whole("h") if "h" in keys.fields else size[0]
    width = keys.whole("w") if "w" in keys.fields else size[1]
    if "fl_x" in keys.fields:
        fl_x = keys.positive("fl_x")
    elif "camera_angle_x" in keys.fields:
        fl_x = _focal(keys, "camera_angle_x", width)
    else:
        raise ValueError(
            f"{keys.path} {keys.where}: neither fl_x nor camera_angle_x is given, at the top or in "
            "the frame"
        )
    if "fl_y" in keys.fields:
        fl_y = keys.positive("fl_y")
    elif "camera_angle_y" in keys.fields:
        fl_y = _focal(keys, "camera_angle_y", height)
    else:
        fl_y = fl_x
    # without a centre: the middle of the image, whose first pixel begins at -0.5
    middle = (width / 2 - 0.5, height / 2 - 0.5)
    cx, cy = (
        float(keys.numbers(key, ())) - pixel_center if key in keys.fields else centre
        for key, centre in zip(("cx", "cy"), middle)
    )
    if (height, width) != size:
        raise ValueError(
            f"{keys.path} {keys.where}: w and h are {width}x{height}, but images are "
            f"{size[1]}x{size[0]}; intrinsics must be of the images as they are"
        )
    matrix = torch.tensor([[fl_x, 0, cx], [0, fl_y, cy], [0, 0, 1]], dtype=torch.float64)
    return pinhole(matrix, size, f"{keys.path} {keys.where}")


def _focal(keys: JsonObject, key: str, pixels: int) -> float:
    angle = keys.positive(key)
    if angle >= math.pi:
        raise keys.error(key, angle, "an angle of view in radians, below pi")
    return 0.5 * pixels / math.tan(0.5 * angle)


def _lens(keys: JsonObject) -> Lens | None:
    usual = "OPENCV_FISHEYE" if keys.flag("is_fisheye") else "OPENCV"
    model = keys.text("camera_model") if "camera_model" in keys.fields else usual
    if model not in MODELS:
        raise keys.error("camera_model", model, f"one of {', '.join(MODELS)}")
    if keys.flag("is_fisheye") and model != usual:
        raise keys.error("camera_model", model, f"{usual}, as is_fisheye is true")
    given = {
        key: float(keys.numbers(key, ())) if key in keys.fields else 0.0
        for key in ("k1", "k2", "k3", "k4", "p1", "p2")
    }
    if MODELS[model] == "fisheye":
        names: Sequence[str] = ("k1", "k2", "k3", "k4")
    else:
        names = ("k1", "k2", "p1", "p2", "k3") if MODELS[model] else ()
    for key, value in given.items():
        if value and key not in names:
            raise keys.error(key, value, f"0 or nothing with camera_model {model}")
    coefficients = [given[key] for key in names]
    if not any(coefficients) and MODELS[model] != "fisheye":
        return None
    try:
        return Lens(MODELS[model], coefficients)
    except ValueError as error:
        raise ValueError(f"{keys.path} {keys.where}: {error}") from error


@dataclass(frozen=True)
class _World:
    """What turns the file's world into the one handed out: scale first, then the transform."""

    scale: float
    transform: Tensor


def _world(head: JsonObject, undo: bool) -> _World:
    scale = head.positive("applied_scale") if "applied_scale" in head.fields else 1.0
    transform = torch.eye(4, dtype=torch.float64)
    if undo and "applied_transform" in head.fields:
        value = head.get("applied_transform")
        rows = 4 if isinstance(value, list) and len(value) == 4 else 3
        transform[:rows] = head.numbers("applied_transform", (rows, 4))
        rotation, last = transform[:3, :3], transform[3].tolist()
        identity = torch.eye(3, dtype=torch.float64)
        rigid = torch.allclose(rotation @ rotation.T, identity, atol=1e-3)
        if not rigid or last != [0, 0, 0, 1]:
            raise head.error("applied_transform", value, "3x4 or 4x4 numbers, a rotation and shift")
        transform = torch.linalg.inv(transform)
    return _World(1 / scale, transform)


def _pose(frame: JsonObject, world: _World) -> tuple[Tensor, str]:
    """The pose with OpenCV axes, or the reason why there is none."""
    try:
        pose = opengl_to_opencv(frame.numbers("transform_matrix", (4, 4)))
    except ValueError as error:
        return torch.eye(4, dtype=torch.float64), f"pose {error}"
    last = pose[3].clone()
    pose[:3, 3] *= world.scale
    pose = world.transform @ pose
    pose[3] = last  # as written: the camera checks it
    return pose, ""


def _held_out(head: JsonObject) -> set[PurePosixPath]:
    """The images that must not be trained on."""
    files = (frame.get("file_path") for frame in head.get("frames"))
    known = {_plain(file) for file in files if isinstance(file, str)}
    held_out: set[PurePosixPath] = set()
    for key in ("val_filenames", "test_filenames"):
        listed = head.fields.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(file, str) for file in listed):
            raise head.error(key, listed, "a list of the frames' file_path")
        for index, file in enumerate(listed):
            if _plain(file) not in known:
                raise head.error(f"{key}[{index}]", file, "the file_path of one of the frames")
            held_out.add(_plain(file))
    return held_out
