"""Prepared scans from tar shards, as ``pcpt prepare --shards`` packs them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.choices import check_depth_scale
from pcpt.data.files import every_nth, expand_roots
from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.data.images import decode_color, decode_depth
from pcpt.data.json_object import JsonObject, parse_json
from pcpt.data.rig import direction
from pcpt.data.tar_index import LISTING, Member, read_tar_index
from pcpt.geometry.camera import Camera
from pcpt.registry import register

VERSION = 1
MAX_JSON = 1 << 16  # of one frame
MAX_LISTING = 1 << 26
COLOR_SUFFIXES = (".color.png", ".color.jpg")


@dataclass(frozen=True, slots=True)
class ShardFrame:
    """Where one frame lies: a tar file, and the members in it."""

    path: Path
    stem: str
    color: Member
    depth: Member
    description: Member


class ShardScan(Scan):
    """A scan whose frames lie in one shard or several.

    Args:
        name: of the scan.
        frames: by name, in recording order.
        held_out: names of frames that must not be trained on.
        up: (3,) unit vector against gravity, or None.
    """

    def __init__(
        self,
        name: str,
        frames: dict[str, ShardFrame],
        held_out: frozenset[str],
        up: Tensor | None,
    ) -> None:
        self.name, self.names = name, list(frames)
        self.held_out, self.up = held_out, up
        self._frames = frames

    def load(self, name: str) -> Frame:
        if name not in self._frames:
            raise ValueError(f"scan {self.name} has no frame {name!r}; its names lists them")
        place = self._frames[name]
        origin = f"{place.stem} of {place.path}"
        data = _read(place.path, place.description)
        try:
            value = JsonObject(parse_json(data, Path(origin)), Path(origin), "")
            color, depth = (_camera(value, key) for key in ("color", "depth"))
            scale = value.positive("depth_scale")
            check_depth_scale(f"{origin}: depth_scale", scale)
            if value.text("name") != name:
                raise value.error("name", value.get("name"), f"{name!r}, as the shard lists it")
        except ValueError as error:
            raise BrokenFrame(str(error)) from error
        pixels = decode_color(
            _read(place.path, place.color), f"of {origin}", (color.height, color.width)
        )
        metres = decode_depth(
            _read(place.path, place.depth), f"of {origin}", (depth.height, depth.width), scale
        )
        image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        return Frame(name, image, metres, color, depth)

    def evidence(self) -> Iterator[Any]:
        """The description of every frame, and the sizes of its images."""
        for place in self._frames.values():
            try:
                description = _read(place.path, place.description).decode(errors="replace")
            except BrokenFrame:
                description = ""
            yield [description, place.color.size, place.depth.size]


@register("datasets", "shards")
class Shards:
    """Tar shards of scans: frames are read from where they lie, nothing is unpacked.

    Opening reads the headers of the tar files, one seek a member, and the list of frames in front
    of each. With ``data.shuffle_block`` frames are then read from few places at a time, which slow
    storage needs.
    """

    @dataclass
    class Config:
        """Attributes:
        roots: tar files, folders that hold some, or globs of these.
        every: take every Nth frame of each scan.
        """

        name: str = "shards"
        roots: list[str] = field(default_factory=list)
        every: int = 1

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a scan at ``path`` has this layout."""
        return (path.is_file() and path.suffix == ".tar") or any(path.glob("[0-9]*.tar"))

    def open(self) -> list[Scan]:
        """The scans of all shards, in the order of the shards.

        Raises:
            FileNotFoundError: a root that matches nothing.
            ValueError: no tar file, one that is damaged, or that is no shard of pcpt.
        """
        found: dict[str, _Parts] = {}
        for root in expand_roots("shards", self.config.roots, suffix=".tar"):
            paths = sorted(root.glob("*.tar")) if root.is_dir() else [root]
            if not paths:
                raise ValueError(f"shards: no .tar file in {root}")
            for path in paths:
                _read_shard(path, found)
        return [parts.scan(name, self.config.every) for name, parts in found.items()]


