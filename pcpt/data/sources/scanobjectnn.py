"""ScanObjectNN (Uy et al., ICCV 2019, arXiv 1908.04616): objects cut out of real scans."""

from dataclasses import dataclass

from pcpt.choices import check_choice
from pcpt.data.array_shapes import ArrayFile, ArrayShapeSet
from pcpt.data.h5_arrays import read_h5
from pcpt.data.shape_files import root_folder
from pcpt.registry import register

CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed",
    "pillow", "sink", "sofa", "toilet",
)  # fmt: skip
VARIANTS = {
    "obj_bg": ("", "objectdataset.h5"),
    "obj_only": ("_nobg", "objectdataset.h5"),
    "pb_t25": ("", "objectdataset_augmented25_norot.h5"),
    "pb_t25_r": ("", "objectdataset_augmented25rot.h5"),
    "pb_t50_r": ("", "objectdataset_augmentedrot.h5"),
    "pb_t50_rs": ("", "objectdataset_augmentedrot_scale75.h5"),
}
FOLDS = ("main_split", "split1", "split2", "split3", "split4")
ARRAYS = {"data": ("f", 3), "label": ("iuf", 1)}


@register("datasets", "scanobjectnn")
class ScanObjectNN:
    """Folder ``h5_files``: ``main_split/training_objectdataset*.h5`` and ``test_*``.

    Files hold ``data`` (S, 2048, 3), ``label`` (S,) and a mask of the background, which is not
    read. y is up.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder that holds ``main_split``.
        split: train or test.
        variant: obj_bg (objects with background), obj_only (without), or perturbed: pb_t25,
            pb_t25_r, pb_t50_r, pb_t50_rs, the hardest. A perturbed one holds each object about
            five times and does not say which rows those are: shares are drawn of rows.
        fold: main_split, or split1 to split4.
        background: of a perturbed variant: false takes the folder without background.
        """

        name: str = "scanobjectnn"
        root: str = ""
        split: str = "train"
        variant: str = "pb_t50_rs"
        fold: str = "main_split"
        background: bool = True

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that is none of its choices.
        """
        check_choice("split", config.split, ("train", "test"))
        check_choice("variant", config.variant, VARIANTS)
        check_choice("fold", config.fold, FOLDS)
        self.config = config

    def open(self) -> ArrayShapeSet:
        """Reads the file of the split; that of pb_t50_rs is of 280 MB.

        Raises:
            ModuleNotFoundError: h5py is not installed.
            FileNotFoundError: root or the file is not there.
            ValueError: a damaged file.
        """
        config = self.config
        root = root_folder("scanobjectnn", config.root)
        suffix, end = VARIANTS[config.variant]
        if config.variant.startswith("pb") and not config.background:
            suffix = "_nobg"
        start = "training" if config.split == "train" else "test"
        path = root / f"{config.fold}{suffix}" / f"{start}_{end}"
        arrays = read_h5(path, ARRAYS)
        for name in ARRAYS:
            if name not in arrays:
                raise ValueError(f"{path} holds no {name!r}; it is no file of ScanObjectNN")
        label = arrays["label"].astype("int64")
        if (label != arrays["label"]).any():
            raise ValueError(f"{path}: label holds numbers that are not whole")
        names = [f"{config.fold}{suffix}/{path.stem}/{row:05d}" for row in range(len(label))]
        file = ArrayFile(path, names, arrays["data"], label)
        return ArrayShapeSet([file], CLASSES, up=(0.0, 1.0, 0.0))
