"""ScanNet (Dai et al., CVPR 2017) straight from its .sens files, without exporting them first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcpt.data.files import every_nth, expand_roots, pinhole
from pcpt.data.frame import Frame, LostPose, NoDepth, Scan
from pcpt.data.rig import Rig, direction
from pcpt.data.scan_list import read_scan_list
from pcpt.data.scannet_rig import scannet_rig
from pcpt.data.sens import SensReader
from pcpt.geometry.camera import Camera
from pcpt.registry import register


class SensScan(Scan):
    """One .sens file; frames are named by their number, as ScanNet's exporter names files.

    Args:
        path: the file, whose stem names the scan.
        every: take every Nth frame.
        depth_scale: units per metre; 0 takes the file's depth shift.
        up: against gravity in the world frame, of any length; empty where unknown.

    Raises:
        ValueError: cut short, unreadable, without frames, or with unusable calibration.
    """

    def __init__(
        self, path: Path, *, every: int = 1, depth_scale: float = 0.0, up: Sequence[float] = ()
    ) -> None:
        self.reader = SensReader(path)
        if not len(self.reader):
            raise ValueError(f"{path} holds no frames; take it out of roots")
        self.name = path.stem
        self.names = every_nth([str(index) for index in range(len(self.reader))], every)
        self.up = direction(list(up), path)
        self.folder = path.parent
        self._rig = _rig(self.reader, depth_scale)

    def load(self, name: str) -> Frame:
        if not name.isdecimal() or int(name) >= len(self.reader):
            raise ValueError(f"scan {self.name} has no frame {name!r}; its names lists them")
        index = int(name)
        pose = torch.from_numpy(self.reader.pose(index)).double()
        try:
            color_camera, depth_camera = self._rig.posed(pose)
        except ValueError as error:
            raise LostPose(f"pose of frame {name} of {self.reader.path}: {error}") from error
        image = torch.from_numpy(self.reader.color(index)).permute(2, 0, 1).contiguous()
        # the rig's scale is the file's, unless the config corrects it
        depth = self.reader.depth(index) * (self.reader.header.depth_shift / self._rig.depth_scale)
        if not depth.any():
            raise NoDepth(f"depth image of frame {name} of {self.reader.path}: nothing measured")
        return Frame(name, image, torch.from_numpy(depth), color_camera, depth_camera)

    def evidence(self) -> Iterator[Any]:
        """The cameras, and the header of every frame."""
        yield self._rig.evidence()
        for name in self.names:
            yield self.reader.frame_header(int(name)).hex()


@register("datasets", "scannet_sens")
class ScanNetSens:
    """.sens files as they are downloaded: ``sceneXXXX_YY/sceneXXXX_YY.sens``, or single ones.

    Colour (1296x968, JPEG) and depth (640x480) are two cameras with their own intrinsics;
    ``pcpt.data.scannet_rig`` says what is made of the extrinsics. A pose of -inf (tracking lost)
    makes a broken frame. Scans stand on the floor with z up. Opening reads no images: one seek a
    frame.

    No original file was at hand: this was checked on files that tests write from the description
    of the format (``pcpt.data.sens_format``), not on ScanNet's own.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: .sens files, folders that hold some, folders of such folders, or globs of these.
        every: take every Nth frame; 25 as PPKT.
        scan_list: text file of scan names, one a line, such as ScanNet's scannetv2_train.txt; scans
            that it does not name are left out. Empty takes all.
        depth_scale: units per metre; 0 takes the depth shift that the file states.
        up: against gravity in the world frame.
        """

        name: str = "scannet_sens"
        roots: list[str] = field(default_factory=list)
        every: int = 25
        scan_list: str = ""
        depth_scale: float = 0.0
        up: list[float] = field(default_factory=lambda: [0.0, 0.0, 1.0])

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return path.suffix == ".sens" or (path.is_dir() and any(path.glob("*.sens")))

    def open(self) -> list[Scan]:
        """One scan a file.

        Raises:
            FileNotFoundError: a root that matches nothing, or no such scan_list.
            ValueError: no .sens files, two of one name, or one that cannot be read.
        """
        files = find_sens(self.config.roots)
        if self.config.scan_list:
            listed = set(read_scan_list(Path(self.config.scan_list).expanduser()))
            files = [path for path in files if path.stem in listed]
            if not files:
                raise ValueError(
                    f"scannet_sens: none of the .sens files in roots is named in "
                    f"{self.config.scan_list}"
                )
        by_name: dict[str, Path] = {}
        for path in files:
            other = by_name.setdefault(path.stem, path)
            if other != path:
                raise ValueError(f"scannet_sens: {path} and {other} have one name; rename one")
        config = self.config
        return [
            SensScan(path, every=config.every, depth_scale=config.depth_scale, up=config.up)
            for path in files
        ]


def find_sens(roots: Sequence[str]) -> list[Path]:
    """The .sens files that ``roots`` name: files, folders, folders of folders, or globs of these.

    Raises:
        ValueError: no roots, or a folder without such a file.
        FileNotFoundError: a root that matches nothing.
    """
    files: dict[Path, None] = {}
    for root in expand_roots("scannet_sens", roots, suffix=".sens"):
        found = [root]
        if root.is_dir():
            found = [*sorted(root.glob("*.sens")), *sorted(root.glob("*/*.sens"))]
        if not found:
            raise ValueError(f"scannet_sens: no .sens file in {root} or one folder below")
        files.update(dict.fromkeys(found))
    return list(files)


def _rig(reader: SensReader, depth_scale: float) -> Rig:
    header = reader.header
    return scannet_rig(
        _camera(header.intrinsic_color, header.color_size, f"intrinsic_color of {reader.path}"),
        _camera(header.intrinsic_depth, header.depth_size, f"intrinsic_depth of {reader.path}"),
        torch.from_numpy(header.extrinsic_color),
        torch.from_numpy(header.extrinsic_depth),
        depth_scale or header.depth_shift,
        str(reader.path),
    )


def _camera(matrix: np.ndarray, size: tuple[int, int], origin: str) -> Camera:
    return pinhole(torch.from_numpy(matrix[:3, :3].copy()).double(), size, origin)
