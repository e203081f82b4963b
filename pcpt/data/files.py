"""The small text files around the images of a scan, and the folders that scans are found in."""

import glob
import hashlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pcpt.data.frame import LostPose
from pcpt.geometry.camera import Camera

# Principal points of real cameras lie near the middle. One that is further off than this share of
# the image means that the intrinsics were written for another resolution.
CENTRE_TOLERANCE = 0.2
MAX_MATRIX_BYTES = 1 << 16


class WrongIntrinsics(ValueError):
    """Intrinsics whose principal point lies far from the middle of the images.

    Attributes:
        intrinsics: (3, 3).
        size: (height, width) of the images.
    """

    def __init__(self, message: str, intrinsics: Tensor, size: tuple[int, int]) -> None:
        super().__init__(message)
        self.intrinsics, self.size = intrinsics, size


def expand_roots(
    source: str,
    roots: Sequence[str],
    *,
    suffix: str = "",
    passes_over: Callable[[Path], bool] = lambda _: False,
) -> list[Path]:
    """The folders that the config key ``roots`` names: each a path or a glob, ``~`` allowed.

    Args:
        source: its name, for messages.
        roots: as in the config.
        suffix: of files that are taken too, such as ".sens"; empty takes folders alone.
        passes_over: folders that a glob does not mean; named outright they are taken.

    Returns:
        Folders without repetition, in the order of ``roots``, matches of a glob sorted.

    Raises:
        ValueError: no roots.
        FileNotFoundError: one that matches no folder.
    """
    if not roots:
        raise ValueError(f"{source}: roots is empty, expected a list of folders or globs")
    folders: dict[Path, None] = {}
    for root in roots:
        pattern = str(Path(root).expanduser())
        named = Path(pattern).exists()
        found = [Path(pattern)] if named else map(Path, sorted(glob.glob(pattern)))
        matches = [
            path
            for path in found
            if (path.is_dir() and (named or not passes_over(path)))
            or (suffix and path.name.endswith(suffix))
        ]
        if not matches:
            wanted = f"folder or {suffix} file" if suffix else "folder"
            raise FileNotFoundError(
                f"{source}: roots holds {root!r}, which matches no {wanted}; relative paths start "
                f"at {Path.cwd()}"
            )
        folders.update(dict.fromkeys(matches))
    return list(folders)


def refuse_strangers(out: Path, marker: str, maker: str, own: Collection[str] = ()) -> None:
    """Raises ValueError for a folder with anything in it that is not ``own``: without ``marker``,
    which ``maker`` writes first, it is somebody else's."""
    strangers = [path.name for path in out.iterdir() if path.name not in own]
    if strangers:
        raise ValueError(
            f"{out} holds {min(strangers)!r} and no {marker}: it was not made by {maker}; choose "
            "another folder"
        )


def scan_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell all folders apart, ``_`` between their parts."""
    absolute = [folder.resolve() for folder in folders]
    for length in range(1, max(len(path.parts) for path in absolute) + 1):
        names = ["_".join(path.parts[-length:]) for path in absolute]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"roots name the same folder twice: {', '.join(map(str, folders))}")


def every_nth(names: Sequence[str], every: int) -> list[str]:
    """Every Nth name, beginning with the first; raises ValueError when ``every`` is below 1."""
    if every < 1:
        raise ValueError(f"every is {every}, expected 1 (all frames) or more")
    return list(names[::every])


def check_same_frames(folder: Path, images: Sequence[str], poses: Sequence[str]) -> None:
    """Raises ValueError unless colour images and poses are of the same frames of a scan."""
    if not images:
        raise ValueError(f"{folder}: no colour images found; see docs/data_layout.md for its files")
    odd = sorted(set(images) ^ set(poses))
    if odd:
        lacking = "pose" if odd[0] in images else "colour image"
        raise ValueError(
            f"{folder}: {len(images)} colour images but {len(poses)} poses; {odd[0]} has no "
            f"{lacking}. Restore what is missing or delete the other files of the frame"
        )


def size_of(path: Path) -> int:
    """Bytes of a file, -1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def content_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_numbers(path: Path) -> list[float]:
    """All numbers of a text file separated by blanks and line breaks; inf and nan are numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else in it, with its position.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    words = path.read_bytes().decode("utf-8-sig", errors="replace").split()
    numbers = []
    for position, word in enumerate(words):
        try:
            numbers.append(float(word))
        except ValueError:
            raise ValueError(
                f"{path}: value {position + 1} is {word[:20]!r}, not a number"
            ) from None
    return numbers


def _read_matrix(path: Path) -> list[float]:
    """``read_numbers`` of a file that holds one matrix, looked at before it is read."""
    if path.is_file() and path.stat().st_size > MAX_MATRIX_BYTES:
        raise ValueError(f"{path} is of {path.stat().st_size} bytes, expected one small matrix")
    return read_numbers(path)


def read_pose(path: Path) -> Tensor:
    """A 4x4 matrix of a text file, row by row: (4, 4) float64, whatever its values.

    Raises:
        LostPose: missing, or not 16 numbers.
    """
    try:
        numbers = _read_matrix(path)
    except (FileNotFoundError, ValueError) as error:
        raise LostPose(f"pose {error}") from error
    if len(numbers) != 16:
        raise LostPose(f"pose {path} holds {len(numbers)} numbers, expected 4x4")
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)


def read_intrinsics(path: Path) -> Tensor:
    """A 3x3 matrix, or the upper left of a 4x4 one, of a text file: (3, 3) float64.

    Raises:
        FileNotFoundError: no such file, with the remedy.
        ValueError: not 9 or 16 numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"intrinsics {path} does not exist; put the camera's 3x3 matrix there (fx 0 cx / "
            "0 fy cy / 0 0 1, in pixels)"
        )
    numbers = _read_matrix(path)
    side = {9: 3, 16: 4}.get(len(numbers))
    if side is None:
        raise ValueError(f"intrinsics {path} holds {len(numbers)} numbers, expected 3x3 or 4x4")
    return torch.tensor(numbers, dtype=torch.float64).reshape(side, side)[:3, :3].clone()


def pinhole(intrinsics: Tensor, size: tuple[int, int], origin: str) -> Camera:
    """A camera at the origin, from intrinsics whose file does not say the image size.

    Args:
        intrinsics: (3, 3) in pixels.
        size: (height, width) of the images they are used for.
        origin: the file, for messages.

    Raises:
        ValueError: intrinsics that cannot be; WrongIntrinsics: not of images of that size.
    """
    height, width = size
    try:
        camera = Camera(intrinsics, height, width)
    except ValueError as error:
        raise ValueError(f"intrinsics {origin}: {error}") from error
    centre_u, centre_v = float(intrinsics[0, 2]), float(intrinsics[1, 2])
    off = max(abs(centre_u / width - 0.5), abs(centre_v / height - 0.5))
    if off > CENTRE_TOLERANCE:
        raise WrongIntrinsics(
            f"intrinsics {origin} have their centre at ({centre_u:g}, {centre_v:g}), but images "
            f"are {width}x{height}: they were written for another size; scale them or re-export",
            intrinsics,
            size,
        )
    return camera
