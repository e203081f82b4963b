"""ScanNet's labelled meshes (Dai et al., CVPR 2017) for segmentation and detection."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcpt.choices import check_choice
from pcpt.data.label_set import LabelSet
from pcpt.data.scan_list import read_scan_list
from pcpt.data.scannet_classes import ID_COLUMNS, LABEL_SETS
from pcpt.data.scannet_labels import find_label_table, read_label_map
from pcpt.data.scannet_scene import ScanNetFiles, read_scannet_scene
from pcpt.data.scene import Scene, SceneSet
from pcpt.registry import register

logger = logging.getLogger(__name__)

LABELS_FROM = ("aggregation", "labels_ply", "none")
SPLITS = ("train", "val", "test", "")


@register("datasets", "scannet_scenes")
class ScanNetScenes:
    """Folders ``sceneXXXX_YY`` with ``*_vh_clean_2.ply`` and the label files beside it.

    Labels are places 0, 1, ... in ``label_set``; -1 is unannotated or outside the set. Names that
    the label table does not know are -1 too, named in the log and counted in ``unknown_labels``.
    Boxes are those of the detection benchmark: around the vertices of each instance, along the axes
    of the aligned scene. No original file was at hand; see ``pcpt.data.scannet_labels``.
    """

    @dataclass
    class Config:
        """Attributes:
        root: folder of scene folders, such as ScanNet's ``scans``.
        split_file: text file of scene names, one a line, such as scannetv2_train.txt; empty takes
            every scene in root.
        split: what that list is: train, val, test, or empty.
        label_set: nyu40, scannet20, scannet200, or scannet18 for object detection.
        label_map: path of scannetv2-labels.combined.tsv; empty looks in root and one folder up.
        labels_from: aggregation (labels, instances, boxes), labels_ply (NYU40 labels alone), or
            none, for the test scenes, which have no labels.
        align: turn scenes along their walls, as detection asks for.
        normals: compute vertex normals from the faces.
        """

        name: str = "scannet_scenes"
        root: str = ""
        split_file: str = ""
        split: str = ""
        label_set: str = "scannet20"
        label_map: str = ""
        labels_from: str = "aggregation"
        align: bool = True
        normals: bool = True

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        check_choice("label_set", config.label_set, LABEL_SETS)
        check_choice("labels_from", config.labels_from, LABELS_FROM)
        check_choice("split", config.split, SPLITS)
        self.config = config

    def open(self) -> "ScanNetSceneSet":
        """The scenes of the split; none is read yet.

        Raises:
            FileNotFoundError: root, the list or the label table is not there, or a listed scene
                has no mesh.
            ValueError: an empty list, or a label table that cannot be used.
        """
        config = self.config
        root = Path(config.root).expanduser()
        if not config.root or not root.is_dir():
            raise FileNotFoundError(
                f"scannet_scenes: root is {config.root!r}, which is no folder; relative paths "
                f"start at {Path.cwd()}"
            )
        names = self._names(root)
        label_map = None
        if config.labels_from == "aggregation":
            table = find_label_table("scannet_scenes", root, config.label_map)
            label_map = read_label_map(table, ID_COLUMNS[config.label_set])
        return ScanNetSceneSet(root, names, config, label_map)

    def _names(self, root: Path) -> list[str]:
        if not self.config.split_file:
            folders = (path for path in sorted(root.iterdir()) if path.is_dir())
            names = [path.name for path in folders if ScanNetFiles(path).mesh.is_file()]
            if not names:
                raise ValueError(
                    f"scannet_scenes: {root} has no folder NAME with NAME_vh_clean_2.ply"
                )
            return names
        path = Path(self.config.split_file).expanduser()
        names = read_scan_list(path)
        absent = [name for name in names if not ScanNetFiles(root / name).mesh.is_file()]
        if absent:
            raise FileNotFoundError(
                f"scannet_scenes: {len(absent)} of {len(names)} scenes in {path} have no mesh in "
                f"{root}; the first is {ScanNetFiles(root / absent[0]).mesh}. Download them, or "
                "take them off the list"
            )
        return names


class ScanNetSceneSet(SceneSet):
    """What ``ScanNetScenes`` opens.

    Attributes:
        unknown_labels: points by the names that the label table does not know, over the scenes read
            so far in this process; each scene counts once.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        config: ScanNetScenes.Config,
        label_map: Mapping[str, int] | None,
    ) -> None:
        self.names = list(names)
        self.label_set: LabelSet = LABEL_SETS[config.label_set]
        self.unknown_labels: Counter[str] = Counter()
        self._root, self._config, self._label_map = root, config, label_map
        self._counted: set[str] = set()

    def folder_of(self, name: str) -> Path | None:
        return self._root / name

    def load(self, name: str) -> Scene:
        if name not in self.names:
            raise ValueError(f"scannet_scenes has no scene {name!r}; its names lists them")
        config = self._config
        scene = read_scannet_scene(
            ScanNetFiles(self._root / name),
            self.label_set,
            self._label_map,
            labels_from=config.labels_from,
            align=config.align,
            normals=config.normals,
            split=config.split,
        )
        self._count(scene)
        return scene

    def _count(self, scene: Scene) -> None:
        if scene.name in self._counted:
            return
        self._counted.add(scene.name)
        for label, count in scene.unknown_labels.items():
            if label not in self.unknown_labels:
                logger.warning(
                    "%s: label %r is not in the label table; its points are ignored",
                    scene.name,
                    label,
                )
            self.unknown_labels[label] += count

    def summary(self) -> str:
        """One line on the labels that were ignored because nobody knows them."""
        if not self.unknown_labels:
            return "no unknown labels"
        parts = ", ".join(f"{label!r}: {n}" for label, n in self.unknown_labels.most_common(10))
        return f"points with {len(self.unknown_labels)} unknown labels ignored: {parts}"
