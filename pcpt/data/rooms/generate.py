"""All rooms of a data set: in parallel, resumable, with their splits."""

import json
import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

import cv2
import torch

from pcpt._process import keep_freed_memory
from pcpt.data.files import refuse_strangers
from pcpt.data.json_object import read_json
from pcpt.data.rooms.config import RoomsConfig
from pcpt.data.rooms.labels import write_label_table
from pcpt.data.rooms.scan import write_room
from pcpt.data.write_json import write_json

VERSION = 1  # of the rooms themselves: raised when the same seed no longer gives the same bytes
# Likewise of rooms with label images. 1 numbered all things of a plan; 2 follows objectId.
LABEL_IMAGES_VERSION = 2
SETTINGS = "rooms.json"


def scene_name(number: int) -> str:
    """Name of the scene of a room."""
    return f"scene{number:04d}_00"


def split_of(number: int) -> str:
    """The split of a room: four in six train, one val, one test; it never changes, however many
    rooms are made. Six and the five kinds of rooms share no factor, so each split has all kinds."""
    return {4: "val", 5: "test"}.get(number % 6, "train")


def generate_rooms(
    out: Path,
    rooms: int,
    config: RoomsConfig,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Makes the rooms of a data set that are not there yet.

    A scene's folder appears when all its files are written, so that a run that was killed goes on
    where it stopped; asking for more rooms later adds to those there are.

    Args:
        out: folder to write; made if need be.
        rooms: number of rooms in all, up to 10,000.
        config: what they are like.
        jobs: processes; the files do not depend on it.
        progress: called with the rooms done and the rooms wanted.

    Returns:
        Number of rooms made now.

    Raises:
        ValueError: ``out`` holds rooms made with other settings, or other things, a number that
            cannot be, or the extra ``rooms`` is not installed.
    """
    if not 1 <= rooms <= 10_000:
        raise ValueError(f"rooms is {rooms}, expected 1 to 10000")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected 1 or more")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out / SETTINGS, config)
    scans = out / "scans"
    scans.mkdir(exist_ok=True)
    write_label_table(out)
    wanted = [number for number in range(rooms) if not (scans / scene_name(number)).is_dir()]
    done = rooms - len(wanted)
    if jobs == 1 or len(wanted) < 2:
        for number in wanted:
            make_scene(config, number, scans)
            done += 1
            if progress is not None:
                progress(done, rooms)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(wanted)), context, keep_freed_memory) as pool:
            running = [pool.submit(make_scene, config, number, scans) for number in wanted]
            try:
                for finished in as_completed(running):
                    finished.result()
                    done += 1
                    if progress is not None:
                        progress(done, rooms)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    write_splits(out)
    return len(wanted)


def make_scene(config: RoomsConfig, number: int, scans: Path) -> None:
    """Makes one room in ``scans``, in a folder that gets its name when it is whole."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    name = scene_name(number)
    partial = scans / f".{name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        write_room(config, number, partial, name)
        partial.rename(scans / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_splits(out: Path) -> None:
    """Lists the scenes there are by split, in ``splits/{train,val,test}.txt``."""
    names = sorted(path.name for path in (out / "scans").glob("scene????_00") if path.is_dir())
    (out / "splits").mkdir(exist_ok=True)
    for split in ("train", "val", "test"):
        mine = [name for name in names if split_of(int(name[5:9])) == split]
        (out / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in mine))


def _check_settings(path: Path, config: RoomsConfig) -> None:
    version = LABEL_IMAGES_VERSION if config.label_images else VERSION
    settings = json.loads(json.dumps({"version": version, **asdict(config)}))
    if not path.exists():
        refuse_strangers(path.parent, path.name, "pcpt rooms")
        write_json(path, settings)
        return
    found = read_json(path)
    if found != settings:
        raise ValueError(
            f"{path} says that the rooms there were made with {found}, but {settings} is asked "
            "for; choose another folder or the same settings"
        )
