"""HoloLens sequences as deep-video-mvs (Duzceker et al., CVPR 2021) lays them out."""

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
from pcpt.data.rig import FrameFiles, Rig, RigScan
from pcpt.registry import register


@register("datasets", "hololens")
class HoloLens:
    """Folders of ``images/NNNNN.png``, ``depth/NNNNN.png``, ``K.txt`` and ``poses.txt``.

    Depth is registered to colour, so both are one camera. A line of poses.txt holds the 16 numbers
    of one camera_to_world, row by row; ``frames.txt`` names the file that each line belongs to, and
    without it they follow the sorted images. The world is the HoloLens's own: y points up.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: scan folders or globs of them.
        every: take every Nth frame of the listing.
        depth_scale: units per metre.
        up: against gravity in the world frame.
        """

        name: str = "hololens"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        depth_scale: float = 1000.0
        up: list[float] = field(default_factory=lambda: [0.0, 1.0, 0.0])

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return (path / "K.txt").is_file() and (path / "poses.txt").is_file()

    def open(self) -> list[Scan]:
        """One scan a root.

        Raises:
            FileNotFoundError: a root, K.txt or poses.txt is not there.
            ValueError: no frames, images and poses that differ in number, unusable intrinsics.
        """
        folders = expand_roots("hololens", self.config.roots)
        return [self._open_one(path, name) for path, name in zip(folders, scan_names(folders))]

    def _open_one(self, folder: Path, name: str) -> Scan:
        files = _frame_files(folder)
        names = every_nth(list(files), self.config.every)
        files = {frame: files[frame] for frame in names}
        intrinsics = read_intrinsics(folder / "K.txt")
        color_size = common_size([folder / files[frame].image for frame in names], "colour")
        depth_size = common_size([folder / files[frame].depth for frame in names], "depth")
        if color_size != depth_size:
            raise ValueError(
                f"{folder}: images are {color_size[1]}x{color_size[0]} but depth is "
                f"{depth_size[1]}x{depth_size[0]}; K.txt is for both, re-export one of them"
            )
        camera = pinhole(intrinsics, color_size, str(folder / "K.txt"))
        return RigScan(
            name,
            folder,
            Rig(camera, camera, self.config.depth_scale),
            files,
            up=self.config.up,
        )


def _frame_files(folder: Path) -> dict[str, FrameFiles]:
    """The frames of a folder by name, after checking that every pose has its image."""
    on_disk = sorted(path.name for path in (folder / "images").glob("*.png"))
    listed = folder / "frames.txt"
    order = on_disk
    if listed.is_file():
        order = listed.read_text(encoding="utf-8-sig", errors="replace").split()
    path = folder / "poses.txt"
    numbers = read_numbers(path)
    num_poses, rest = divmod(len(numbers), 16)
    if rest:
        raise ValueError(f"{path} holds {len(numbers)} numbers, expected 16 a frame")
    for what, count in (("images", len(on_disk)), ("names in frames.txt", len(order))):
        if count != num_poses:
            raise ValueError(
                f"{path} holds {num_poses} poses, but there are {count} {what} in {folder}; "
                "every line of poses.txt needs one image"
            )
    check_same_frames(folder, on_disk, order)
    poses = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 4, 4)
    return {
        file.removesuffix(".png"): FrameFiles(
            f"images/{file}", f"depth/{file}", pose, f"poses.txt line {index + 1}"
        )
        for index, (file, pose) in enumerate(zip(order, poses))
    }
