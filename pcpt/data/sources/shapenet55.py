"""ShapeNet-55 as Point-BERT and PoinTr distribute it: clouds of 8,192 points of ShapeNetCore (Chang
et al., 2015, arXiv 1512.03012)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pcpt.choices import check_choice
from pcpt.data.scan_list import read_scan_list
from pcpt.data.shape import ListedShapeSet, Shape
from pcpt.data.shape_files import class_of, read_npy, root_folder
from pcpt.registry import register

# WordNet offsets of the classes of ShapeNetCore v2
CLASSES = {
    "02691156": "airplane", "02747177": "trash bin", "02773838": "bag", "02801938": "basket",
    "02808440": "bathtub", "02818832": "bed", "02828884": "bench", "02843684": "birdhouse",
    "02871439": "bookshelf", "02876657": "bottle", "02880940": "bowl", "02924116": "bus",
    "02933112": "cabinet", "02942699": "camera", "02946921": "can", "02954340": "cap",
    "02958343": "car", "02992529": "cellphone", "03001627": "chair", "03046257": "clock",
    "03085013": "keyboard", "03207941": "dishwasher", "03211117": "display",
    "03261776": "earphone", "03325088": "faucet", "03337140": "file cabinet",
    "03467517": "guitar", "03513137": "helmet", "03593526": "jar", "03624134": "knife",
    "03636649": "lamp", "03642806": "laptop", "03691459": "loudspeaker", "03710193": "mailbox",
    "03759954": "microphone", "03761084": "microwave", "03790512": "motorbike",
    "03797390": "mug", "03928116": "piano", "03938244": "pillow", "03948459": "pistol",
    "03991062": "flowerpot", "04004475": "printer", "04074963": "remote", "04090263": "rifle",
    "04099429": "rocket", "04225987": "skateboard", "04256520": "sofa", "04330267": "stove",
    "04379243": "table", "04401088": "telephone", "04460130": "tower", "04468005": "train",
    "04530566": "vessel", "04554684": "washer",
}  # fmt: skip
SPLITS = ("train", "test", "all")


@register("datasets", "shapenet55")
class ShapeNet55:
    """Folder ``ShapeNet55-34``: ``shapenet_pc/OFFSET-MODEL.npy`` and ``ShapeNet-55/train.txt``.

    A file holds (N, 3) floating point numbers and is never unpickled. y is up.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder.
        subset: folder of the lists, such as ShapeNet-55 or ShapeNet-35.
        split: train, test, or all: both, as Point-BERT pretrains.
        """

        name: str = "shapenet55"
        root: str = ""
        subset: str = "ShapeNet-55"
        split: str = "train"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: a split that there is not.
        """
        check_choice("split", config.split, SPLITS)
        self.config = config

    def open(self) -> "ShapeNet55Set":
        """The shapes of the split; none is read yet.

        Raises:
            FileNotFoundError: root or a list is not there.
            ValueError: a list that cannot be used.
        """
        return ShapeNet55Set(root_folder("shapenet55", self.config.root), self.config)


class ShapeNet55Set(ListedShapeSet):
    """What ``ShapeNet55`` opens."""

    source = "shapenet55"
    classes = tuple(CLASSES.values())
    up = (0.0, 1.0, 0.0)

    def __init__(self, root: Path, config: ShapeNet55.Config) -> None:
        self._folder = root / "shapenet_pc"
        known = {offset: label for label, offset in enumerate(CLASSES)}
        self.labels = {}
        for split in ("train", "test") if config.split == "all" else (config.split,):
            path = root / config.subset / f"{split}.txt"
            for file in read_scan_list(path):
                name = file.removesuffix(".npy")
                self.labels[name] = class_of(path, file, name.partition("-")[0], known)
        self.names = list(self.labels)

    def load(self, name: str) -> Shape:
        label = self.label_of(name)
        path = self._folder / f"{name}.npy"
        points = read_npy(path, "f", 2)
        if points.shape[1] != 3:
            raise ValueError(f"{path} is {points.shape}, expected (N, 3)")
        try:
            return Shape(name, torch.from_numpy(points.astype(np.float32)), label=label)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
