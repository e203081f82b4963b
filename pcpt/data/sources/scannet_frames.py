"""ScanNet (Dai et al., CVPR 2017) as exported frames: what its SensReader writes, or the release of
25k frames."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pcpt.data.files import (
    check_same_frames,
    expand_roots,
    pinhole,
    read_intrinsics,
    read_numbers,
    scan_names,
)
from pcpt.data.frame import Scan
from pcpt.data.images import common_size
from pcpt.data.rig import FrameFiles, RigScan
from pcpt.data.scannet_rig import scannet_rig
from pcpt.geometry.camera import Camera
from pcpt.registry import register


@register("datasets", "scannet_frames")
class ScanNetFrames:
    """Scans with ``color/N.jpg``, ``depth/N.png``, ``pose/N.txt`` and intrinsics of each camera.

    Intrinsics are ``intrinsic/intrinsic_{color,depth}.txt`` or, in the 25k release,
    ``intrinsics_{color,depth}.txt`` beside the folders. Colour (1296x968) and depth (640x480) are
    of different sizes. A pose is of the depth camera, and in the release of colour too: ScanNet's
    calibration tool warped depth into the colour camera and wrote identities as the extrinsics.
    Others, of a raw recording, are applied as ``pcpt.data.scannet_rig`` says. A pose of -inf
    (tracking lost) makes a broken frame. Scans stand on the floor with z up.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: scan folders, folders of scans, or globs of either.
        every: least difference of the numbers of two frames taken, from the first frame on; 25 as
            PPKT. It counts original frames, so the 25k release (numbers 0, 100, 200, ...) is taken
            whole.
        depth_scale: units per metre.
        up: against gravity in the world frame.
        """

        name: str = "scannet_frames"
        roots: list[str] = field(default_factory=list)
        every: int = 25
        depth_scale: float = 1000.0
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return all((path / part).is_dir() for part in ("color", "depth", "pose"))

    def open(self) -> list[Scan]:
        """One scan a folder with ``color/``.

        Raises:
            FileNotFoundError: a root or intrinsics are not there.
            ValueError: no frames, colour and pose files of different frames, intrinsics of another
                image size.
        """
        if self.config.every < 1:
            raise ValueError(f"scannet_frames: every is {self.config.every}, expected >= 1")
        folders: dict[Path, None] = {}
        for root in expand_roots("scannet_frames", self.config.roots):
            found = [path for path in (root, *sorted(root.iterdir())) if (path / "color").is_dir()]
            if not found:
                raise ValueError(f"scannet_frames: no folder color/ in {root} or one folder below")
            folders.update(dict.fromkeys(found))
        paths = list(folders)
        return [self._open_one(path, name) for path, name in zip(paths, scan_names(paths))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        images = _numbered(folder / "color", (".jpg", ".png"))
        check_same_frames(folder, list(images), list(_numbered(folder / "pose", (".txt",))))
        names = _spaced(list(images), self.config.every)
        files = {
            frame: FrameFiles(f"color/{images[frame]}", f"depth/{frame}.png", f"pose/{frame}.txt")
            for frame in names
        }
        rig = scannet_rig(
            _camera(folder, "color", [folder / files[frame].image for frame in names]),
            _camera(folder, "depth", [folder / files[frame].depth for frame in names]),
            _extrinsic(folder, "color"),
            _extrinsic(folder, "depth"),
            self.config.depth_scale,
            str(folder / "intrinsic"),
        )
        return RigScan(
            name,
            folder,
            rig,
            files,
            up=self.config.up,
        )


def _numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Files whose stem is a number, by stem, in the order of those numbers."""
    files = [path for path in folder.glob("*") if path.suffix in suffixes and path.stem.isdecimal()]
    return {path.stem: path.name for path in sorted(files, key=lambda path: int(path.stem))}


def _spaced(names: Sequence[str], every: int) -> list[str]:
    """Names, as ascending numbers, that are at least ``every`` apart, the first included."""
    taken: list[str] = []
    for name in names:
        if not taken or int(name) - int(taken[-1]) >= every:
            taken.append(name)
    return taken


def _camera(folder: Path, kind: str, paths: Sequence[Path]) -> Camera:
    release = folder / f"intrinsics_{kind}.txt"
    export = folder / "intrinsic" / f"intrinsic_{kind}.txt"
    path = release if release.is_file() else export
    size = common_size(paths, "colour" if kind == "color" else kind)
    return pinhole(read_intrinsics(path), size, str(path))


def _extrinsic(folder: Path, kind: str) -> torch.Tensor:
    path = folder / "intrinsic" / f"extrinsic_{kind}.txt"
    if not path.is_file():
        return torch.eye(4, dtype=torch.float64)
    numbers = read_numbers(path)
    if len(numbers) != 16:
        raise ValueError(f"extrinsics {path} hold {len(numbers)} numbers, expected 4x4")
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)