@dataclass
class _Parts:
    """What was found of one scan so far."""

    up: Tensor | None
    frames: dict[int, tuple[str, ShardFrame]] = field(default_factory=dict)
    held_out: set[str] = field(default_factory=set)

    def scan(self, name: str, every: int) -> ShardScan:
        in_order = dict(self.frames[place] for place in sorted(self.frames))
        names = every_nth(list(in_order), every)
        held_out = frozenset(self.held_out.intersection(names))
        return ShardScan(name, {each: in_order[each] for each in names}, held_out, self.up)


def _read_shard(path: Path, found: dict[str, _Parts]) -> None:
    members = read_tar_index(path)
    if LISTING not in members:
        raise ValueError(
            f"{path} has no {LISTING}: it is no shard of pcpt; pack scans with pcpt prepare"
        )
    listing = members[LISTING]
    if listing.size > MAX_LISTING:
        raise ValueError(f"{path}: {LISTING} is of {listing.size} bytes, at most {MAX_LISTING}")
    value = JsonObject(parse_json(_read(path, listing), path), path, "")
    if value.get("version") != VERSION:
        raise value.error("version", value.get("version"), str(VERSION))
    for index, each in enumerate(_list(value, "scans")):
        scan = JsonObject(each, path, f"scans[{index}]")
        up = scan.numbers("up", (3,)).tolist() if scan.get("up") else []
        parts = found.setdefault(scan.text("name"), _Parts(direction(up, path)))
        names = {name for name, _ in parts.frames.values()}
        for number, entry in enumerate(_list(scan, "frames")):
            frame = JsonObject(entry, path, f"{scan.where}.frames[{number}]")
            _add_frame(frame, scan.text("name"), members, parts, names)


def _add_frame(
    frame: JsonObject, scan: str, members: dict[str, Member], parts: _Parts, names: set[str]
) -> None:
    name, place = frame.text("name"), frame.get("place")
    if not isinstance(place, int) or isinstance(place, bool) or place < 0:
        raise frame.error("place", place, "a whole number >= 0")
    if place in parts.frames or name in names:
        raise frame.error("name", name, f"a frame of {scan} that is listed once")
    stem = f"{scan}/{place:06d}"
    color = next((s for s in COLOR_SUFFIXES if stem + s in members), COLOR_SUFFIXES[0])
    chosen = []
    for suffix in (color, ".depth.png", ".json"):
        member = members.get(stem + suffix)
        if member is None:
            raise ValueError(f"{frame.path}: {stem + suffix} is listed but not in the file")
        chosen.append(member)
    if chosen[2].size > MAX_JSON:
        raise ValueError(
            f"{frame.path}: {stem}.json at byte {chosen[2].offset} is of {chosen[2].size} bytes, "
            f"expected at most {MAX_JSON}"
        )
    parts.frames[place] = (name, ShardFrame(frame.path, stem, *chosen))
    names.add(name)
    if frame.flag("held_out"):
        parts.held_out.add(name)


def _list(value: JsonObject, key: str) -> list[object]:
    listed = value.get(key)
    if not isinstance(listed, list) or not listed:
        raise value.error(key, listed, "a list that is not empty")
    return listed


def _camera(value: JsonObject, key: str) -> Camera:
    camera = JsonObject(value.get(key), value.path, key)
    return Camera(
        camera.numbers("intrinsics", (3, 3)),
        camera.whole("height"),
        camera.whole("width"),
        camera.numbers("camera_to_world", (4, 4)),
    )


def _read(path: Path, member: Member) -> bytes:
    """The bytes of a member.

    Raises:
        BrokenFrame: the file is gone, or shorter than when it was opened.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        raise BrokenFrame(f"{path}: cannot be read at byte {member.offset}: {error}") from error
    if len(data) != member.size:
        raise BrokenFrame(
            f"{path}: {member.size} bytes at byte {member.offset} reach beyond the end; the file "
            "changed since it was opened"
        )
    return data
