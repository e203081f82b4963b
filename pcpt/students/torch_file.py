"""Checkpoints that others wrote with ``torch.save``, read without running anything they hold.

``torch.load(weights_only=True)`` builds tensors and plain values and refuses every other object.
Files of the usual zoos keep their training options beside the weights, which would be reason enough
to refuse them all (PointContrast's pretraining files hold an OmegaConf tree). So the names of such
option holders, and of nothing else, are given to torch as a class of ours that drops what it gets:
neither OmegaConf nor numpy is called, nor need they be installed.
"""

import io
import mmap
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MAX_BYTES = 8 << 30  # the largest networks read here take 0.5 GiB with their optimizer
_MAX_PICKLE = 256 << 20  # of that, names and shapes
_LEGACY_PICKLES = 4  # magic number, protocol, system, object
_STATE_KEYS = ("state_dict", "model_state_dict", "model", "net", "weights")
# Holders of options and figures. Their contents are dropped, their code is never run.
_DROPPED_MAPPING = re.compile(
    r"collections\.defaultdict|easydict\.EasyDict|yacs\.config\.CfgNode|builtins\.dict"
)
# What torch itself builds, or refuses by a list of its own.
_TORCH = re.compile(
    r"torch(\.\w+)+|collections\.(OrderedDict|Counter)|_codecs\.encode"
    r"|builtins\.(set|bytearray|complex)"
)
_DROPPED = re.compile(
    r"omegaconf(\.\w+)+|argparse\.Namespace|typing\.\w+"
    r"|numpy\.(dtype|ndarray|_?core\.multiarray\.(scalar|_reconstruct))"
    r"|builtins\.(list|tuple|int|float|bool|str|object)"
)


class _RefusedError(ValueError):
    """Says what is wrong with a file."""


class _Dropped:
    """Stands in for an object whose contents do not matter."""

    def __new__(cls, *arguments: Any) -> "_Dropped":
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _DroppedMapping:
    """The same for an object that is filled like a dict."""

    def __new__(cls, *arguments: Any) -> Any:
        return OrderedDict()


def read_torch_file(path: Path) -> Any:
    """What ``torch.save`` wrote, in its format of today or of before 1.6, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated or damaged, larger than ``MAX_BYTES``, compressed, tensors larger than
            their data, or Python objects other than the option holders above. Nothing of such a
            file is run, and nothing larger than the file is allocated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such weights file: {path}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes, expected at most {MAX_BYTES}; is it weights?")
    names = _inspect(path, size)
    dropped = {name: _stand_in(name) for name in names if not _TORCH.fullmatch(name)}
    foreign = sorted(name for name, stand_in in dropped.items() if stand_in is None)
    if foreign:
        raise ValueError(
            f"{path} holds Python objects ({', '.join(foreign[:6])}), which could run code when "
            "loaded; refused. Where you trust it, write its tensors alone: "
            "torch.save({'state_dict': model.state_dict()}, PATH)"
        )
    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in dropped.items()]
    try:
        with torch.serialization.safe_globals(stand_ins):
            tree = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        lines = [line.strip() for line in str(error).splitlines() if "rror:" in line]
        reason = (lines or [type(error).__name__])[0]
        raise ValueError(
            f"{path} is no plain file of weights; refused, since what it holds could run code when "
            f"loaded ({reason})"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged ({reason}); copy or download it again") from None
    return tree


def find_state_dict(tree: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name within what a training script saved.

    Args:
        tree: the state dict itself, or a dict that holds it as "state_dict", "model" or the like.
        path: for messages.

    Raises:
        ValueError: no such dict; or tensors that are not plain and dense, or larger than the data
            behind them.
    """
    found = _tensors(tree)
    for key in (*_STATE_KEYS, *_STATE_KEYS):  # twice: the entry may itself hold one
        if isinstance(tree, Mapping) and isinstance(tree.get(key), Mapping):
            tree = tree[key]
            found = _tensors(tree) or found
    if not found:
        raise ValueError(
            f"{path} holds no weights by name (looked for {', '.join(_STATE_KEYS)} and at the top)"
        )
    for name, tensor in found.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized:
            raise ValueError(f"{path}: {name} is no plain dense tensor; save the network in float")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{path}: {name} claims shape {tuple(tensor.shape)}, more than the file holds"
            )
    return found


