"""TUM RGB-D (Sturm et al., IROS 2012): Kinect recordings with poses from motion capture, or any
recording in its layout."""

import logging
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from pcpt.choices import check_choice
from pcpt.data.files import every_nth, expand_roots, pinhole, scan_names
from pcpt.data.frame import Scan
from pcpt.data.images import common_size
from pcpt.data.json_object import stays_inside
from pcpt.data.lens import Lens
from pcpt.data.poses import pose_from_quaternion
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.data.trajectory import Trajectory, associate, read_file_list, read_trajectory
from pcpt.registry import register

logger = logging.getLogger(__name__)

# fx fy cx cy, then k1 k2 p1 p2 k3, of the colour cameras; freiburg3 is published undistorted.
CAMERAS = {
    "ros": ((525.0, 525.0, 319.5, 239.5), ()),
    "freiburg1": ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": ((535.4, 539.2, 320.1, 247.6), ()),
}


@register("datasets", "tum")
class TUM:
    """Folders with ``rgb.txt``, ``depth.txt`` (``time file``) and ``groundtruth.txt``
    (``time tx ty tz qx qy qz qw``); lines that begin with ``#`` are comments.

    A frame is a colour image, the depth image nearest in time (each used at most once, the closest
    pairs first) and the pose nearest to the colour image; images that lack one of them within
    ``max_difference`` are left out and counted in the log. Depth was registered to colour when
    recorded, so both are one camera, of which the poses are.

    Checked against public sources: the format page's text (the scale of 5000, the order of the
    pose, that it is the colour camera's, which intrinsics it recommends), ``associate.py`` (the
    rule of association), and the cameras' numbers as SLAM systems use them. Not checked on an
    original recording; that z points up in the motion capture's world is common knowledge, not
    written on that page.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: recordings or globs of them.
        every: take every Nth associated frame.
        camera: ``ros`` (the driver's default, which the benchmark recommends), ``freiburg1``,
            ``freiburg2`` or ``freiburg3``: as calibrated, for 640x480.
        intrinsics: fx, fy, cx, cy in pixels, instead of those of ``camera``.
        undistort: undo the lens distortion known of ``camera``. The benchmark advises against it,
            because the driver registered depth without knowing of it.
        max_difference: seconds within which two times belong together.
        depth_scale: units per metre.
        up: against gravity in the world frame.
        """

        name: str = "tum"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        camera: str = "ros"
        intrinsics: list[float] = field(default_factory=list)
        undistort: bool = False
        max_difference: float = 0.02
        depth_scale: float = 5000.0
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        check_choice("camera", config.camera, CAMERAS)
        if len(config.intrinsics) not in (0, 4):
            raise ValueError(f"tum: intrinsics is {config.intrinsics}, expected fx, fy, cx, cy")
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return all((path / f"{file}.txt").is_file() for file in ("rgb", "depth", "groundtruth"))

    def open(self) -> list[Scan]:
        """One scan a root.

        Raises:
            FileNotFoundError: a root or one of the three text files is not there.
            ValueError: a line that cannot be read, a path that leaves the folder, nothing that
                belongs together, or intrinsics of another image size.
        """
        folders = expand_roots("tum", self.config.roots)
        return [self._open_one(path, name) for path, name in zip(folders, scan_names(folders))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        files = self._frame_files(folder, name)
        files = {frame: files[frame] for frame in every_nth(list(files), self.config.every)}
        size = common_size([folder / file.image for file in files.values()], "colour")
        known, distortion = CAMERAS[self.config.camera]
        fx, fy, cx, cy = self.config.intrinsics or known
        origin = "of the option intrinsics" if self.config.intrinsics else self.config.camera
        matrix = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
        camera = pinhole(matrix, size, origin)
        lens = Lens("brown", distortion) if distortion and self.config.undistort else None
        rig = Rig(camera, camera, self.config.depth_scale, lens)
        return RigScan(name, folder, rig, files, up=self.config.up)

    def _frame_files(self, folder: Path, name: str) -> dict[str, FrameFiles]:
        lists = {kind: read_file_list(folder / f"{kind}.txt") for kind in ("rgb", "depth")}
        for kind, listed in lists.items():
            for file in listed.values():
                if not stays_inside(file):
                    raise ValueError(f"{folder / kind}.txt: {file!r} leaves the recording's folder")
        poses = read_trajectory(folder / "groundtruth.txt", 7)
        colors, depths = list(lists["rgb"]), list(lists["depth"])
        pairs = associate(colors, depths, self.config.max_difference)
        files: dict[str, FrameFiles] = {}
        for color, depth in pairs:
            row = poses.nearest(colors[color], self.config.max_difference)
            if row is None:
                continue
            image = lists["rgb"][colors[color]]
            frame = PurePosixPath(image).stem
            if frame in files:
                raise ValueError(f"{folder}/rgb.txt lists two images named {frame!r}; rename one")
            pose, lost = _pose(poses, row)
            files[frame] = FrameFiles(
                image, lists["depth"][depths[depth]], pose, poses.origin(row), lost=lost
            )
        if not files:
            raise ValueError(
                f"{folder}: of {len(colors)} colour images {len(pairs)} have depth and none of "
                f"those a pose within {self.config.max_difference} s; do the three text files "
                "belong together?"
            )
        if len(files) < len(colors):
            logger.warning(
                "tum: %s: %d of %d colour images left out: %d without depth, %d without a pose",
                name,
                len(colors) - len(files),
                len(colors),
                len(colors) - len(pairs),
                len(pairs) - len(files),
            )
        return files


def _pose(poses: Trajectory, row: int) -> tuple[Tensor, str]:
    """The pose in a row, or the reason why it is none."""
    x, y, z, *quaternion = poses.values[row].tolist()
    try:
        return pose_from_quaternion([x, y, z], quaternion), ""
    except ValueError as error:
        return torch.eye(4, dtype=torch.float64), f"pose {poses.origin(row)}: {error}"
