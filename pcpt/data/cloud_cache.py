"""Clouds kept between runs where reading the original takes long: one safetensors file each, which
appears whole or not at all, and is used only if it is unharmed and made from the same files."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)


def fingerprint(paths: Iterable[Path], version: str) -> str:
    """A hash of the names, sizes and times of files, and of the version of what reads them."""
    described = [(path.name, (status := path.stat()).st_size, status.st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([version, described]).encode()).hexdigest()


def load_cached(path: Path, made_from: str) -> tuple[dict[str, Tensor], str] | None:
    """The tensors and the note in a cache file, or None.

    Args:
        path: of the file.
        made_from: the ``fingerprint`` it must bear.

    Returns:
        None if there is no such file, it was made from other files, or its checksum is wrong; the
        last is logged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            head = file.metadata() or {}
            if head.get("made_from") != made_from:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        logger.warning("cache %s cannot be read and is made anew: %s", path, error)
        return None
    if head.get("sha256") != _checksum(tensors, head.get("note", "")):
        logger.warning("cache %s has a wrong checksum and is made anew", path)
        return None
    return tensors, head.get("note", "")


def save_cached(path: Path, tensors: dict[str, Tensor], note: str, made_from: str) -> None:
    """Writes a cache file; where that fails (no space, no permission) a warning is all.

    Args:
        path: of the file; its folder is made.
        tensors: what to keep.
        note: text to keep with them.
        made_from: the ``fingerprint`` of the original.
    """
    head = {"made_from": made_from, "note": note, "sha256": _checksum(tensors, note)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".cache-") as folder:
            partial = Path(folder) / path.name
            save_file(tensors, str(partial), metadata=head)
            os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        logger.warning("cache %s was not written: %s", path, error)


def _checksum(tensors: dict[str, Tensor], note: str) -> str:
    digest = hashlib.sha256(note.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
