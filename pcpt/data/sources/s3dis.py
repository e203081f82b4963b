"""S3DIS (Armeni et al., CVPR 2016), aligned version 1.2: rooms as labelled clouds in text files."""

import json
import logging
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pcpt.choices import check_choice
from pcpt.data.cloud_cache import fingerprint, load_cached, save_cached
from pcpt.data.files import expand_roots
from pcpt.data.label_set import IGNORE, label_set
from pcpt.data.names import natural
from pcpt.data.point_text import read_point_text
from pcpt.data.scene import Boxes, Scene, SceneSet
from pcpt.registry import register

logger = logging.getLogger(__name__)

# id, red, green, blue, name: order and colours as PointNet (Qi et al., CVPR 2017) has them
LABELS = label_set(
    "S3DIS",
    """
0 0 255 0 ceiling
1 0 0 255 floor
2 0 255 255 wall
3 255 255 0 beam
4 255 0 255 column
5 100 100 255 window
6 200 200 100 door
7 170 120 200 table
8 255 0 0 chair
9 200 100 100 sofa
10 10 200 100 bookcase
11 200 200 200 board
12 50 50 50 clutter
""",
)
AREAS = (1, 2, 3, 4, 5, 6)
SPLITS = ("train", "test", "all")
UNKNOWN = ("clutter", "ignore")
READER_VERSION = "s3dis 1"  # of what is kept in the cache: change it with the reader


@register("datasets", "s3dis")
class S3DIS:
    """``Area_N/ROOM/Annotations/CLASS_K.txt``, lines ``x y z r g b``: one file is one instance.

    It has no images, so it opens as labelled scenes, for tasks and not for pretraining. One area is
    for testing and the others for training; ``test_area`` 1 to 6 in turn is the six-fold protocol,
    5 alone the usual single one. Points are in metres, aligned along the walls of the building, z
    up; boxes enclose the points of each instance along these axes.

    Classes beyond the 13 (``stairs``, ``<UNK>``) become clutter, as in PointNet, or are ignored.
    Bytes that belong to no number are taken for blanks, which mends the known one (a zero byte in
    line 180389 of Area_5/hallway_6/Annotations/ceiling_1.txt); lines that then hold no point are
    dropped, more than a few refuse the file; both are named in the log. Files of other names
    (``wall_3 (1).txt`` in Area_5/office_36 is a copy) are left out and named.

    Checked against public sources: names, columns, the order of classes and what becomes of
    ``stairs`` in charlesq34/pointnet (sem_seg); the bad byte and the copy in what several
    repositories do about them. Not checked on the original files, which may not be passed on.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: the folder that holds Area_1 to Area_6, or globs.
        split: ``train``, ``test`` or ``all``.
        test_area: the area that is not trained on, 1 to 6.
        cache: folder for parsed rooms; empty parses each time. A room is parsed again when its
            files change.
        unknown: what becomes of classes beyond the 13: ``clutter`` or ``ignore``.
        """

        name: str = "s3dis"
        roots: list[str] = field(default_factory=list)
        split: str = "train"
        test_area: int = 5
        cache: str = ""
        unknown: str = "clutter"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        if config.test_area not in AREAS:
            raise ValueError(f"s3dis: test_area is {config.test_area}, expected one of {[*AREAS]}")
        check_choice("split", config.split, SPLITS)
        check_choice("unknown", config.unknown, UNKNOWN)
        self.config = config

    def open(self) -> "S3DISRooms":
        """The rooms of the split that are there; none is read yet.

        Raises:
            FileNotFoundError: a root is not there.
            ValueError: no rooms.
        """
        split = self.config.split
        rooms: dict[str, Path] = {}
        for root in expand_roots("s3dis", self.config.roots):
            for area in AREAS:
                is_test = area == self.config.test_area
                if split != "all" and is_test != (split == "test"):
                    continue
                found = [path.parent for path in (root / f"Area_{area}").glob("*/Annotations")]
                for path in sorted(found, key=lambda path: natural(path.name)):
                    name = f"Area_{area}_{path.name}"
                    if name in rooms:
                        raise ValueError(f"s3dis: {path} and {rooms[name]} are the same room")
                    rooms[name] = path
        if not rooms:
            raise ValueError(
                f"s3dis: no Area_N/ROOM/Annotations of split {split!r} in {self.config.roots}"
            )
        return S3DISRooms(rooms, self.config)


