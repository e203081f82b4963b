"""Redwood and Open3D recordings: folders of colour and depth images beside a .log trajectory."""

import logging
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pcpt.data.files import every_nth, expand_roots, pinhole, scan_names
from pcpt.data.frame import Scan
from pcpt.data.images import common_size
from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.names import natural
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.data.trajectory import associate, data_lines
from pcpt.geometry.camera import Camera
from pcpt.registry import register

logger = logging.getLogger(__name__)

COLOR_FOLDERS = ("rgb", "image", "color")
PRIMESENSE = [[525.0, 0.0, 319.5], [0.0, 525.0, 239.5], [0.0, 0.0, 1.0]]
# Depth and colour of one moment, where names end in a time: half a frame at 30 Hz, and some.
MAX_MICROSECONDS = 20_000


@register("datasets", "redwood")
class Redwood:
    """Folders with ``depth/*.png``, colour in ``rgb/``, ``image/`` or ``color/``, and a ``*.log``.

    An item of the log is five lines: three whole numbers, of which the third is the number of the
    depth image from 1 on, then camera_to_world row by row. Where all third numbers are 0 (Tanks and
    Temples) the first ones count, from 0 on. Depth images that the log does not name, and poses of
    images that are not there, are left out and counted in the run's log. Depth was registered to
    colour by the driver, so both are one camera: PrimeSense's default, or that of ``intrinsics``.

    A colour image belongs to the depth image of the same name; or, where names end in a time in
    microseconds (``0000001-000000033333.jpg``), to the nearest one within 0.02 s; or to the one of
    the same rank, where there are as many of both.

    Checked against public sources: the format page redwood-data.org/indoor/fileformat.html, and the
    source of Open3D for its logs and for its intrinsics, whose matrix is stored column by column.
    Not checked: an original recording, and that the numbers at the end of names are microseconds.
    Which way is up is not known of these worlds.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: recordings or globs of them.
        every: take every Nth item of the trajectory.
        trajectory: name of the log, where there are several.
        intrinsics: a JSON file as Open3D writes it (PinholeCameraIntrinsic or
            PinholeCameraParameters): a name in the recording's folder, or a path.
        depth_scale: units per metre.
        up: against gravity in the world frame; empty: the cameras' mean "up" is used.
        """

        name: str = "redwood"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        trajectory: str = ""
        intrinsics: str = ""
        depth_scale: float = 1000.0
        up: list[float] = field(default_factory=list)

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return path.is_dir() and any(map(_is_trajectory, path.glob("*.log")))

    def open(self) -> list[Scan]:
        """One scan a root.

        Raises:
            FileNotFoundError: a root, the log, a folder of images or the intrinsics are not there.
            ValueError: several logs and no choice, a log that is no camera trajectory, images that
                do not pair, intrinsics of another image size.
        """
        folders = expand_roots("redwood", self.config.roots)
        return [self._open_one(path, name) for path, name in zip(folders, scan_names(folders))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        depths = _images(folder, ("depth",), (".png",))
        colors = _images(folder, COLOR_FOLDERS, (".jpg", ".jpeg", ".png"))
        partners = _pair(folder, depths, colors)
        log = self._log(folder)
        numbers = _read_numbers(log)
        files: dict[str, FrameFiles] = {}
        for number, (line, words) in zip(numbers.tolist(), _items(log)):
            if number > len(depths):
                continue
            depth = depths[number - 1]
            pose = _matrix(words[1:])
            image = partners.get(depth, "")
            broken = "" if image else f"{folder / depth} has no colour image"
            lost = ""
            if pose is None:
                lost = f"pose {log} line {line}: expected four lines of four numbers after it"
                pose = torch.eye(4)
            origin = f"{log.name} line {line}"
            files[Path(depth).stem] = FrameFiles(
                image, depth, pose, origin, broken=broken, lost=lost
            )
        reasons = [file.broken or file.lost for file in files.values()]
        if all(reasons):
            reason = reasons[0] if reasons else "it names none of them"
            raise ValueError(
                f"{log}: none of its {len(numbers)} poses goes with any of {len(depths)} depth "
                f"images; {reason}"
            )
        _report(name, len(depths), len(numbers), len(files))
        files = {frame: files[frame] for frame in every_nth(list(files), self.config.every)}
        camera = self._camera(folder, [file for file in files.values() if not file.broken])
        return RigScan(
            name, folder, Rig(camera, camera, self.config.depth_scale), files, up=self.config.up
        )

    def _log(self, folder: Path) -> Path:
        if self.config.trajectory:
            return folder / self.config.trajectory
        logs = sorted(folder.glob("*.log"))
        if not logs:
            raise FileNotFoundError(f"{folder}: there is no trajectory *.log; set trajectory to it")
        if len(logs) > 1:
            names = ", ".join(path.name for path in logs)
            raise ValueError(
                f"{folder} holds several logs ({names}); set trajectory to one of them"
            )
        return logs[0]

    def _camera(self, folder: Path, files: list[FrameFiles]) -> Camera:
        sizes = [
            common_size([folder / getattr(file, field) for file in files], kind)
            for field, kind in (("image", "colour"), ("depth", "depth"))
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"{folder}: images are {sizes[0][1]}x{sizes[0][0]} but depth is "
                f"{sizes[1][1]}x{sizes[1][0]}; both must be of one camera, re-export one of them"
            )
        if not self.config.intrinsics:
            return pinhole(torch.tensor(PRIMESENSE, dtype=torch.float64), sizes[0], "of PrimeSense")
        inside = folder / self.config.intrinsics
        path = inside if inside.is_file() else Path(self.config.intrinsics).expanduser()
        return _open3d_camera(folder, path, sizes[0])


def _images(folder: Path, names: tuple[str, ...], suffixes: tuple[str, ...]) -> list[str]:
    """The images of the first of the folders that is there, in the order of their numbers."""
    for name in names:
        if (folder / name).is_dir():
            found = [path for path in (folder / name).iterdir() if path.suffix.lower() in suffixes]
            if not found:
                raise ValueError(f"{folder / name} holds no images ({', '.join(suffixes)})")
            return sorted((f"{name}/{path.name}" for path in found), key=natural)
    raise FileNotFoundError(f"{folder} has no folder {' or '.join(names)}; see docs/data_layout.md")


def _pair(folder: Path, depths: list[str], colors: list[str]) -> dict[str, str]:
    """The colour image of each depth image that has one."""
    by_stem = {Path(file).stem: file for file in colors}
    pairs = {file: by_stem[Path(file).stem] for file in depths if Path(file).stem in by_stem}
    if pairs:
        return pairs
    times = [
        [re.search(r"-(\d+)$", Path(file).stem) for file in files] for files in (colors, depths)
    ]
    if all(match for matches in times for match in matches):
        stamps = [[int(match[1]) for match in matches if match] for matches in times]
        if all(len(set(stamp)) == len(stamp) for stamp in stamps):
            found = associate(stamps[0], stamps[1], MAX_MICROSECONDS)
            return {depths[second]: colors[first] for first, second in found}
    if len(colors) == len(depths):
        return dict(zip(depths, colors))
    raise ValueError(
        f"{folder}: {len(colors)} colour and {len(depths)} depth images of different names; rename "
        "each pair alike"
    )


def _report(name: str, num_depths: int, num_poses: int, num_frames: int) -> None:
    if num_frames < num_poses:
        logger.warning(
            "redwood: %s: %d of %d poses are of depth images that are not there",
            name,
            num_poses - num_frames,
            num_poses,
        )
    if num_frames < num_depths:
        logger.info("redwood: %s: %d of %d depth images have a pose", name, num_frames, num_depths)


def _items(path: Path) -> Iterator[tuple[int, list[list[str]]]]:
    """Each item's first line number and the words of its up to five lines."""
    lines = data_lines(path)
    for line, words in lines:
        yield line, [words, *(words for _, words in islice(lines, 4))]


def _is_trajectory(path: Path) -> bool:
    """Whether a file begins with an item; many programs write logs."""
    try:
        line, words = next(_items(path))
        _three_numbers(path, line, words[0])
    except (OSError, ValueError, StopIteration):
        return False
    return _matrix(words[1:]) is not None


def _read_numbers(path: Path) -> np.ndarray:
    """(N,) the number of the depth image of each item, from 1 on, each once."""
    heads, starts = array("q"), array("q")
    for line, words in _items(path):
        heads.extend(_three_numbers(path, line, words[0]))
        starts.append(line)
    if not starts:
        raise ValueError(f"{path} holds no poses, expected items of five lines")
    head = np.frombuffer(heads, np.int64).reshape(-1, 3)
    numbers = head[:, 2] if head[:, 2].any() else head[:, 0] + 1
    once = np.zeros(len(numbers), bool)
    once[np.unique(numbers, return_index=True)[1]] = True
    wrong = np.flatnonzero((numbers < 1) | ~once)
    if len(wrong):
        raise ValueError(
            f"{path} line {starts[wrong[0]]}: {head[wrong[0]].tolist()} gives number "
            f"{numbers[wrong[0]]}, expected one from 1 on that comes once; a log of fragments or "
            "pairs is no camera trajectory"
        )
    return numbers


def _matrix(rows: list[list[str]]) -> Tensor | None:
    """Four lines of four words as a 4x4 matrix, float64; None if they are anything else."""
    if [len(row) for row in rows] != [4] * 4:
        return None
    try:
        return torch.tensor([[float(word) for word in row] for row in rows], dtype=torch.float64)
    except ValueError:
        return None


def _three_numbers(path: Path, line: int, words: list[str]) -> list[int]:
    if len(words) != 3 or not all(re.fullmatch(r"-?\d{1,18}", word) for word in words):
        raise ValueError(
            f"{path} line {line} is {' '.join(words)[:60]!r}, expected three whole numbers: every "
            "item is five lines, the three numbers and then a 4x4 matrix"
        )
    return [int(word) for word in words]


def _open3d_camera(folder: Path, path: Path, size: tuple[int, int]) -> Camera:
    if not path.is_file():
        raise FileNotFoundError(
            f"redwood: intrinsics is {path}, which is no file, neither from here nor in {folder}"
        )
    camera = JsonObject(read_json(path), path, "")
    if "intrinsic" in camera.fields:
        camera = JsonObject(camera.get("intrinsic"), path, "intrinsic")
    given = (camera.whole("height"), camera.whole("width"))
    matrix = camera.numbers("intrinsic_matrix", (9,)).reshape(3, 3).T  # stored by columns
    if given != size:
        raise ValueError(
            f"{path}: width and height are {given[1]}x{given[0]}, but images are "
            f"{size[1]}x{size[0]}; use the intrinsics of these images"
        )
    return pinhole(matrix, size, str(path))
