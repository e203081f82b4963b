"""7-Scenes (Shotton et al., CVPR 2013): Kinect sequences as originally released, and RedKitchen
as it comes with tsdf-fusion-python."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pcpt.data.files import (
    check_same_frames,
    every_nth,
    expand_roots,
    pinhole,
    read_intrinsics,
    read_numbers,
    scan_names,
)
from pcpt.data.frame import Scan
from pcpt.data.images import common_size
from pcpt.data.json_object import read_json
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.geometry.camera import Camera
from pcpt.registry import register

logger = logging.getLogger(__name__)

COLOR_SUFFIXES = (".color.png", ".color.jpg")
# The release comes without calibration; its authors name these values for the depth camera.
RELEASE_INTRINSICS = [[585.0, 0.0, 320.0], [0.0, 585.0, 240.0], [0.0, 0.0, 1.0]]


@register("datasets", "seven_scenes")
class SevenScenes:
    """Folders of ``frame-NNNNNN.{color.png|color.jpg, depth.png, pose.txt}``.

    A root is a folder of frames, a scene (folders ``seq-NN`` of frames) or a folder of scenes; each
    folder of frames becomes a scan. Poses are of the depth camera. Beside the frames or one folder
    up may lie ``camera-intrinsics.txt`` (3x3, depth camera; where it is absent, ``.color.png``
    frames are taken for the original release, whose values are known, and others are refused) and
    ``gravity-direction.txt`` (three numbers, pointing down in the world frame).

    Colour is not registered to depth in this data set. Without ``color_camera`` both are treated as
    one camera, which puts features off by up to tens of pixels, and a warning says so.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: folders or globs.
        every: take every Nth frame of the listing.
        color_camera: JSON file with width, height, fx, fy, cx, cy, tx, ty, tz: a point (X, Y, Z)
            of the depth camera's frame has colour pixel u = fx (X + tx) / (Z + tz) + cx, likewise
            v. A path, or a name looked for beside the frames and one folder up.
        depth_scale: units per metre.
        up: against gravity in the world frame, when there is no gravity-direction.txt.
        """

        name: str = "seven_scenes"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        color_camera: str = ""
        depth_scale: float = 1000.0
        up: list[float] = field(default_factory=list)

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return any(path.glob("frame-*.pose.txt"))

    def open(self) -> list[Scan]:
        """One scan a folder of frames.

        Raises:
            FileNotFoundError: a root, intrinsics or the colour camera file are not there.
            ValueError: no frames, colour and pose files of different frames, unusable intrinsics.
        """
        folders: dict[Path, None] = {}
        for root in expand_roots("seven_scenes", self.config.roots):
            found = _sequences(root, depth=2)
            if not found:
                raise ValueError(f"seven_scenes: no frame-* files in {root} or two folders below")
            folders.update(dict.fromkeys(found))
        if not self.config.color_camera:
            logger.warning(
                "seven_scenes: color_camera is not set, so colour is read as if registered to "
                "depth, off by up to tens of pixels; set it to a JSON file of the colour camera"
            )
        paths = list(folders)
        return [self._open_one(path, name) for path, name in zip(paths, scan_names(paths))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        listing = sorted(path.name for path in folder.iterdir())
        images = {
            file.removesuffix(suffix): file
            for suffix in COLOR_SUFFIXES
            for file in listing
            if file.endswith(suffix)
        }
        poses = [file.removesuffix(".pose.txt") for file in listing if file.endswith(".pose.txt")]
        check_same_frames(folder, list(images), poses)
        names = every_nth(sorted(images), self.config.every)
        files = {
            frame: FrameFiles(images[frame], f"{frame}.depth.png", f"{frame}.pose.txt")
            for frame in names
        }
        depth_size = common_size([folder / files[frame].depth for frame in names], "depth")
        depth = _depth_camera(folder, depth_size, original=images[names[0]].endswith(".png"))
        if self.config.color_camera:
            color = _color_camera(_beside(folder, self.config.color_camera))
        else:
            size = common_size([folder / files[frame].image for frame in names], "colour")
            color = pinhole(depth.intrinsics, size, f"of the depth camera of {folder} for colour")
        gravity = _beside(folder, "gravity-direction.txt")
        up = self.config.up
        if not up and gravity.is_file():
            up = [-value for value in read_numbers(gravity)]
        rig = Rig(color, depth, self.config.depth_scale)
        return RigScan(name, folder, rig, files, up=up)


def _sequences(folder: Path, depth: int) -> list[Path]:
    """Folders of frames: this one, or else those up to ``depth`` folders below."""
    if any(folder.glob("frame-*")):
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if depth else []
    return [found for path in below for found in _sequences(path, depth - 1)]


def _beside(folder: Path, file: str) -> Path:
    """The file in the folder of frames or one above, else as a path of its own."""
    for candidate in (folder / file, folder.resolve().parent / file):
        if candidate.is_file():
            return candidate
    return Path(file).expanduser()


def _depth_camera(folder: Path, size: tuple[int, int], original: bool) -> Camera:
    path = _beside(folder, "camera-intrinsics.txt")
    if original and not path.is_file():
        matrix = torch.tensor(RELEASE_INTRINSICS, dtype=torch.float64)
        return pinhole(matrix, size, "of the 7-Scenes release")
    path = path if path.is_file() else folder / path.name
    return pinhole(read_intrinsics(path), size, str(path))


def _color_camera(path: Path) -> Camera:
    """The colour camera seen from the depth camera, whose frame is the world of the rig."""
    if not path.is_file():
        raise FileNotFoundError(
            f"seven_scenes: color_camera is {path}, which is no file, neither from here nor beside "
            "the frames; correct it or leave it empty"
        )
    values = read_json(path)
    try:
        fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "cx", "cy"))
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, 3] = -torch.tensor([float(values[key]) for key in ("tx", "ty", "tz")])
        intrinsics = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
        return Camera(intrinsics, values["height"], values["width"], pose)
    except KeyError as error:
        raise ValueError(f"colour camera {path}: {error.args[0]} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"colour camera {path}: {error}") from error
