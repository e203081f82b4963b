"""ModelNet40 as PointNet distributes it (Qi et al., CVPR 2017): clouds of 2,048 points in HDF5."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pcpt.choices import check_choice
from pcpt.data.array_shapes import ArrayFile, ArrayShapeSet
from pcpt.data.h5_arrays import read_h5
from pcpt.data.scan_list import MAX_BYTES, read_scan_list
from pcpt.data.shape_files import root_folder
from pcpt.registry import register

ARRAYS = {"data": ("f", 3), "label": ("iu", 2), "normal": ("f", 3)}


@register("datasets", "modelnet_h5")
class ModelNetH5:
    """Folder ``modelnet40_ply_hdf5_2048``: ``ply_data_train*.h5`` and ``ply_data_test*.h5``.

    Files hold ``data`` (S, 2048, 3), ``label`` (S, 1) and, in most releases, ``normal``. Shapes are
    named after the file and their row: the release has no names of its own. y is up.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder.
        split: train or test.
        """

        name: str = "modelnet_h5"
        root: str = ""
        split: str = "train"

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: a split that there is not.
        """
        check_choice("split", config.split, ("train", "test"))
        self.config = config

    def open(self) -> ArrayShapeSet:
        """Reads the files of the split: 50 MB for every 2,048 shapes, twice with normals.

        Raises:
            ModuleNotFoundError: h5py is not installed.
            FileNotFoundError: root, a listed file or ``shape_names.txt`` is not there.
            ValueError: a damaged file.
        """
        root = root_folder("modelnet_h5", self.config.root)
        classes = read_scan_list(root / "shape_names.txt")
        files = [_read(path) for path in _files(root, self.config.split)]
        return ArrayShapeSet(files, classes, up=(0.0, 1.0, 0.0))


def _files(root: Path, split: str) -> list[Path]:
    """Those that train_files.txt lists, which are paths on the machine of its authors; without the
    list all of the split."""
    listed = root / f"{split}_files.txt"
    if listed.is_file():
        if listed.stat().st_size > MAX_BYTES:
            raise ValueError(f"{listed} has more than {MAX_BYTES} bytes: it is no list")
        words = listed.read_bytes().decode("utf-8-sig", errors="replace").split()
        files = [root / PurePosixPath(word).name for word in words]
    else:
        files = sorted(root.glob(f"ply_data_{split}*.h5"))
    if not files:
        raise FileNotFoundError(
            f"modelnet_h5: {root} has no ply_data_{split}*.h5; unpack "
            "modelnet40_ply_hdf5_2048.zip there"
        )
    return files


def _read(path: Path) -> ArrayFile:
    arrays = read_h5(path, ARRAYS)
    for name in ("data", "label"):
        if name not in arrays:
            raise ValueError(f"{path} holds no {name!r}; it is no file of modelnet40_ply_hdf5_2048")
    label = arrays["label"].reshape(-1)
    names = [f"{path.stem}/{row:04d}" for row in range(len(label))]
    return ArrayFile(path, names, arrays["data"], label.astype("int64"), arrays.get("normal"))
