"""ShapeNetPart (Yi et al., SIGGRAPH Asia 2016): 16 classes with 50 parts in all."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pcpt.choices import check_choice
from pcpt.data.json_object import read_json
from pcpt.data.scan_list import MAX_BYTES, NAME
from pcpt.data.shape import ListedShapeSet, Shape, check_parts
from pcpt.data.shape_files import class_of, read_table, root_folder
from pcpt.registry import register

NUM_PARTS = {
    "Airplane": 4, "Bag": 2, "Cap": 2, "Car": 4, "Chair": 4, "Earphone": 3, "Guitar": 3, "Knife": 2,
    "Lamp": 4, "Laptop": 2, "Motorbike": 6, "Mug": 2, "Pistol": 3, "Rocket": 3, "Skateboard": 3,
    "Table": 3,
}  # fmt: skip
SPLITS = ("train", "val", "test", "trainval")


@register("datasets", "shapenet_part")
class ShapeNetPart:
    """Folder ``shapenetcore_partanno_segmentation_benchmark_v0_normal``.

    ``OFFSET/MODEL.txt`` holds lines ``x y z nx ny nz part``; ``synsetoffset2category.txt`` names
    the offsets, ``train_test_split/shuffled_train_file_list.json`` and its like list the models.
    Parts are numbered over all classes, 0 to 49, in the order of the classes' names. y is up.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder.
        split: train, val, test or trainval. The benchmark is trained on trainval; to select on
            validation shapes train on train, with ``splits: {val: {split: val}}``.
        """

        name: str = "shapenet_part"
        root: str = ""
        split: str = "train"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: a split that there is not.
        """
        check_choice("split", config.split, SPLITS)
        self.config = config

    def open(self) -> "ShapeNetPartSet":
        """The shapes of the split; none is read yet.

        Raises:
            FileNotFoundError: root or a list is not there.
            ValueError: a list that cannot be used.
        """
        return ShapeNetPartSet(root_folder("shapenet_part", self.config.root), self.config)


class ShapeNetPartSet(ListedShapeSet):
    """What ``ShapeNetPart`` opens."""

    source = "shapenet_part"
    has_normals = True
    up = (0.0, 1.0, 0.0)
    classes = tuple(NUM_PARTS)
    part_names = tuple(f"{name}/{part}" for name, n in NUM_PARTS.items() for part in range(n))
    parts_of_class = tuple(
        tuple(range(end - count, end))
        for count, end in zip(NUM_PARTS.values(), np.cumsum(list(NUM_PARTS.values())).tolist())
    )

    def __init__(self, root: Path, config: ShapeNetPart.Config) -> None:
        self._root = root
        offsets = _offsets(root / "synsetoffset2category.txt")
        splits = ("train", "val") if config.split == "trainval" else (config.split,)
        self.labels = {}
        for split in splits:
            path = root / "train_test_split" / f"shuffled_{split}_file_list.json"
            for name in _listed(path):
                self.labels[name] = class_of(path, name, name.partition("/")[0], offsets)
        self.names = list(self.labels)

    def load(self, name: str) -> Shape:
        label = self.label_of(name)
        path = self._root / f"{name}.txt"
        table = torch.from_numpy(read_table(path, 7))
        parts = table[:, 6].long()
        if bool((parts != table[:, 6]).any()) or bool((parts < 0).any()):
            raise ValueError(f"{path}: the last column holds numbers that are no part of 0 to 49")
        points, normals = table[:, :3].float(), table[:, 3:6].float()
        return check_parts(str(path), Shape(name, points, normals, label, parts), self)


def _offsets(path: Path) -> dict[str, int]:
    """The class of every offset, from lines ``Airplane 02691156``."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; root should hold it")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes: it is no list of classes")
    known = list(NUM_PARTS)
    offsets: dict[str, int] = {}
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in known or not NAME.fullmatch(words[1]):
            raise ValueError(
                f"{path} line {number}: {line.strip()[:60]!r}, expected a class of ShapeNetPart "
                "and its offset, such as Airplane 02691156"
            )
        offsets[words[1]] = known.index(words[0])
    return offsets


def _listed(path: Path) -> list[str]:
    """``OFFSET/MODEL`` of every entry ``shape_data/OFFSET/MODEL``."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path} holds no list of shapes")
    names = []
    for place, entry in enumerate(entries):
        parts = entry.split("/") if isinstance(entry, str) else []
        if len(parts) != 3 or not all(NAME.fullmatch(part) for part in parts):
            raise ValueError(
                f"{path}: entry {place} is {str(entry)[:60]!r}, expected shape_data/OFFSET/MODEL"
            )
        names.append("/".join(parts[1:]))
    return names
