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

PICTURES_AT_ONCE = 64
VERSION = 2  # of how the teacher is asked: raised when that changes, so that caches are made anew
_log = logging.getLogger(__name__)


class CodewordBank:
    """Codewords and visibility of the unaugmented shapes of all splits.

    Both are in the frame of the shape itself, so they hold whatever augmentation does to a sample:
    its cameras are turned, scaled and moved along with it. Codewords are kept as half floats.

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
        self._home: dict[str, Shapes] = {}
        self._known: set[str] = set()  # splits whose names are in _home
        self._visible: dict[str, tuple[np.ndarray, int]] = {}
        self._codewords: dict[str, Tensor] = {}
        self._key = ""

    def visible(self, batch: ShapeBatch) -> Tensor:
        """(B, V, N) bool: which points of each sample the views of its shape show, judged among all
        points of the shape."""
        rows = []
        for name, number in zip(batch.names, batch.point_number.cpu(), strict=True):
            if name not in self._visible:
                seen = self.views.visible(whole_shape(self._shapes(name), name)).cpu().numpy()
                self._visible[name] = (np.packbits(seen, axis=1), seen.shape[1])
            packed, count = self._visible[name]
            seen = np.unpackbits(packed, axis=1, count=count).astype(bool)
            rows.append(torch.from_numpy(seen)[:, number])
        return torch.stack(rows).to(batch.points.device)

    def codewords(self, names: Sequence[str], teacher: Any) -> Tensor:
        """(B, V, D) float32, in the order of the cameras, on the CPU.

        Args:
            names: of the shapes.
            teacher: frozen; must be the same in all calls.
        """
        for name in names:
            if name not in self._codewords:
                self._codewords[name] = self._learn(name, teacher)
        return torch.stack([self._codewords[name].float() for name in names])

    def _learn(self, name: str, teacher: Any) -> Tensor:
        """(V, D) of one shape, from disk or from the teacher.

        The teacher sees one shape at a time: in the last bits its answer depends on how many
        pictures it is shown, and a resumed run asks for other shapes together.
        """
        surface = self.views.surface(self._shapes(name), name)
        made_from = self._made_from(surface, teacher) if self.folder else ""
        codewords = self._read(name, made_from)
        if codewords is None:
            codewords = codewords_of(teacher, self.views.pictures(*surface)).half().cpu()
            self._write(name, codewords, made_from)
        return codewords

    def pictures(self, name: str) -> Tensor:
        """(V, 3, H, W) uint8 pictures of a shape."""
        return self.views.pictures(*self.views.surface(self._shapes(name), name))

    def split(self, split: str) -> Shapes:
        """The unaugmented shapes of a split, unlimited."""
        if split not in self._opened:
            self._opened[split] = Shapes(self.data, split, 0, training=False)
        return self._opened[split]

    def _shapes(self, name: str) -> Shapes:
        """The split that a shape is of.

        Raises:
            ValueError: a name of two splits, or of none.
        """
        for split in SPLITS:
            if name not in self._home and split not in self._known:
                self._known.add(split)
                self._learn_names(split)
        if name not in self._home:
            raise ValueError(f"no split of {self.data.source.name!r} has a shape {name!r}")
        return self._home[name]

    def _learn_names(self, split: str) -> None:
        try:
            shapes = self.split(split)
        except (FileNotFoundError, ValueError):
            return  # not every source has all splits; a shape of none will be told
        for name in shapes.names:
            if name in self._home:
                raise ValueError(
                    f"{self.data.source.name!r} has a shape {name!r} in two splits, whose views "
                    "could not be told apart; give the shapes names of their own"
                )
            self._home[name] = shapes

    def _made_from(self, surface: tuple[Tensor, Tensor | None], teacher: Any) -> str:
        """A hash of all that codewords follow from: weights, cameras, drawing and the shape."""
        if not self._key:
            self._key = f"{weights_hash(teacher)} {self.views.fingerprint()} {VERSION}"
        digest = hashlib.sha256(self._key.encode())
        for tensor in surface:
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        # the teacher in the folder's name, so that several share one cache without undoing it
        place = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        file = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self.folder / place / file[:2] / f"{file}.safetensors"

    def _read(self, name: str, made_from: str) -> Tensor | None:
        if self.folder is None:
            return None
        path = self._path(name)
        found = load_cached(path, made_from)
        if found is not None and set(found[0]) == {"codewords"}:
            return found[0]["codewords"]
        if path.is_file():
            _log.warning("codewords of %s in %s are stale or damaged; made anew", name, path)
        return None

    def _write(self, name: str, codewords: Tensor, made_from: str) -> None:
        if self.folder is not None:
            save_cached(self._path(name), {"codewords": codewords.contiguous()}, name, made_from)


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


def weights_hash(teacher: torch.nn.Module) -> str:
    """A hash of a network's class, weights and buffers, the same on every device."""
    digest = hashlib.sha256(type(teacher).__qualname__.encode())
    # what may differ between networks of the same weights
    layout = [getattr(teacher, key, None) for key in ("channels", "stride", "offset")]
    digest.update(json.dumps(layout).encode())
    for name, tensor in sorted(teacher.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        head = json.dumps([name, str(values.dtype), list(values.shape)])
        digest.update(head.encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
