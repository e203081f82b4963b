"""ModelNet40 as PointNet++ distributes it (Qi et al., NeurIPS 2017): text files of 10,000 points
with normals."""

from dataclasses import dataclass
from pathlib import Path

import torch

from pcpt.choices import check_choice
from pcpt.data.scan_list import read_scan_list
from pcpt.data.shape import ListedShapeSet, Shape
from pcpt.data.shape_files import class_of, read_table, root_folder
from pcpt.registry import register


@register("datasets", "modelnet_text")
class ModelNetText:
    """Folder ``modelnet40_normal_resampled``: ``chair/chair_0001.txt``, lines ``x,y,z,nx,ny,nz``.

    Points come in the order of farthest point sampling, so that ``data.sampling: first`` is fast
    and even. y is up.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder.
        subset: modelnet40 or modelnet10: whose lists to take.
        split: train or test.
        """

        name: str = "modelnet_text"
        root: str = ""
        subset: str = "modelnet40"
        split: str = "train"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        check_choice("split", config.split, ("train", "test"))
        check_choice("subset", config.subset, ("modelnet40", "modelnet10"))
        self.config = config

    def open(self) -> "ModelNetTextSet":
        """The shapes of the split; none is read yet.

        Raises:
            FileNotFoundError: root or a list is not there.
            ValueError: a list that cannot be used.
        """
        return ModelNetTextSet(root_folder("modelnet_text", self.config.root), self.config)


class ModelNetTextSet(ListedShapeSet):
    """What ``ModelNetText`` opens."""

    source = "modelnet_text"
    has_normals = True
    up = (0.0, 1.0, 0.0)

    def __init__(self, root: Path, config: ModelNetText.Config) -> None:
        self._root = root
        self.classes = tuple(read_scan_list(root / f"{config.subset}_shape_names.txt"))
        known = {name: label for label, name in enumerate(self.classes)}
        path = root / f"{config.subset}_{config.split}.txt"
        # chair_0001 is of class chair, night_stand_0001 of night_stand
        self.labels = {
            name: class_of(path, name, name.rpartition("_")[0], known)
            for name in read_scan_list(path)
        }
        self.names = list(self.labels)

    def load(self, name: str) -> Shape:
        label = self.label_of(name)
        path = self._root / self.classes[label] / f"{name}.txt"
        table = torch.from_numpy(read_table(path, 6, delimiter=",")).float()
        return Shape(name, table[:, :3].contiguous(), table[:, 3:].contiguous(), label)
