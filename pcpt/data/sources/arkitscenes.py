"""ARKitScenes (Baruch et al., NeurIPS 2021): rooms recorded with an iPad's LiDAR."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from pcpt.data.files import every_nth, expand_roots, pinhole, read_numbers, scan_names
from pcpt.data.frame import BrokenFrame, Scan
from pcpt.data.poses import inverse, pose_from_axis_angle
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.data.trajectory import Trajectory, associate, read_trajectory
from pcpt.registry import register

logger = logging.getLogger(__name__)

POSE_TOLERANCE = 0.005  # seconds, as in the published loader: names have three digits
INTRINSICS_TOLERANCE = 0.0015  # likewise: 0.001, and half a digit of rounding
MAX_PINCAM_BYTES = 4096


@register("datasets", "arkitscenes")
class ARKitScenes:
    """Folders with ``lowres_wide/ID_TIME.png``, ``lowres_depth/ID_TIME.png`` (millimetres),
    ``lowres_wide_intrinsics/ID_TIME.pincam`` (``w h fx fy cx cy``, one per frame) and
    ``lowres_wide.traj`` (time, rotation vector, translation: *world-to-camera*).

    A root is such a folder, or has such folders up to two below it (``41254925/41254925_frames``).
    Colour, depth, intrinsics and pose belong together by the times in names and lines: depth and
    pose within 0.005 s, intrinsics within 0.001 s. Images without depth or pose (the raw set has
    60 images and 10 poses a second) are left out and counted in the log; one without intrinsics is
    a broken frame. Depth is registered to colour, so both are one camera. z points up in the world.

    Images are stored as the sensor sees them, so in many scans people stand sideways;
    ``sky_direction`` in the set's metadata.csv says which way is up in a scan. Poses and
    correspondences are right either way, and images are handed out as they are stored.

    Checked against public sources: DATA.md and the loader of apple/ARKitScenes (names, columns,
    tolerances, that the motion of a line is inverted, depth in millimetres). Not checked on an
    original recording; that z points up follows from its boxes, which turn about z.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: scans, folders of scans, or globs of either.
        every: take every Nth frame that has all its parts.
        depth_scale: units per metre.
        up: against gravity in the world frame.
        """

        name: str = "arkitscenes"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        depth_scale: float = 1000.0
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return (path / "lowres_wide.traj").is_file()

    def open(self) -> list[Scan]:
        """One scan a folder with ``lowres_wide/``.

        Raises:
            FileNotFoundError: a root or the trajectory is not there.
            ValueError: no scans below a root, a name without a time, a line of the trajectory
                without a time, nothing that belongs together.
        """
        folders: dict[Path, None] = {}
        for root in expand_roots("arkitscenes", self.config.roots):
            found = _scans(root, depth=2)
            if not found:
                raise ValueError(
                    f"arkitscenes: no folder lowres_wide/ in {root} or two folders below"
                )
            folders.update(dict.fromkeys(found))
        paths = list(folders)
        return [self._open_one(path, name) for path, name in zip(paths, scan_names(paths))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        images = _timed(folder / "lowres_wide", ".png")
        depths = _timed(folder / "lowres_depth", ".png")
        intrinsics = _timed(folder / "lowres_wide_intrinsics", ".pincam")
        poses = read_trajectory(folder / "lowres_wide.traj", 6)
        cameras = dict(associate([*images], [*intrinsics], INTRINSICS_TOLERANCE))
        pairs = associate([*images], [*depths], POSE_TOLERANCE)
        times, depth_times, camera_times = [*images], [*depths], [*intrinsics]
        files: dict[str, FrameFiles] = {}
        for color, depth in pairs:
            row = poses.nearest(times[color], POSE_TOLERANCE)
            if row is None:
                continue
            image = images[times[color]]
            pincam = intrinsics[camera_times[cameras[color]]] if color in cameras else ""
            pose, lost = _pose(poses, row)
            broken = ""
            if not pincam:
                broken = f"{folder / image} has no file in lowres_wide_intrinsics of its time"
            files[Path(image).stem] = FrameFiles(
                image,
                depths[depth_times[depth]],
                pose,
                poses.origin(row),
                partial(_rig, folder / pincam, self.config.depth_scale),
                broken,
                lost,
            )
        if not files:
            raise ValueError(
                f"{folder}: of {len(images)} colour images {len(pairs)} have depth and none of "
                f"those a pose within {POSE_TOLERANCE} s in lowres_wide.traj; do the folders and "
                "the trajectory belong together?"
            )
        if len(files) < len(images):
            logger.info("arkitscenes: %s: %d of %d images used", name, len(files), len(images))
        files = {frame: files[frame] for frame in every_nth([*files], self.config.every)}
        return RigScan(name, folder, None, files, up=self.config.up)


def _scans(folder: Path, depth: int) -> list[Path]:
    """Scans: this folder, or else those up to ``depth`` folders below."""
    if (folder / "lowres_wide").is_dir():
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if depth else []
    return [found for path in below for found in _scans(path, depth - 1)]


def _timed(folder: Path, suffix: str) -> dict[float, str]:
    """Files by the time in their names, in order; the path is relative to the scan."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; see docs/data_layout.md for the folders")
    files: dict[float, str] = {}
    for path in sorted(folder.glob(f"*{suffix}")):
        word = path.name.removesuffix(suffix).rpartition("_")[2]
        if not word.replace(".", "", 1).isdecimal():
            raise ValueError(
                f"{path} has no time at the end of its name, expected ID_SECONDS{suffix}"
            )
        if float(word) in files:
            raise ValueError(f"{path} is of the same time as {files[float(word)]}; remove one")
        files[float(word)] = f"{folder.name}/{path.name}"
    if not files:
        raise ValueError(f"{folder} holds no *{suffix}")
    return dict(sorted(files.items()))


def _pose(poses: Trajectory, row: int) -> tuple[Tensor, str]:
    """camera_to_world of a line, or the reason why there is none."""
    values = poses.values[row].tolist()
    try:
        return inverse(pose_from_axis_angle(values[3:], values[:3])), ""
    except ValueError as error:
        return torch.eye(4, dtype=torch.float64), f"pose {poses.origin(row)}: {error}"


def _rig(path: Path, depth_scale: float) -> Rig:
    try:
        if path.stat().st_size > MAX_PINCAM_BYTES:
            raise ValueError(f"{path} is of {path.stat().st_size} bytes, expected six numbers")
        numbers = read_numbers(path)
        if len(numbers) != 6 or not all(1 <= size < 1 << 16 for size in numbers[:2]):
            raise ValueError(f"{path} holds {numbers[:7]}, expected w h fx fy cx cy")
        width, height, fx, fy, cx, cy = numbers
        matrix = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
        camera = pinhole(matrix, (int(height), int(width)), str(path))
    except (OSError, ValueError) as error:
        raise BrokenFrame(f"intrinsics {error}") from error
    return Rig(camera, camera, depth_scale)
