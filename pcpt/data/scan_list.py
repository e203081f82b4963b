"""Lists of scans, such as the train, val and test lists that data sets publish."""

import re
from pathlib import Path

MAX_BYTES = 1 << 24
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def read_scan_list(path: Path) -> list[str]:
    """The names in a text file, one a line; blank lines are skipped.

    Names become parts of paths, so that separators and leading dots are refused.

    Args:
        path: such as ``scannetv2_train.txt`` of github.com/ScanNet/ScanNet, Tasks/Benchmark.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no name, a name that comes twice, or none at all.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list of scans {path} does not exist")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"list of scans {path} has more than {MAX_BYTES} bytes: it is no list")
    names: dict[str, int] = {}
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{path} line {number}: {name[:40]!r} is no scan name; expected letters, digits, "
                "'_', '-' and '.', one name a line"
            )
        if name in names:
            raise ValueError(f"{path} line {number}: {name} is on line {names[name]} already")
        names[name] = number
    if not names:
        raise ValueError(f"list of scans {path} is empty")
    return list(names)
