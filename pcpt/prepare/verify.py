"""Hashes everything that was prepared again, and names what is not as it was written."""

from collections.abc import Iterator
from pathlib import Path

from pcpt.data.json_object import JsonObject, read_json
from pcpt.data.tar_index import SHARD_INDEX, SHARD_NAME
from pcpt.prepare.record import RECORD, files_below, read_record, sha256_of
from pcpt.prepare.run import INDEX, prepared_scans
from pcpt.prepare.shards import SHARDS


def verify(out: Path) -> list[str]:
    """What is damaged, missing or foreign: one line each, empty if all is as it was written.

    Raises:
        FileNotFoundError: no index, so there is nothing to compare with.
        ValueError: the index is unreadable.
    """
    path = out / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: no preparation came to its end there")
    index = JsonObject(read_json(path), path, "")
    scans = JsonObject(index.get("scans"), path, "scans")
    problems = [
        f"{folder}: not in {INDEX}; run pcpt prepare again"
        for folder in prepared_scans(out)
        if folder.name not in scans.fields
    ]
    for name in scans.fields:
        entry = JsonObject(scans.get(name), path, scans.key(name))
        problems += _verify_scan(out, name, entry.text("record_sha256"))
    shards = out / SHARDS / SHARD_INDEX
    if shards.is_file():
        problems += _verify_shards(shards)
    return problems


def _verify_scan(out: Path, name: str, record_sha256: str) -> Iterator[str]:
    folder = out / name
    if Path(name).name != name or not (folder / RECORD).is_file():
        yield f"{folder}: is in {INDEX} but has no {RECORD}"
        return
    if sha256_of(folder / RECORD) != record_sha256:
        yield f"{folder / RECORD}: is not the one in {INDEX}"
    try:
        record = read_record(folder)
    except ValueError as error:
        yield str(error)
        return
    yield from _compare(folder, record["files"])
    for extra in files_below(folder):
        if extra not in record["files"]:
            yield f"{folder / extra}: was not written by pcpt prepare"


def _verify_shards(path: Path) -> Iterator[str]:
    index = JsonObject(read_json(path), path, "")
    shards = JsonObject(index.get("shards"), path, "shards")
    for name in shards.fields:
        if not SHARD_NAME.fullmatch(name):
            raise shards.error(name, name, "a name such as 000000.tar")
    yield from _compare(path.parent, shards.fields)
    for extra in sorted(path.parent.glob("*.tar")):
        if extra.name not in shards.fields:
            yield f"{extra}: is not in {path}"


def _compare(folder: Path, files: dict[str, dict[str, object]]) -> Iterator[str]:
    """Names files whose bytes are not those of ``files``."""
    for name, entry in files.items():
        file = folder / name
        try:
            size = file.stat().st_size
            if size != entry["bytes"]:
                yield f"{file}: has {size} bytes, {entry['bytes']} were written"
            elif sha256_of(file) != entry["sha256"]:
                yield f"{file}: its bytes have changed since it was written"
        except FileNotFoundError:
            yield f"{file}: is missing"
        except OSError as error:
            yield f"{file}: cannot be read: {error}"
