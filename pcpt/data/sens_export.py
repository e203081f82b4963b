"""From one .sens file to a folder of exported frames, as ScanNet's own reader writes them."""

import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from pcpt.data.files import every_nth
from pcpt.data.frame import BrokenFrame
from pcpt.data.images import SATURATED
from pcpt.data.sens import SensReader
from pcpt.data.skips import SkipLog


def export_sens(
    reader: SensReader, folder: Path | str, *, every: int = 1, skips: SkipLog | None = None
) -> int:
    """Writes the layout that the source ``scannet_frames`` reads, all of it or nothing.

    ``color/N.jpg`` holds the bytes of the recording, so that nothing is lost (``.png`` where it is
    not JPEG); ``depth/N.png`` millimetres, to which other depth shifts than 1000 are rounded
    (beyond 65 m nothing is kept); ``pose/N.txt`` the pose, -inf included; ``intrinsic/`` the four
    matrices.

    Args:
        reader: of the recording.
        folder: must not exist yet; appears when everything in it is written.
        every: take every Nth frame; they keep their numbers.
        skips: takes frames whose images are damaged; they are left out.

    Returns:
        The number of frames written.

    Raises:
        FileExistsError: ``folder`` exists.
        ValueError: no frame can be written.
    """
    target = Path(folder)
    if target.exists():
        raise FileExistsError(f"{target} exists and is not overwritten; remove or rename it")
    indices = every_nth([str(index) for index in range(len(reader))], every)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        for part in ("color", "depth", "pose", "intrinsic"):
            (unfinished / part).mkdir(parents=True)
        written = 0
        for name in indices:
            try:
                _write_frame(reader, int(name), unfinished)
                written += 1
            except BrokenFrame as error:
                if skips is not None:
                    skips.add(target.name, error)
        if not written:
            raise ValueError(f"{reader.path}: no frame can be exported")
        header = reader.header
        for kind in ("intrinsic", "extrinsic"):
            for camera in ("color", "depth"):
                name = f"{kind}_{camera}"
                _write_matrix(unfinished / "intrinsic" / f"{name}.txt", getattr(header, name))
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return written


def _write_frame(reader: SensReader, index: int, folder: Path) -> None:
    pixels, units = reader.color(index), reader.depth_units(index)  # before anything is written
    if reader.header.color_compression == "jpeg":
        (folder / "color" / f"{index}.jpg").write_bytes(reader.color_bytes(index))
    else:
        Image.fromarray(pixels).save(folder / "color" / f"{index}.png")
    if reader.header.depth_shift != 1000.0:
        units = _millimetres(units, reader.header.depth_shift)
    Image.fromarray(units).save(folder / "depth" / f"{index}.png")
    _write_matrix(folder / "pose" / f"{index}.txt", reader.pose(index))


def _millimetres(units: np.ndarray, shift: float) -> np.ndarray:
    millimetres = np.round(units * (1000.0 / shift))
    measured = (units < SATURATED) & (millimetres < SATURATED)
    return np.where(measured, millimetres, 0).astype(np.uint16)


def _write_matrix(path: Path, matrix: np.ndarray) -> None:
    rows = (" ".join(f"{value:.9g}" for value in row) for row in matrix.tolist())
    path.write_text("\n".join(rows) + "\n")
