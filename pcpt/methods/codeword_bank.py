"""What a teacher says of the views of shapes, and what these views show: computed once for each
shape, kept in memory and, for the teacher's codewords, on disk."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcpt.data.cloud_cache import load_cached, save_cached
from pcpt.data.shape_batch import ShapeBatch
from pcpt.data.shape_dataset import Shapes
from pcpt.data.shape_views import ShapeViews, ViewedDataConfig, whole_shape
from pcpt.data.splits import SPLITS
from pcpt.teachers.weights_hash import weights_hash

PICTURES_AT_ONCE = 64
VERSION = 3  # of how the teacher is asked: raised when that changes, so that caches are made anew
_log = logging.getLogger(__name__)


class CodewordBank:
    """Codewords and visibility of the unaugmented shapes of all splits.

    Both are in the frame of the shape itself, so they hold whatever augmentation does to a sample:
    its cameras are turned, scaled and moved along with it. Codewords are kept as half floats.

    Shapes of two splits may have one name. Whoever asks by names alone is only answered where there
    are no such shapes.

    Args:
        data: whose shapes, and from where they are seen.
        folder: where codewords are kept between runs; empty keeps them in memory alone.

    Attributes:
        views: the cameras.
    """

    def __init__(self, data: ViewedDataConfig, folder: str = "") -> None:
        self.data = replace(data, limit=1.0)
        self.views = ShapeViews(data.views)
        self.folder = Path(folder).expanduser() if folder else None
        self._opened: dict[str, Shapes] = {}
        self._splits: dict[str, str] = {}  # by name, for those who do not say the split
        self._visible: dict[tuple[str, str], tuple[np.ndarray, int]] = {}  # by split and name
        self._codewords: dict[tuple[str, str], Tensor] = {}
        self._key = ""

    def visible(self, batch: ShapeBatch) -> Tensor:
        """(B, V, N) bool: which points of each sample the views of its shape show, judged among all
        points of the shape."""
        rows = []
        numbers = batch.point_number.cpu()
        for name, split, number in zip(batch.names, batch.splits, numbers, strict=True):
            home = self._home(name, split)
            if home not in self._visible:
                seen = self.views.visible(whole_shape(self.split(home[0]), name)).cpu().numpy()
                self._visible[home] = (np.packbits(seen, axis=1), seen.shape[1])
            packed, count = self._visible[home]
            seen = np.unpackbits(packed, axis=1, count=count).astype(bool)
            rows.append(torch.from_numpy(seen)[:, number])
        return torch.stack(rows).to(batch.points.device)

    def codewords(self, names: Sequence[str], teacher: Any, splits: Sequence[str] = ()) -> Tensor:
        """(B, V, D) float32, in the order of the cameras, on the CPU.

        Args:
            names: of the shapes.
            teacher: frozen; must be the same in all calls.
            splits: of each shape, as in ``ShapeBatch``; empty looks for the names in all splits.

        Raises:
            ValueError: no split is given, and no split has a shape of that name, or any two splits
                have shapes of one name.
        """
        homes = [self._home(*key) for key in zip(names, splits or [""] * len(names), strict=True)]
        for home in homes:
            if home not in self._codewords:
                self._codewords[home] = self._learn(*home, teacher)
        return torch.stack([self._codewords[home].float() for home in homes])

    def _learn(self, split: str, name: str, teacher: Any) -> Tensor:
        """(V, D) of one shape, from disk or from the teacher.

        The teacher sees one shape at a time: in the last bits its answer depends on how many
        pictures it is shown, and a resumed run asks for other shapes together.
        """
        surface = self.views.surface(self.split(split), name)
        made_from = self._made_from(surface, teacher) if self.folder else ""
        codewords = self._read(split, name, made_from)
        if codewords is None:
            codewords = codewords_of(teacher, self.views.pictures(*surface)).half().cpu()
            self._write(split, name, codewords, made_from)
        return codewords

    def pictures(self, name: str, split: str = "") -> Tensor:
        """(V, 3, H, W) uint8 pictures of a shape; arguments and errors as of ``codewords``."""
        split, name = self._home(name, split)
        return self.views.pictures(*self.views.surface(self.split(split), name))

    def split(self, split: str) -> Shapes:
        """The unaugmented shapes of a split, unlimited."""
        if split not in self._opened:
            self._opened[split] = Shapes(self.data, split, 0, training=False)
        return self._opened[split]

    def _home(self, name: str, split: str) -> tuple[str, str]:
        """The split that a shape's views are kept under, and its name. Shapes of a "val" that is
        cut out of "train" are kept with the others, so that runs that cut it otherwise share them.
        """
        split = split or self._split_of(name)
        return ("train" if split == "val" and self.data.cuts_val() else split), name

    def _split_of(self, name: str) -> str:
        """The split that has a shape of this name; raises ``ValueError``, see ``codewords``."""
        if not self._splits:
            self._splits = self._learn_names()
        if name not in self._splits:
            raise ValueError(f"no split of {self.data.source.name!r} has a shape {name!r}")
        return self._splits[name]

    def _learn_names(self) -> dict[str, str]:
        splits: dict[str, str] = {}
        for split in SPLITS:
            try:
                names = self.split(split).names
            except (FileNotFoundError, ValueError):
                continue  # not every source has all splits; a shape of none will be told
            for name in names:
                if name in splits:
                    raise ValueError(
                        f"{self.data.source.name!r} has a shape {name!r} in two splits, whose "
                        "views cannot be told apart by name; say the split of each shape, or give "
                        "the shapes names of their own"
                    )
                splits[name] = split
        return splits

    def _made_from(self, surface: tuple[Tensor, Tensor | None], teacher: Any) -> str:
        """A hash of all that codewords follow from: teacher, cameras, drawing and the shape."""
        if not self._key:
            self._key = f"{weights_hash(teacher)} {self.views.fingerprint()} {VERSION}"
        digest = hashlib.sha256(self._key.encode())
        for tensor in surface:
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _path(self, split: str, name: str) -> Path:
        assert self.folder is not None
        # the teacher in the folder's name, so that several share one cache without undoing it
        place = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        file = hashlib.sha256(json.dumps([split, name]).encode()).hexdigest()[:32]
        return self.folder / place / file[:2] / f"{file}.safetensors"

    def _read(self, split: str, name: str, made_from: str) -> Tensor | None:
        if self.folder is None:
            return None
        path = self._path(split, name)
        found = load_cached(path, made_from)
        if found is not None and set(found[0]) == {"codewords"}:
            return found[0]["codewords"]
        if path.is_file():
            _log.warning("codewords of %s in %s are stale or damaged; made anew", name, path)
        return None

    def _write(self, split: str, name: str, codewords: Tensor, made_from: str) -> None:
        if self.folder is not None:
            kept = {"codewords": codewords.contiguous()}
            save_cached(self._path(split, name), kept, name, made_from)


@torch.no_grad()
def codewords_of(teacher: Any, pictures: Tensor) -> Tensor:
    """(I, D) codewords of pictures (I, 3, H, W) uint8: the teacher's own where it has any, else the
    mean over its feature map."""
    device = next(iter(teacher.state_dict().values())).device
    seen = []
    own = hasattr(teacher, "codewords")
    with torch.autocast(device.type, enabled=False):  # the same whatever precision students have
        for part in pictures.split(PICTURES_AT_ONCE):
            part = part.to(device)
            seen.append(teacher.codewords(part) if own else teacher(part).mean((2, 3)))
    return torch.cat(seen)


def codeword_channels(teacher: Any) -> int:
    """D of ``codewords_of``."""
    return int(teacher.codeword_channels if hasattr(teacher, "codewords") else teacher.channels)
