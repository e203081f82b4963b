"""Where the members of a tar file lie, from its headers alone: contents are sought past, not read.

Shards of pcpt are plain POSIX (ustar) archives of files. Everything else that tar knows, such as
links, devices and headers that change the next one's meaning, is refused by name.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pcpt.data.json_object import stays_inside

BLOCK = 512
LISTING = "__pcpt__/shard.json"  # webdataset passes over folders in double underscores
SHARD_NAME = re.compile(r"[0-9]{6,}\.tar")
SHARD_PART = re.compile(r"\.[0-9]{6,}\.tar\.[0-9]+\.part")  # of a shard that is being written
SHARD_INDEX = "index.json"  # beside shards
_MAGIC = (b"ustar\x0000", b"ustar  \x00")  # POSIX, and what GNU tar writes


@dataclass(frozen=True, slots=True)
class Member:
    """A file's bytes in a tar file: the first one's place, and how many."""

    offset: int
    size: int


def holds_shards(folder: Path) -> bool:
    """Whether shards of pcpt lie in a folder and nothing else."""
    names = {path.name for path in folder.iterdir()} - {SHARD_INDEX}
    return bool(names) and all(
        SHARD_NAME.fullmatch(name) or SHARD_PART.fullmatch(name) for name in names
    )


def read_tar_index(path: Path) -> dict[str, Member]:
    """The files in a tar file, by name, in order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: cut short, damaged, or holding what a shard does not: a size that reaches beyond
            the end, a name that leaves its folder or comes twice, a link. Names file and byte.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such shard: {path}")
    end = path.stat().st_size
    members: dict[str, Member] = {}
    with path.open("rb", buffering=0) as file:
        offset = 0
        while True:
            header = _header(file, path, offset)
            if not any(header):
                return members
            name, member = _member(header, path, offset)
            if member.offset + member.size > end:
                raise ValueError(
                    f"{path}: {name!r} at byte {offset} is of {member.size} bytes, but the file "
                    f"ends at byte {end}; it was cut short, copy it again"
                )
            if name in members:
                raise ValueError(f"{path}: {name!r} at byte {offset} comes twice")
            if header[156:157] != b"5":
                members[name] = member
            offset = member.offset + -(-member.size // BLOCK) * BLOCK


def _header(file: BinaryIO, path: Path, offset: int) -> bytes:
    file.seek(offset)
    header = file.read(BLOCK)
    if len(header) < BLOCK:
        raise ValueError(
            f"{path}: ends at byte {offset + len(header)} without the two empty blocks that close "
            "a tar file; it was cut short, copy it again"
        )
    return header


def _member(header: bytes, path: Path, offset: int) -> tuple[str, Member]:
    """Name and place of the file whose header is at ``offset``."""
    total = _octal(header[148:156])
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != total:
        raise ValueError(
            f"{path}: the header at byte {offset} is damaged (its checksum is wrong); copy the "
            "file again"
        )
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:265] == _MAGIC[0] else ""
    name = f"{prefix}/{name}" if prefix else name
    kind, size = header[156:157], _octal(header[124:136])
    if header[257:265] not in _MAGIC or kind not in (b"0", b"\0", b"5") or size is None:
        raise ValueError(
            f"{path}: {name!r} at byte {offset} is of kind {kind!r}, expected plain files of less "
            "than 8 GB; pack with tar --format=ustar"
        )
    if not name or not stays_inside(name):
        raise ValueError(f"{path}: {name!r} at byte {offset} is no path inside the archive")
    if kind == b"5" and size:
        raise ValueError(f"{path}: the folder {name!r} at byte {offset} is of {size} bytes")
    return name, Member(offset + BLOCK, size)


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="replace")
