"""Tar shards of prepared scans, for storage that is fast only in sequence. Each holds whole frames,
and in front the list of them, so that any set of shards can be read on its own."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pcpt.data.scan_json import ScanDescription, read_scan_json
from pcpt.data.tar_index import (
    BLOCK,
    LISTING,
    SHARD_INDEX,
    SHARD_NAME,
    SHARD_PART,
    read_tar_index,
)
from pcpt.data.write_json import write_json
from pcpt.geometry.camera import Camera
from pcpt.prepare.record import read_record, sha256_of
from pcpt.prepare.run import prepared_scans

SHARDS = "shards"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One frame to be packed.

    Attributes:
        scan: name of its scan.
        folder: of the prepared scan.
        name: of the frame.
        place: in the recording, from 0.
        held_out: as the source marked it.
        image, depth: files in the folder.
        description: the frame's JSON.
        content: SHA-256 of both images.
        bytes: that it takes in a shard.
    """

    scan: str
    folder: Path
    name: str
    place: int
    held_out: bool
    image: str
    depth: str
    description: bytes
    content: tuple[str, str]
    bytes: int

    @property
    def stem(self) -> str:
        """Of its members: without a dot, which would end the name for webdataset."""
        return f"{self.scan}/{self.place:06d}"

    @property
    def image_members(self) -> tuple[str, str]:
        """Names of the members that hold the images."""
        suffix = Path(self.image).suffix
        return f"{self.stem}.color{suffix}", f"{self.stem}.depth.png"


def write_shards(out: Path, megabytes: float) -> Path:
    """Packs all prepared scans of ``out`` into ``out/shards/000000.tar``, ...

    Each shard appears whole or not at all; whole ones of an earlier run are kept. The same scans
    give the same bytes.

    Args:
        out: that ``prepare_scans`` wrote.
        megabytes: size that a shard does not exceed, unless a single frame does.

    Returns:
        The folder of shards.

    Raises:
        ValueError: no prepared scans, or a size that is none.
        OSError: cannot be written.
    """
    if not 0 < megabytes < float("inf"):
        raise ValueError(f"--shards is {megabytes}, expected megabytes > 0")
    scans = prepared_scans(out)
    if not scans:
        raise ValueError(f"{out} holds no prepared scans to pack")
    folder = out / SHARDS
    folder.mkdir(exist_ok=True)
    ups: dict[str, list[float]] = {}
    entries = [entry for scan in scans for entry in _entries(scan, ups)]
    written: dict[str, dict[str, Any]] = {}
    for number, group in enumerate(_groups(entries, megabytes * 1e6)):
        path = folder / f"{number:06d}.tar"
        listing = _listing(group, ups)
        if not _is_whole(path, group, listing):
            _write_shard(path, group, listing)
        written[path.name] = {
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "frames": len(group),
        }
    for stale in folder.iterdir():
        # parts too, of a run that was killed
        if SHARD_PART.fullmatch(stale.name) or (
            SHARD_NAME.fullmatch(stale.name) and stale.name not in written
        ):
            stale.unlink()
    write_json(folder / SHARD_INDEX, {"version": VERSION, "shards": written})
    return folder


def _entries(folder: Path, ups: dict[str, list[float]]) -> list[Entry]:
    """The frames of a prepared scan."""
    files = read_record(folder)["files"]
    scan = read_scan_json(folder / "scan.json")
    ups[scan.name] = scan.up
    entries = []
    for place, (name, of_frame) in enumerate(scan.files.items()):
        description = _describe(scan, name, place)
        parts = (of_frame.image, of_frame.depth)
        sizes = [len(description), *(files[part]["bytes"] for part in parts)]
        entries.append(
            Entry(
                scan=scan.name,
                folder=folder,
                name=name,
                place=place,
                held_out=name in scan.held_out,
                image=of_frame.image,
                depth=of_frame.depth,
                description=description,
                content=(files[parts[0]]["sha256"], files[parts[1]]["sha256"]),
                bytes=sum(BLOCK + -(-size // BLOCK) * BLOCK for size in sizes),
            )
        )
    return entries


def _describe(scan: ScanDescription, name: str, place: int) -> bytes:
    """The JSON of a frame: all that is known of it beside its images."""
    files = scan.files[name]
    rig = files.rig() if callable(files.rig) else files.rig or scan.rig
    if isinstance(files.pose, str):
        raise ValueError(f"scan {scan.name}: poses in files of their own, which prepare never does")
    color, depth = rig.posed(files.pose)
    value = {
        "scan": scan.name,
        "name": name,
        "place": place,
        "held_out": name in scan.held_out,
        "depth_scale": rig.depth_scale,
        "color": _camera(color),
        "depth": _camera(depth),
    }
    return (json.dumps(value) + "\n").encode()


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "width": camera.width,
        "height": camera.height,
        "intrinsics": camera.intrinsics.tolist(),
        "camera_to_world": camera.camera_to_world.tolist(),
    }


def _groups(entries: Sequence[Entry], limit: float) -> list[list[Entry]]:
    """Consecutive frames, as many as fit."""
    groups: list[list[Entry]] = []
    filled = limit + 1.0
    for entry in entries:
        if filled + entry.bytes > limit:
            groups.append([])
            filled = 0.0
        groups[-1].append(entry)
        filled += entry.bytes
    return groups


def _listing(group: Sequence[Entry], ups: dict[str, list[float]]) -> bytes:
    """The first member of a shard."""
    scans: dict[str, dict[str, Any]] = {}
    for entry in group:
        scan = scans.setdefault(
            entry.scan, {"name": entry.scan, "up": ups[entry.scan], "frames": []}
        )
        scan["frames"].append(
            {"name": entry.name, "place": entry.place, "held_out": entry.held_out}
        )
    value = {"version": VERSION, "scans": list(scans.values())}
    return (json.dumps(value) + "\n").encode()


def _is_whole(path: Path, group: Sequence[Entry], listing: bytes) -> bool:
    """Whether the shard is there, with the bytes of these frames, to its end."""
    wanted = {LISTING: hashlib.sha256(listing).hexdigest()}
    for entry in group:
        wanted |= dict(zip(entry.image_members, entry.content))
        wanted[f"{entry.stem}.json"] = hashlib.sha256(entry.description).hexdigest()
    try:
        members = read_tar_index(path)
        end = max(member.offset + -(-member.size // BLOCK) * BLOCK for member in members.values())
        padded = -(-(end + 2 * BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
        if members.keys() != wanted.keys() or path.stat().st_size != padded:
            return False
        with path.open("rb") as file:
            for name, member in members.items():
                file.seek(member.offset)
                if hashlib.sha256(file.read(member.size)).hexdigest() != wanted[name]:
                    return False
    except (OSError, ValueError):
        return False
    return True


def _write_shard(path: Path, group: Sequence[Entry], listing: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, LISTING, io.BytesIO(listing), len(listing))
            for entry in group:
                for member, file in zip(entry.image_members, (entry.image, entry.depth)):
                    source = entry.folder / file
                    with source.open("rb") as opened:
                        _add(tar, member, opened, source.stat().st_size)
                data = entry.description
                _add(tar, f"{entry.stem}.json", io.BytesIO(data), len(data))
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    info = tarfile.TarInfo(name)  # of nobody and of no time: the same bytes every time
    info.size = size
    tar.addfile(info, file)
