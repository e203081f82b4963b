"""Weights on disk: safetensors that are checked before they are read, and never a pickle."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pcpt.data.json_object import parse_json

# What torch.save writes: a zip archive, or a bare pickle in old versions.
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_LFS_MAGIC = b"version https://git-lfs"
_LENGTH_BYTES = 8  # little-endian length of the JSON header that follows
_MAX_HEADER = 100_000_000  # limit of the format
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle, a Git LFS pointer, a file of another kind, or one whose size is not
            what its header announces. Nothing of such a file is loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such weights file: {path}")
    _check_container(path)
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a valid safetensors file: {error}") from error


def write_safetensors(path: str | os.PathLike[str], tensors: dict[str, Tensor]) -> None:
    """Writes tensors, whatever their device, and has them on the disk when it returns.

    Raises:
        ValueError: a tensor holds nan or inf, as those of a diverged run do.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{name} holds nan or inf, so {path} is not written; export an earlier checkpoint"
            )
    plain = {
        # clone: tensors that share storage cannot be written
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in tensors.items()
    }
    with open(path, "wb") as file:  # save_file would make it readable by its owner only
        file.write(save(plain, metadata={"format": "pt"}))
        file.flush()
        os.fsync(file.fileno())


def compare_state(
    expected: dict[str, Tensor], found: dict[str, Tensor], source: str | os.PathLike[str]
) -> None:
    """Checks that ``found`` has the names and shapes of ``expected``.

    Raises:
        ValueError: lists what is missing, what is unexpected and which shapes differ.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    differing = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems = [
        f"{title} ({len(names)}): {_shorten(names)}"
        for title, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", differing),
        )
        if names
    ]
    if problems:
        raise ValueError(
            f"{source} does not fit this network; tensors {'; '.join(problems)}. "
            "The weights belong to another architecture or config"
        )


def refuse_pickle(path: Path) -> None:
    """Raises ValueError when ``path`` is named or begins like a pickle."""
    with open(path, "rb") as file:
        head = file.read(len(_LFS_MAGIC))
    begins_so = head.startswith(_PICKLE_MAGIC) and not _announces_header(head)
    if path.suffix in PICKLE_SUFFIXES or begins_so:
        raise ValueError(
            f"{path} is a pickle, which can run any code when it is loaded: refused. Weights are "
            "read from safetensors only; make them from a run of your own with tools/export.py"
        )


def _announces_header(head: bytes) -> bool:
    """Whether a file begins with the length of a JSON header and its brace. The first byte of one
    length in 32 is a pickle's; what is taken for safetensors is never unpickled."""
    length = int.from_bytes(head[:_LENGTH_BYTES], "little")
    return length <= _MAX_HEADER and head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"


def _shorten(names: list[str], most: int = 6) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _check_container(path: Path) -> None:
    refuse_pickle(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(len(_LFS_MAGIC))
        if head == _LFS_MAGIC:
            raise ValueError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull`")
        header_size = int.from_bytes(head[:_LENGTH_BYTES], "little")
        file.seek(_LENGTH_BYTES)
        begin = file.read(1)
        if size >= _LENGTH_BYTES and (header_size > _MAX_HEADER or begin not in (b"{", b"")):
            raise ValueError(f"{path} is not a safetensors file: it begins with {head[:8]!r}")
        file.seek(_LENGTH_BYTES)
        text = file.read(header_size)
    if size < _LENGTH_BYTES + header_size or not text:
        raise ValueError(
            f"{path} is truncated: it has {size} bytes, its header alone takes "
            f"{_LENGTH_BYTES + max(header_size, 2)}; copy or export it again"
        )
    expected = _LENGTH_BYTES + header_size + _payload(text, path)
    if size != expected:
        state = "truncated" if size < expected else "longer than it should be"
        raise ValueError(
            f"{path} is {state}: it has {size} bytes, its header announces {expected}; "
            "copy or export it again"
        )


def _payload(text: bytes, path: Path) -> int:
    """Bytes of tensor data that a header announces."""
    try:
        entries = parse_json(text, path)
        ends = [e["data_offsets"][1] for name, e in entries.items() if name != "__metadata__"]
        return max((int(end) for end in ends), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is not a safetensors file: its header is broken") from error
