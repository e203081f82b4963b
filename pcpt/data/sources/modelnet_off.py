"""ModelNet10 and ModelNet40 as Princeton distributes them (Wu et al., CVPR 2015): OFF meshes, from
whose surfaces points are drawn."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pcpt.choices import check_choice, check_minimum
from pcpt.data.cloud_cache import fingerprint, load_cached, save_cached
from pcpt.data.file_names import names_of_files
from pcpt.data.off import read_off
from pcpt.data.shape import Shape, ShapeSet
from pcpt.data.shape_files import root_folder
from pcpt.data.surface import sample_surface, seeded
from pcpt.registry import register

SPLITS = ("train", "test")
READER_VERSION = "modelnet_off 1"  # of what is kept in the cache: change it with the reader


@register("datasets", "modelnet_off")
class ModelNetOff:
    """Folder ``ModelNet10``: ``chair/train/chair_0001.off``. z is up.

    A shape's name is its file's, with the folders before it where several files are called alike.
    Points are drawn evenly over the surface, inner faces too; which ones depends on the shape's
    name, ``seed`` and ``surface_points`` alone. Normals are the triangles', whose sense is as
    unreliable as the models'.
    """

    @dataclass
    class Config:
        """Attributes:
        root: the folder of class folders.
        split: train or test.
        classes: class folders to read; empty takes all that have any split, sorted by name, as
            the benchmark counts.
        surface_points: drawn on each shape.
        seed: of the points.
        cache: folder for drawn points; empty reads the mesh each time. Points are drawn again when
            the mesh or an option changes.
        """

        name: str = "modelnet_off"
        root: str = ""
        split: str = "train"
        classes: list[str] = field(default_factory=list)
        surface_points: int = 8192
        seed: int = 0
        cache: str = ""

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: an option that cannot be.
        """
        check_choice("split", config.split, SPLITS)
        check_minimum("surface_points", config.surface_points, 1)
        self.config = config

    def open(self) -> "ModelNetOffSet":
        """The shapes of the split; none is read yet.

        Raises:
            FileNotFoundError: root is no folder, or has no meshes of the split.
            ValueError: meshes that cannot be told apart by name.
        """
        return ModelNetOffSet(root_folder("modelnet_off", self.config.root), self.config)


class ModelNetOffSet(ShapeSet):
    """What ``ModelNetOff`` opens."""

    has_normals = True

    def __init__(self, root: Path, config: ModelNetOff.Config) -> None:
        self._config = config
        # of any split: a class that this one lacks must not renumber the others
        found = [path.name for path in sorted(root.iterdir()) if _has_splits(path)]
        self.classes = tuple(config.classes or found)
        listed: list[tuple[Path, int]] = []
        for label, name in enumerate(self.classes):
            folder = root / name / config.split
            files = sorted(folder.glob("*.off"))
            if not files and (config.classes or folder.is_dir()):
                raise FileNotFoundError(f"modelnet_off: {folder} holds no .off files")
            listed += [(path, label) for path in files]
        if not listed:
            raise FileNotFoundError(f"modelnet_off: {root} holds no CLASS/{config.split}/*.off")
        self.names = names_of_files(root, [path for path, _ in listed])
        self._files = dict(zip(self.names, listed, strict=True))

    def _file(self, name: str) -> tuple[Path, int]:
        if name not in self._files:
            raise ValueError(f"modelnet_off has no shape {name!r}; its names lists them")
        return self._files[name]

    def label_of(self, name: str) -> int:
        return self._file(name)[1]

    def mesh(self, name: str) -> tuple[Tensor, Tensor]:
        vertices, faces = read_off(self._file(name)[0])
        return torch.from_numpy(vertices), torch.from_numpy(faces)

    def load(self, name: str) -> Shape:
        path, label = self._file(name)
        config = self._config
        if not config.cache:
            return Shape(name, *self._sampled(path, name), label=label)
        kept = Path(config.cache).expanduser() / f"{name}_{config.surface_points}.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; unpack the data set again")
        version = f"{READER_VERSION}, {config.surface_points} points, seed {config.seed}"
        made_from = fingerprint([path], version)
        cached = load_cached(kept, made_from)
        if cached is not None:
            return Shape(name, cached[0]["points"], cached[0]["normals"], label)
        points, normals = self._sampled(path, name)
        save_cached(kept, {"points": points, "normals": normals}, "", made_from)
        return Shape(name, points, normals, label)

    def _sampled(self, path: Path, name: str) -> tuple[Tensor, Tensor]:
        vertices, faces = read_off(path)
        count, random = self._config.surface_points, seeded("points", self._config.seed, name)
        try:
            points, normals, _ = sample_surface(vertices, faces, count, random)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return torch.from_numpy(points), torch.from_numpy(normals)


def _has_splits(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in SPLITS)