def _tensors(tree: Any) -> dict[str, Tensor]:
    if not isinstance(tree, Mapping):
        return {}
    return {str(key): v.detach() for key, v in tree.items() if isinstance(v, Tensor)}


def _stand_in(name: str) -> Any:
    """What torch is told that ``name`` means; None for what is refused."""
    if _DROPPED_MAPPING.fullmatch(name):
        return _DroppedMapping
    return _Dropped if _DROPPED.fullmatch(name) else None


def _inspect(path: Path, size: int) -> set[str]:
    """Names of all objects that the file's pickles mention; reads them without executing them."""
    try:
        if zipfile.is_zipfile(path):
            return _inspect_zip(path, size)
        with path.open("rb") as file:
            head = file.read(2)
            if head[:1] != b"\x80":
                truncated = head == b"PK" or size == 0
                state = "is truncated" if truncated else f"begins with {head!r}, not as torch.save"
                raise _RefusedError(f"{path} {state} ({size} bytes); copy or download it again")
            names: set[str] = set()
            # mapped: a read of more than there is must not allocate it
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                for _ in range(_LEGACY_PICKLES):
                    names |= _names(mapped, size, path)
            return names
    except _RefusedError:
        raise
    except Exception as error:  # whatever damaged bytes happen to mean to zipfile or pickletools
        raise ValueError(f"{path} is damaged ({error}); copy or download it again") from None


def _inspect_zip(path: Path, size: int) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > size or any(
            entry.compress_type != zipfile.ZIP_STORED for entry in entries
        ):
            raise _RefusedError(
                f"{path} is compressed or announces more data than it holds; torch.save does not "
                "write such files: refused"
            )
        broken = archive.testzip()
        if broken is not None:
            raise OSError(f"wrong checksum of {broken}")
        pickles = [e for e in entries if e.filename.endswith(".pkl")]
        if sum(entry.file_size for entry in pickles) > _MAX_PICKLE:
            raise _RefusedError(f"{path}: the list of its tensors has over {_MAX_PICKLE} bytes")
        if not any(entry.filename.endswith("data.pkl") for entry in pickles):
            raise _RefusedError(f"{path} is a zip archive, but not one of torch.save's")
        names: set[str] = set()
        for entry in pickles:
            names |= _names(io.BytesIO(archive.read(entry)), size, path)
        return names


def _names(file: io.BytesIO | mmap.mmap, size: int, path: Path) -> set[str]:
    """Names in one pickle; refuses storages that are larger than the whole file."""
    names = set()
    recent: list[int | None] = []  # operands that are whole numbers
    for operation, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
        opcode = operation.name
        if opcode in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
            raise _RefusedError(
                f"{path} holds Python objects in a form ({opcode}) that torch.save does not write; "
                "refused, since they could run code when loaded"
            )
        if opcode == "GLOBAL":
            name = str(argument).replace(" ", ".")
            name = re.sub(r"^__builtin__\.", "builtins.", name)  # as protocol 2 spells it
            names.add("builtins.int" if name == "builtins.long" else name)
        if opcode == "BINPERSID":
            number = next((n for n in reversed(recent) if n is not None), None)
            if number is None:
                raise _RefusedError(
                    f"{path} holds Python objects in place of tensors, which could run code when "
                    "loaded, or is damaged: refused"
                )
            if not 0 <= number <= size:
                raise _RefusedError(
                    f"{path} announces {number} numbers in one tensor and has {size} bytes; "
                    "damaged or made to exhaust memory: refused"
                )
        if "PUT" not in opcode and opcode != "MEMOIZE":  # their arguments are no data
            is_number = opcode.startswith(("BININT", "LONG"))
            recent = [*recent[-3:], argument if is_number else None]
    return names
