"""Which scans lie below a path. One that cannot be opened does not hide the others."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from pcpt.data.dataset import OTHER_KINDS
from pcpt.data.frame import Scan
from pcpt.data.tar_index import holds_shards
from pcpt.doctor.open_scan import make_source, recognising
from pcpt.prepare.names import name_below

DEPTH = 3  # folders below the path given

# Scans and the paths that were opened, by name.
Named = dict[str, list[tuple[Path, Scan]]]


@dataclass
class Found:
    """Attributes:
    scans: opened, by the path that was opened.
    refused: paths that cannot be opened though they look like scans of the source, or lie beside
        some, and why.
    base: what names of scans are relative to.
    """

    scans: list[tuple[Path, Scan]] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    base: Path = Path()

    def __bool__(self) -> bool:
        return bool(self.scans or self.refused)

    def add(self, other: "Found") -> None:
        self.scans += other.scans
        self.refused |= other.refused

    def outside(self, out: Path) -> "Found":
        """What neither is ``out`` nor lies in it."""

        def lies_outside(path: Path) -> bool:
            return not path.resolve().is_relative_to(out.resolve())

        scans = [(at, scan) for at, scan in self.scans if lies_outside(scan.folder or at)]
        refused = {at: why for at, why in self.refused.items() if lies_outside(at)}
        return Found(scans, refused, self.base)

    def named(self) -> Named:
        """The scans by name, several where names are alike, whatever upper and lower case mean to
        the file system."""
        groups: Named = {}
        first: dict[str, str] = {}
        for path, scan in self.scans:
            folder = scan.folder
            if folder is None or not folder.is_relative_to(self.base):
                folder = path if path.is_dir() else path.parent
            name = name_below(self.base, folder, scan.name)
            groups.setdefault(first.setdefault(name.lower(), name), []).append((path, scan))
        return groups

    def refused_names(self) -> list[str]:
        """What those that were refused would be called, as far as their paths tell."""
        return [
            name_below(self.base, path, path.name)
            if path.is_dir()
            else name_below(self.base, path.parent, path.stem)
            for path in self.refused
        ]


def find_scans(source: str, path: Path | str, options: tuple[str, ...]) -> Found:
    """Opens all scans at or below a path.

    The path as a whole is tried first, then what lies in it, piece by piece: of a folder of
    recordings one of which is damaged, the others are found.

    Args:
        source: one of ``pcpt.list("datasets")``, or "auto": of every piece the source that
            recognises its layout.
        path: a scan, a folder that holds some up to three folders down, or a glob of these.
        options: ``key=value`` of the source.

    Returns:
        What was found, with absolute paths: workers may have been started elsewhere.

    Raises:
        FileNotFoundError: nothing at the path.
        ValueError: no scan there, no such source, or an option that it has not.
    """
    base, paths = _expand(Path(path).expanduser())
    if not paths:
        raise FileNotFoundError(f"{path} does not exist")
    found, errors = _find_all(source, paths, options, DEPTH)
    if not found:
        causes = "; ".join(f"{at}: {error}" for at, error in errors.items())
        raise ValueError(f"no scan found: {causes}")
    found.base = base
    return found


def _expand(pattern: Path) -> tuple[Path, list[Path]]:
    """The folder that was asked for (of a glob, what stands before its first wildcard) and the
    paths to look at, at or below it; all absolute."""
    if pattern.exists():
        path = pattern.resolve()
        return path if path.is_dir() else path.parent, [path]
    plain = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    base = plain.resolve()
    matches = glob.glob(str(pattern.relative_to(plain)), root_dir=base)
    return base, [base / match for match in sorted(matches)]


def _find_all(
    source: str, paths: Iterable[Path], options: tuple[str, ...], depth: int
) -> tuple[Found, dict[Path, str]]:
    """What is at or below the paths, and why each in which nothing is could not be opened.

    With a source named, a folder beside recordings is taken for one of them: what it lacks may be
    the very file by which the source would recognise it.
    """
    found, empty = Found(), dict[Path, str]()
    for path in paths:
        below, error = _find(source, path, options, depth)
        found.add(below)
        if not below:
            empty[path] = error
    if found and source != "auto":
        found.refused |= {at: error for at, error in empty.items() if _may_be_a_scan(at)}
    return found, empty


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
    found = _find_all(source, _inside(path), options, depth - 1)[0] if depth else Found()
    if not found and (names if source == "auto" else source in names):
        found.refused[path] = error
    return found, error


def _open(source: str, path: Path, options: tuple[str, ...]) -> Found | str:
    opener = make_source(source, path, options)  # mistakes in the options are the caller's
    try:
        opened = opener.open()
    except (ValueError, OSError) as error:
        return str(error)
    for owner, kind in OTHER_KINDS.items():
        if isinstance(opened, owner):
            raise ValueError(f"source {source!r} reads {kind}, not the posed frames of scans")
    return Found([(path, scan) for scan in opened])


def _may_be_a_scan(path: Path) -> bool:
    return path.is_dir() and any(path.iterdir()) and not holds_shards(path)


def _inside(path: Path) -> Iterator[Path]:
    """Folders, and files that a source takes for scans, hidden ones left out."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            if not child.name.startswith(".") and (child.is_dir() or recognising(child)):
                yield child