class S3DISRooms(SceneSet):
    """Rooms by name (``Area_5_office_1``), as ``S3DIS`` finds them."""

    def __init__(self, rooms: dict[str, Path], config: S3DIS.Config) -> None:
        self.names = list(rooms)
        self.label_set = LABELS
        self._rooms, self._config = rooms, config

    def load(self, name: str) -> Scene:
        """Reads one room, from the cache where it is there and in order.

        Raises:
            FileNotFoundError: the room is not there.
            ValueError: no instances, or a file that cannot be read.
        """
        if name not in self._rooms:
            raise ValueError(f"s3dis has no room {name!r}; names lists them")
        folder = self._rooms[name]
        room = self._room(name, folder)
        unknown = LABELS.names.index("clutter") if self._config.unknown == "clutter" else IGNORE
        known = {word: index for index, word in enumerate(LABELS.names)}
        labels = torch.tensor([known.get(word, unknown) for word in room.classes])
        counts = torch.bincount(room.instances, minlength=len(room.classes))
        ignored: dict[str, int] = {}
        for word, label, count in zip(room.classes, labels.tolist(), counts.tolist()):
            if label == IGNORE:
                ignored[word] = ignored.get(word, 0) + count
        area = int(folder.parent.name.removeprefix("Area_"))
        return Scene(
            name,
            room.points,
            labels[room.instances],
            room.instances,
            boxes=_boxes(room, labels),
            colors=room.colors,
            up=torch.tensor([0, 0, 1], dtype=torch.float64),
            split="test" if area == self._config.test_area else "train",
            unknown_labels=ignored,
        )

    def _room(self, name: str, folder: Path) -> "_Room":
        files = _instance_files(folder / "Annotations")
        if not self._config.cache:
            return _read_room(files)
        path = Path(self._config.cache).expanduser() / f"{name}.safetensors"
        made_from = fingerprint(files, READER_VERSION)
        cached = load_cached(path, made_from)
        if cached is None:
            room = _read_room(files)
            tensors = {"points": room.points, "colors": room.colors, "instances": room.instances}
            save_cached(path, tensors, json.dumps(room.classes), made_from)
            return room
        tensors, note = cached
        return _Room(tensors["points"], tensors["colors"], tensors["instances"], json.loads(note))


@dataclass
class _Room:
    """What the files of a room hold: points, colors, instances and the class of each instance."""

    points: Tensor
    colors: Tensor
    instances: Tensor
    classes: list[str]


def _instance_files(folder: Path) -> list[Path]:
    files = []
    for path in sorted(folder.glob("*.txt"), key=lambda path: natural(path.name)):
        if re.fullmatch(r"[^_\s]+_\d+\.txt", path.name):
            files.append(path)
        else:
            logger.warning("s3dis: %s is not named CLASS_NUMBER.txt and is left out", path)
    if not files:
        raise ValueError(f"{folder} holds no CLASS_NUMBER.txt; unpack the room again")
    return files


def _read_room(files: list[Path]) -> _Room:
    points, colors, instances = [], [], []
    for index, path in enumerate(files):
        cloud = read_point_text(path)
        for what, lines in (("mended", cloud.mended), ("dropped", cloud.dropped)):
            if lines:
                logger.warning(
                    "s3dis: %s: %s %d lines, the first is %d", path, what, len(lines), lines[0]
                )
        points.append(cloud.points)
        colors.append(cloud.colors)
        instances.append(np.full(len(cloud.points), index, np.int64))
    make = partial(np.concatenate, axis=0)
    return _Room(
        torch.from_numpy(make(points)),
        torch.from_numpy(make(colors)),
        torch.from_numpy(make(instances)),
        [path.name.partition("_")[0] for path in files],
    )


def _boxes(room: _Room, labels: Tensor) -> Boxes:
    """Axis-parallel boxes around the instances that have a label."""
    count = len(room.classes)
    index = room.instances[:, None].expand(-1, 3)
    low, high = (
        torch.full((count, 3), start).scatter_reduce(0, index, room.points, how)
        for start, how in ((float("inf"), "amin"), (float("-inf"), "amax"))
    )
    keep = labels != IGNORE
    return Boxes(
        ((low + high) / 2)[keep],
        (high - low)[keep],
        torch.zeros(int(keep.sum())),
        labels[keep],
        torch.arange(count)[keep],
    )
