"""One scan, one job: reads its frames one by one, changes them as asked and writes them, with their
record, as a folder that appears whole or not at all."""

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from pcpt.config import changed_keys
from pcpt.data.files import every_nth
from pcpt.data.frame import BrokenFrame, Frame, LostPose, Scan
from pcpt.data.images import WrongSize
from pcpt.data.rig import rounded as rounded_numbers
from pcpt.data.transforms import fit_view
from pcpt.data.write_json import write_json
from pcpt.data.write_scan import write_folder_scan
from pcpt.doctor import examine
from pcpt.doctor.diagnosis import rounded
from pcpt.geometry.camera import Camera
from pcpt.prepare.record import (
    RECORD,
    VERSION,
    describe_files,
    looks_whole,
    read_record,
)
from pcpt.prepare.settings import Settings

UNITS = 1000.0  # of the depth images, per metre
NOT_JUDGED = "not_judged"


class TooFar(BrokenFrame):
    """A frame that has no measurement within the greatest depth asked for."""


@dataclass(frozen=True)
class Job:
    """Attributes:
    scan: to prepare; opened, so that a worker need not look for it.
    name: of the folder.
    out: folder that it is written in.
    settings: of the run.
    """

    scan: Scan
    name: str
    out: Path
    settings: Settings


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    name: of the scan.
    status: "prepared", "kept" (whole from an earlier run), "left_out" (ill) or "failed".
    frames, bytes: of what is there now.
    skipped: number of frames left out, by reason.
    doctor: verdict, evidence and remedy; empty where it was not asked.
    error: of a scan that failed.
    """

    name: str
    status: str
    frames: int = 0
    bytes: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    doctor: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def prepare_scan(job: Job) -> Outcome:
    """Prepares one scan; whatever goes wrong with it is in the outcome, and nothing half-written is
    left behind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums must not depend on how many jobs share the machine
    try:
        return _prepare(job)
    except Exception as error:  # one scan's trouble, of whatever kind, is not the others'
        kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        return Outcome(job.name, "failed", error=f"{kind}{error}")
    finally:
        torch.set_num_threads(threads)


def _prepare(job: Job) -> Outcome:
    target = job.out / job.name
    if target.exists():
        record = _checked_record(job, target)
        if record is not None:
            return _outcome(record, "kept")
        shutil.rmtree(target)
    _remove_parts(job)
    doctor = _doctor(job.scan) if job.settings.doctor else {}
    if job.settings.leave_out_ill and is_ill(doctor):
        return Outcome(job.name, "left_out", doctor=doctor)
    frames = _Frames(job.scan, job.settings)
    write_folder_scan(
        target,
        job.name,
        frames,
        up=job.scan.up,
        held_out=frames.held_out,
        depth_scale=UNITS,
        jpeg_quality=job.settings.jpeg or None,
        finish=partial(_write_record, job, frames, doctor),
    )
    return _outcome(read_record(target), "prepared")


def _remove_parts(job: Job) -> None:
    """Removes what a killed run left of this scan; scan ``a.2`` is not scan ``a``."""
    for path in job.out.glob(".*.part"):
        if re.fullmatch(rf"\.{re.escape(job.name)}\.\d+\.part", path.name):
            shutil.rmtree(path, ignore_errors=True)


def _checked_record(job: Job, target: Path) -> dict[str, Any] | None:
    """The record of an earlier run, None where files are missing.

    Raises:
        ValueError: the folder is of something else, which is not overwritten.
    """
    record = read_record(target)
    if record["settings_sha256"] != job.settings.digest():
        changes = "; ".join(changed_keys(record["settings"], job.settings.tree()))
        raise ValueError(
            f"{target} was prepared with other settings ({changes}); use those, or another folder, "
            "or delete it"
        )
    if record["recording_sha256"] != recording_digest(job.scan):
        raise ValueError(
            f"{target} was prepared from another recording, or this one has changed since; use "
            "another folder, or delete it"
        )
    return record if looks_whole(target, record) else None


def recording_digest(scan: Scan) -> str:
    """SHA-256 of all that tells a recording from others without decoding its images; the same
    wherever it lies, and by whatever path it was opened."""
    digest = hashlib.sha256()
    up = rounded_numbers(scan.up) if scan.up is not None else []
    for part in ([*scan.names], sorted(scan.held_out), up, *scan.evidence()):
        digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()


def is_ill(doctor: dict[str, Any]) -> bool:
    """Whether the doctor found a fault; not having been able to judge is none."""
    return doctor.get("verdict", "healthy") not in ("healthy", NOT_JUDGED)


