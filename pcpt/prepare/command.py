"""The command ``pcpt prepare``."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from pcpt.prepare.report import line, text, write_report
from pcpt.prepare.run import Preparation, prepare_scans
from pcpt.prepare.settings import Settings
from pcpt.prepare.shards import write_shards
from pcpt.prepare.verify import verify


def prepare(arguments: Sequence[str]) -> int:
    """Makes checked folder scans of recordings, or verifies those made before.

    Ends with 0 when all scans were prepared, 1 when some failed or are damaged.
    """
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    try:
        if options.verify:
            if len(options.words) not in (1, 3):
                parser.error("--verify takes OUT alone, or SOURCE IN OUT")
            return _verify(Path(options.words[-1]))
        if len(options.words) < 3:
            parser.error("SOURCE, IN and OUT are needed")
        source, path, out, *of_source = options.words
        odd = [word for word in of_source if "=" not in word]
        if odd:
            parser.error(f"{odd[0]!r} is no key=value; quote globs, so that IN stays one word")
        if (options.backend == "dask") != bool(options.scheduler):
            parser.error("--backend dask and --scheduler ADDRESS go together")
        settings = Settings(
            source=source,
            options=tuple(sorted(of_source)),
            every=options.every,
            size=options.size,
            max_depth=options.max_depth,
            jpeg=options.jpeg,
            doctor=not options.no_doctor,
            leave_out_ill=options.leave_out_ill,
        )
        task = Preparation(settings, path, Path(out), options.jobs, options.scheduler)
        return _prepare(task, options.shards)
    except FileNotFoundError:
        raise  # something asked for, which the caller tells of
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _prepare(task: Preparation, megabytes: float | None) -> int:
    finished = prepare_scans(task, lambda outcome: print(line(outcome), flush=True))
    report = write_report(task.out, finished)
    print(text(report))
    if megabytes is not None and report["scans"]:
        print(f"shards    {write_shards(task.out, megabytes)}")
    return 1 if report["errors"] else 0


def _verify(out: Path) -> int:
    problems = verify(out)
    print("\n".join(problems) or f"{out}: every file is as it was written")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcpt prepare", description="Makes checked folder scans of recordings."
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="SOURCE IN OUT [key=value]",
        help="data source (or auto), where recordings lie, folder to write, options of the source",
    )
    add = parser.add_argument
    add("--every", type=int, default=1, metavar="N", help="take every Nth frame")
    add("--size", type=_size, metavar="HxW", help="reduce images to this")
    add("--max-depth", type=float, default=0.0, metavar="M", help="leave out what is farther")
    add("--jpeg", type=int, default=0, metavar="QUALITY", help="JPEG colour instead of PNG")
    add("--jobs", type=_jobs, default=1, metavar="N", help="processes; -1 is one a core")
    add("--backend", choices=("joblib", "dask"), default="joblib")
    add("--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster")
    add(
        "--shards", type=_megabytes, metavar="MB", help="pack the scans into tar files of this size"
    )
    add("--no-doctor", action="store_true", help="do not examine scans")
    add("--leave-out-ill", action="store_true", help="do not write scans that are ill")
    add("--verify", action="store_true", help="hash everything again, and name what is damaged")
    return parser


def _jobs(word: str) -> int:
    if not word.removeprefix("-").isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of processes, such as 4 or -1")
    return int(word)


def _megabytes(word: str) -> float:
    try:
        megabytes = float(word)
    except ValueError:
        megabytes = math.nan
    if not 0 < megabytes < math.inf:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of megabytes above 0")
    return megabytes


def _size(word: str) -> tuple[int, int]:
    height, cross, width = word.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{word!r} is no HxW, such as 240x320")
    return int(height), int(width)
