"""prepared.json: what a prepared scan was made of and with, and the checksum of its every file. It
is written before the folder gets its name, so a folder without it was not made by ``prepare``."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pcpt.data.json_object import JsonObject, read_json, stays_inside

RECORD = "prepared.json"
VERSION = 1


def sha256_of(path: Path) -> str:
    """Hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> Iterator[str]:
    """All files of a folder but its record, relative, sorted."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name != RECORD:
            yield name


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and SHA-256 of every file of a folder, by path."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in files_below(folder)
    }


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a prepared scan.

    Raises:
        ValueError: none there, or one that ``prepare`` did not write; names file and key.
    """
    path = folder / RECORD
    if not path.is_file():
        raise ValueError(f"{folder} has no {RECORD}: it is no prepared scan")
    record = JsonObject(read_json(path), path, "")
    if record.get("version") != VERSION:
        raise record.error("version", record.get("version"), f"{VERSION}")
    record.text("scan")
    record.text("settings_sha256")
    record.text("recording_sha256")
    record.whole("frames")
    files = JsonObject(record.get("files"), path, "files")
    for name in files.fields:
        entry = JsonObject(files.get(name), path, files.key(name))
        entry.text("sha256")
        if not stays_inside(name) or not isinstance(entry.get("bytes"), int):
            raise files.error(name, entry.fields, "a path inside the scan, with bytes and sha256")
    for key in ("settings", "skipped", "doctor"):
        JsonObject(record.get(key), path, key)
    return record.fields


def looks_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether every file of the record is there with its size; contents are for ``--verify``."""
    for name, entry in record["files"].items():
        try:
            if (folder / name).stat().st_size != entry["bytes"]:
                return False
        except OSError:
            return False
    return True
