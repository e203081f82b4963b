"""Which scans lie below a path. One that cannot be opened does not hide the others."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pcpt.data.frame import Scan
from pcpt.data.scene import SceneSet
from pcpt.data.shape import ShapeSet
from pcpt.doctor.open_scan import make_source, recognising

DEPTH = 3  # folders below the path given


@dataclass
class Found:
    """Attributes:
    scans: opened, by the path that was opened.
    refused: paths that look like scans of the source and cannot be opened, and why.
    """

    scans: list[tuple[Path, Scan]] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.scans or self.refused)

    def add(self, other: "Found") -> None:
        self.scans += other.scans
        self.refused |= other.refused


def find_scans(source: str, path: Path | str, options: tuple[str, ...]) -> Found:
    """Opens all scans at or below a path.

    The path as a whole is tried first, then what lies in it, piece by piece: of a folder of
    recordings one of which is damaged, the others are found.

    Args:
        source: one of ``pcpt.list("datasets")``, or "auto": of every piece the source that
            recognises its layout.
        path: a scan, a folder that holds some up to three folders down, or a glob of these.
        options: ``key=value`` of the source.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: no scan there, no such source, or an option that it has not.
    """
    pattern = str(Path(path).expanduser())
    paths = [Path(pattern)] if Path(pattern).exists() else map(Path, sorted(glob.glob(pattern)))
    found, errors, looked = Found(), [], False
    for each in paths:
        looked = True
        below, error = _find(source, each, options, DEPTH)
        found.add(below)
        errors.append(f"{each}: {error}")
    if not looked:
        raise FileNotFoundError(f"{path} does not exist")
    if not found:
        raise ValueError(f"no scan found: {'; '.join(errors)}")
    return found


def _find(source: str, path: Path, options: tuple[str, ...], depth: int) -> tuple[Found, str]:
    """What is at or below the path, and why the path itself could not be opened."""
    names = recognising(path)
    if source != "auto":
        error = _open(source, path, options)
    elif len(names) == 1:
        error = _open(names[0], path, options)
    elif names:
        error = f"several layouts fit ({', '.join(names)}); name the source instead of auto"
    else:
        error = "no known layout fits; name the source, see docs/data_layout.md"
    if isinstance(error, Found):
        return error, ""
    found = Found()
    for child in _inside(path) if depth else ():
        found.add(_find(source, child, options, depth - 1)[0])
    if not found and (names if source == "auto" else source in names):
        found.refused[path] = error
    return found, error


def _open(source: str, path: Path, options: tuple[str, ...]) -> Found | str:
    opener = make_source(source, path, options)  # mistakes in the options are the caller's
    try:
        opened = opener.open()
    except (ValueError, OSError) as error:
        return str(error)
    if isinstance(opened, SceneSet):
        raise ValueError(f"source {source!r} reads labelled scenes, not the posed frames of scans")
    if isinstance(opened, ShapeSet):
        raise ValueError(f"source {source!r} reads single shapes, not the posed frames of scans")
    return Found([(path, scan) for scan in opened])


def _inside(path: Path) -> Iterator[Path]:
    """Folders, and files that a source takes for scans, hidden ones left out."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            if not child.name.startswith(".") and (child.is_dir() or recognising(child)):
                yield child