def _doctor(scan: Scan) -> dict[str, Any]:
    """The verdict on the scan as its source reads it, before frames are left out."""
    try:
        diagnosis = examine(scan).diagnosis
    except ValueError as error:  # fewer than two frames
        return {"verdict": NOT_JUDGED, "evidence": {"message": str(error)}, "remedy": {}}
    parts = {"evidence": diagnosis.evidence, "remedy": diagnosis.remedy}
    return {"verdict": diagnosis.verdict, **rounded(parts)}


class _Frames:
    """The frames of a scan as they are to be written, read while they are iterated over.

    Attributes:
        held_out: marks of the source; names of frames that are left out disappear from it.
        skipped: (name, category, message) of frames that were left out.
        taken: number of frames handed out.
    """

    def __init__(self, scan: Scan, settings: Settings) -> None:
        self._scan, self._settings = scan, settings
        self._names = every_nth(scan.names, settings.every)
        self.held_out = set(scan.held_out).intersection(self._names)
        self.skipped: list[tuple[str, str, str]] = []
        self.taken = 0

    def __iter__(self) -> Iterator[Frame]:
        for name in self._names:
            try:
                frame = changed(self._scan.load(name), self._settings)
            except BrokenFrame as error:
                self.skipped.append((name, category(error), str(error)))
                self.held_out.discard(name)
            else:
                self.taken += 1
                yield frame
        if not self.taken:
            first = self.skipped[0][2]
            raise ValueError(
                f"none of the {len(self._names)} frames can be used; the first is refused because "
                f"of {first}"
            )


def category(error: BrokenFrame) -> str:
    """The reason of a skipped frame in few words, for counting."""
    kinds = {LostPose: "no pose", WrongSize: "image of another size", TooFar: "all too far"}
    for kind, words in kinds.items():
        if isinstance(error, kind):
            return words
    said = {"does not exist": "file missing", "nothing measured": "no depth", "pose": "no pose"}
    return next((words for part, words in said.items() if part in str(error)), "damaged")


def changed(frame: Frame, settings: Settings) -> Frame:
    """A frame as the settings want it.

    Raises:
        TooFar: no measurement is left.
    """
    image, color_camera = frame.image, frame.color_camera
    depth, depth_camera = frame.depth, frame.depth_camera
    if _reduces(settings.size, color_camera):
        image, color_camera = fit_view(image, color_camera, settings.size)
    if _reduces(settings.size, depth_camera):
        depth, depth_camera = _nearest(depth, depth_camera, settings.size)
    depth = torch.where((depth >= 0) & (depth <= settings.farthest), depth, 0.0)
    if not bool((depth * UNITS).round().any()):
        raise TooFar(f"frame {frame.name}: no depth is measured up to {settings.farthest:g} m")
    return replace(
        frame, image=image, color_camera=color_camera, depth=depth, depth_camera=depth_camera
    )


def _reduces(size: tuple[int, int] | None, camera: Camera) -> TypeGuard[tuple[int, int]]:
    """Whether the size is asked for and no side of it is longer than the camera's: images are never
    enlarged."""
    return size is not None and size[0] <= camera.height and size[1] <= camera.width


def _nearest(depth: Tensor, camera: Camera, size: tuple[int, int]) -> tuple[Tensor, Camera]:
    """Depth reduced to (H, W) by the pixel nearest to each new centre."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long()
        for new, old in zip(size, (camera.height, camera.width))
    )
    return depth[rows][:, columns].contiguous(), camera.resized(*size)


def _write_record(job: Job, frames: _Frames, doctor: dict[str, Any], folder: Path) -> None:
    files = describe_files(folder)
    record = {
        "version": VERSION,
        "scan": job.name,
        "original_name": job.scan.name,
        "recording_sha256": recording_digest(job.scan),
        "settings": job.settings.tree(),
        "settings_sha256": job.settings.digest(),
        "frames": frames.taken,
        "skipped": dict(sorted(Counter(kind for _, kind, _ in frames.skipped).items())),
        "skipped_frames": [
            {"name": name, "reason": kind, "message": message}
            for name, kind, message in frames.skipped
        ],
        "bytes": sum(entry["bytes"] for entry in files.values()),
        "doctor": doctor,
        "files": files,
    }
    write_json(folder / RECORD, record)


def _outcome(record: dict[str, Any], status: str) -> Outcome:
    return Outcome(
        record["scan"],
        status,
        record["frames"],
        int(record.get("bytes", 0)),
        record["skipped"],
        record["doctor"],
    )
