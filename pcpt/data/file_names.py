"""Names of shapes that lie in a file each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def names_of_files(root: Path, files: Sequence[Path]) -> list[str]:
    """The stem of each file, or, where several have the same, its path below ``root``: a shape
    ``0000`` of two class folders is ``chair/train/0000`` and ``table/train/0000``.

    Args:
        root: the folder that all are in.
        files: none of them twice.

    Returns:
        Names, all different.

    Raises:
        ValueError: two files that only their suffix tells apart.
    """
    common = Counter(file.stem for file in files)
    named: dict[str, Path] = {}
    for file in files:
        name = file.stem
        if common[name] > 1:
            name = file.relative_to(root).with_suffix("").as_posix()
        if name in named:
            raise ValueError(
                f"{named[name]} and {file} would both be shape {name!r}; rename one of them"
            )
        named[name] = file
    return list(named)
