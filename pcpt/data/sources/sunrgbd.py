"""SUN RGB-D (Song et al., CVPR 2015) without Matlab: single images with depth, a vertical, and
boxes around furniture."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.files import (
    content_digest,
    expand_roots,
    pinhole,
    read_intrinsics,
    read_numbers,
    scan_names,
    size_of,
)
from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.images import common_size, read_color, read_depth
from pcpt.data.poses import rigid
from pcpt.data.scene import BrokenScene, Scene, SceneSet
from pcpt.data.sunrgbd_boxes import LABELS, read_boxes
from pcpt.geometry.camera import Camera
from pcpt.registry import register

# From the annotations' axes (y down, z forward) to those of the toolbox and VoteNet: x right,
# y forward, z up.
UPRIGHT = torch.tensor([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=torch.float64)
DEPTHS = ("depth_bfx", "depth")
SPLITS = ("train", "test", "all")
MAX_TEXT_BYTES = 1 << 16


@register("datasets", "sunrgbd")
class SUNRGBD:
    """Folders with ``image/*.jpg``, ``depth_bfx/*.png``, ``intrinsics.txt``, ``extrinsics/*.txt``
    and ``annotation3Dfinal/index.json``; each is a scan of one frame.

    The 16 bits of a depth pixel are rotated right by three, then they are millimetres; what is
    beyond ``max_depth`` becomes ``max_depth``. Depth is registered to colour. The last file of
    ``extrinsics`` turns the camera upright: the world has its origin in the camera, x right,
    y forward and z up, as VoteNet's.

    ``sunrgbd_scenes`` gives the same images as clouds with boxes. These are of the ten VoteNet
    classes: a footprint of corners (X, Z) from Ymin to Ymax, in metres. The size along the heading
    is the footprint's second side, as in VoteNet's own labels; ``heading`` is counter-clockwise
    about z (VoteNet's angle is clockwise). Names lose what follows a colon (``chair:occluded``).

    Checked against public sources: read3dPoints.m, read_3d_pts_general.m and readframeSUNRGBD.m of
    the toolbox as others republish them (bits, the cap, which extrinsics, axes, boxes), and
    VoteNet's extraction and utilities (upright axes, sides, heading, classes). The toolbox counts
    pixels from 1, see ``pixel_center``. Not checked on original files. VoteNet trains
    on the boxes of SUNRGBDMeta3DBB_v2.mat, which correct some of these; Matlab files are not read.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: folders of images or any folder above them (``SUNRGBD``), or globs.
        every: take every Nth image folder, in order of path.
        depth: folder of depth: ``depth_bfx`` (improved, with holes filled) or ``depth`` (as
            recorded).
        max_depth: metres at which depth is capped; 0 means nowhere.
        pixel_center: coordinate of the first pixel's centre in intrinsics.txt: 1 as in the toolbox
            that the boxes were drawn with, 0 as in OpenCV.
        held_out: a text file that names folders, one a line, such as the official test set;
            these are never trained on. What stands before ``SUNRGBD/`` does not matter.
        """

        name: str = "sunrgbd"
        roots: list[str] = field(default_factory=list)
        every: int = 1
        depth: str = "depth_bfx"
        max_depth: float = 8.0
        pixel_center: float = 1.0
        held_out: str = ""

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        _check(config)
        self.config = config

    def open(self) -> list[Scan]:
        """One scan of one frame an image folder; the files are read when the frame is loaded.

        Raises:
            FileNotFoundError: a root or the list ``held_out`` is not there.
            ValueError: no image folders below a root, one image in two roots, or a list that names
                none of them.
        """
        return list(_images(self.config))


@register("datasets", "sunrgbd_scenes")
class SUNRGBDScenes:
    """The images that ``SUNRGBD`` reads as scenes for detection: the cloud of each in its upright
    frame, with boxes, and without labels of points, which this data set has in Matlab files only.
    """

    @dataclass
    class Config(SUNRGBD.Config):
        """Attributes:
        split: ``train`` (not held out), ``test`` (held out) or ``all``. Others: as of ``SUNRGBD``.
        """

        name: str = "sunrgbd_scenes"
        split: str = "all"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        _check(config)
        check_choice("split", config.split, SPLITS)
        self.config = config

    def open(self) -> "SUNRGBDSceneSet":
        """The scenes of the split; none is read yet.

        Raises:
            FileNotFoundError, ValueError: as ``SUNRGBD.open``; ValueError: none in the split.
        """
        images, split = _images(self.config), self.config.split
        if split != "all":
            images = [image for image in images if bool(image.held_out) == (split == "test")]
        if not images:
            raise ValueError(
                f"sunrgbd_scenes: split {split!r} is empty; held_out lists the test images"
            )
        return SUNRGBDSceneSet(images)


def _check(config: SUNRGBD.Config) -> None:
    check_choice("depth", config.depth, DEPTHS)
    check_minimum("every", config.every, 1)
    if not 0 <= config.max_depth < math.inf:
        raise ValueError(f"sunrgbd: max_depth is {config.max_depth}, expected metres, or 0")


def _images(config: SUNRGBD.Config) -> "list[SUNRGBDImage]":
    folders: dict[Path, None] = {}
    for root in expand_roots("sunrgbd", config.roots):
        found = sorted(path.parent for path in root.rglob("intrinsics.txt"))
        found = [path for path in found if (path / "image").is_dir()]
        if not found:
            raise ValueError(f"sunrgbd: no folder with intrinsics.txt and image/ below {root}")
        folders.update(dict.fromkeys(found))
    held_out = _held_out(config.held_out, list(folders))
    images = [
        SUNRGBDImage(name, folder, config, held_out=folder in held_out)
        for folder, name in zip(folders, _names(list(folders)))
    ]
    return images[:: config.every]


def _names(folders: list[Path]) -> list[str]:
    """Of the images: their paths below ``SUNRGBD``, so that the same image has the same name
    whatever part of the data set is opened; elsewhere the shortest ends that tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    if not all("SUNRGBD" in path for path in parts):
        return scan_names(folders)
    names: dict[str, Path] = {}
    for folder, path in zip(folders, parts):
        name = "_".join(path[path.index("SUNRGBD") + 1 :])
        if names.setdefault(name, folder) != folder:
            raise ValueError(
                f"sunrgbd: {names[name]} and {folder} are both the image {name}; leave one of them "
                "out of roots"
            )
    return list(names)


def _held_out(listing: str, folders: Sequence[Path]) -> set[Path]:
    """The folders that a text file names by the ends of their paths."""
    if not listing:
        return set()
    path = Path(listing).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"sunrgbd: held_out is {path}, which is no file")
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        listed = {line.strip().strip("/").rpartition("SUNRGBD/")[2] for line in lines} - {""}
    tails: dict[str, list[Path]] = {}
    for folder in folders:
        parts = folder.resolve().parts
        for n in range(1, len(parts)):
            tails.setdefault("/".join(parts[-n:]), []).append(folder)
    found = {folder for line in listed for folder in tails.get(line, ())}
    if not found:
        raise ValueError(f"sunrgbd: held_out {path} names none of {len(folders)} image folders")
    return found


class SUNRGBDImage(Scan):
    """One image folder as a scan of one frame, whose name is the folder's."""

    folder: Path

    def __init__(
        self, name: str, folder: Path, config: SUNRGBD.Config, *, held_out: bool = False
    ) -> None:
        self.name = name
        self.names = [folder.name]
        self.held_out = frozenset(self.names if held_out else ())
        self.up = torch.tensor([0, 0, 1], dtype=torch.float64)
        self.folder, self._config = folder, config

    def load(self, name: str) -> Frame:
        if name not in self.names:
            raise ValueError(f"scan {self.name} has no frame {name!r}; its names lists them")
        image_path = self._first("image", (".jpg", ".png"))
        depth_path = self._first(self._config.depth, (".png",))
        try:
            camera = self._camera(common_size([image_path], "colour"))
        except (ValueError, FileNotFoundError) as error:
            raise BrokenFrame(str(error)) from error
        size = (camera.height, camera.width)
        try:
            units = read_depth(depth_path, size, 1.0).to(torch.int32)
        except ValueError as error:
            raise BrokenFrame(str(error)) from error
        metres = rotate_bits(units).float() / 1000
        if self._config.max_depth:
            metres = metres.clamp(max=self._config.max_depth)
        return Frame(name, read_color(image_path, size), metres, camera, camera)

    def evidence(self) -> Iterator[Any]:
        """The images by their sizes, the camera by its files' content."""
        for part in ("image", self._config.depth):
            yield [(path.name, size_of(path)) for path in sorted((self.folder / part).glob("*"))]
        tilts = sorted((self.folder / "extrinsics").glob("*.txt"))
        for path in (self.folder / "intrinsics.txt", *tilts[-1:]):
            yield content_digest(path)

    def _first(self, kind: str, suffixes: tuple[str, ...]) -> Path:
        folder = self.folder / kind
        found = [p for p in folder.glob("*") if p.suffix.lower() in suffixes]
        if not found:
            raise BrokenFrame(f"{folder} holds no image ({', '.join(suffixes)})")
        return min(found)

    def _camera(self, size: tuple[int, int]) -> Camera:
        path = self.folder / "intrinsics.txt"
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ValueError(f"intrinsics {path} is of {path.stat().st_size} bytes, expected 3x3")
        intrinsics = read_intrinsics(path)
        intrinsics[:2, 2] -= self._config.pixel_center
        tilt = UPRIGHT @ read_tilt(self.folder)
        return Camera(pinhole(intrinsics, size, str(path)).intrinsics, *size, rigid(tilt, [0] * 3))


def rotate_bits(units: Tensor) -> Tensor:
    """The stored 16 bits of depth (int32) rotated right by three: millimetres, int32."""
    return (units >> 3) | ((units & 7) << 13)


def read_tilt(folder: Path) -> Tensor:
    """The rotation (3, 3) float64 in the last file of ``extrinsics``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: no 3x3, 3x4 or 4x4 numbers.
    """
    paths = sorted((folder / "extrinsics").glob("*.txt"))
    if not paths:
        raise FileNotFoundError(f"{folder / 'extrinsics'} holds no *.txt with the camera's tilt")
    path = paths[-1]
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"extrinsics {path} is of {path.stat().st_size} bytes, expected 3x4")
    numbers = read_numbers(path)
    shape = {9: (3, 3), 12: (3, 4), 16: (4, 4)}.get(len(numbers))
    if shape is None:
        raise ValueError(f"extrinsics {path} holds {len(numbers)} numbers, expected 3x4")
    tilt = torch.tensor(numbers, dtype=torch.float64).reshape(shape)[:3, :3]
    if not bool(torch.isfinite(tilt).all()):
        raise ValueError(f"extrinsics {path} holds inf or nan")
    return tilt


class SUNRGBDSceneSet(SceneSet):
    """What ``SUNRGBDScenes`` opens."""

    def __init__(self, images: Sequence[SUNRGBDImage]) -> None:
        self.names = [image.name for image in images]
        self.label_set = LABELS
        self._images = dict(zip(self.names, images))

    def load(self, name: str) -> Scene:
        """Reads one image and its boxes.

        Raises:
            BrokenScene: an image or depth image that is missing or damaged.
            ValueError: unknown name; an annotation that cannot be used.
        """
        if name not in self._images:
            raise ValueError(f"sunrgbd has no scene {name!r}; names lists them")
        image = self._images[name]
        try:
            frame = image.load(image.names[0])
        except BrokenFrame as error:
            raise BrokenScene(f"sunrgbd scene {name}: {error}") from error
        points, pixel_index = frame.depth_camera.unproject(frame.depth)
        unlabelled = torch.full((len(points),), -1, dtype=torch.int64)
        return Scene(
            name,
            points,
            unlabelled,
            unlabelled.clone(),
            boxes=read_boxes(image.folder / "annotation3Dfinal" / "index.json"),
            colors=frame.image.reshape(3, -1).T[pixel_index].contiguous(),
            up=image.up,
            split="test" if image.held_out else "",
        )
