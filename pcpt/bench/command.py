"""``pcpt bench``: computes proofs and writes the page of results."""

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from pcpt.bench.cell_folder import State
from pcpt.bench.execute import PACKAGE, executor
from pcpt.bench.page import results_page
from pcpt.bench.plan import Cell, fill
from pcpt.bench.plans import PLANS, all_plans, get_plan
from pcpt.bench.results import collect, read_results
from pcpt.bench.runner import Runner, estimate_minutes
from pcpt.bench.table import Record, compared, groups, text_table
from pcpt.data.write_json import write_text

CONFIGS = Path("configs/proof")


def bench(arguments: Sequence[str]) -> int:
    """Computes a proof cell by cell, or makes tables of what was computed."""
    parser = argparse.ArgumentParser(prog="pcpt bench", description="Proofs, cell by cell.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_proof(commands.add_parser("proof", help="compute a table, or go on with one"))
    _add_table(commands.add_parser("table", help="make tables of finished cells"))
    options = parser.parse_args(arguments)
    return _proof(options) if options.command == "proof" else _table(options)


def checkout() -> Path:
    """The folder with the plans' configs: the working directory, or else where this package lies,
    which is a checkout unless pcpt was copied among installed packages.

    Raises:
        FileNotFoundError: neither has them.
    """
    for folder in (Path.cwd(), PACKAGE.parent):
        if (folder / CONFIGS).is_dir():
            return folder
    raise FileNotFoundError(
        f"there is no {CONFIGS} in {Path.cwd()}; run pcpt bench in a checkout of the repository"
    )


def _add_proof(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", default="rooms", choices=sorted(PLANS))
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, help="of the cells (runs/proof_PLAN); goes on there"
    )
    parser.add_argument(
        "--rooms", metavar="FOLDER", type=Path, default=Path("data/proof_rooms"),
        help="plan rooms: of the data, made if need be (data/proof_rooms)",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="FOLDER", type=Path, default=Path("data/modelnet10"),
        help="plan objects: train.npz, test.npz and classes.txt (data/modelnet10)",
    )  # fmt: skip
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="COLUMN/ROW", help="globs of what to compute"
    )
    parser.add_argument("--seeds", type=_numbers, default=[], metavar="0,1,2", help="some alone")
    parser.add_argument("--budget-minutes", type=float, metavar="N", help="stop after so long")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (1)")
    parser.add_argument(
        "--list", action="store_true", help="say what is done and left; compute nothing"
    )
    parser.add_argument("--retry", action="store_true", help="compute failed cells again")
    parser.add_argument(
        "--redo", action="store_true", help="compute again what the plan has changed since"
    )


def _add_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", metavar="FOLDER", type=Path,
        help="of the records (docs/results of the checkout)",
    )  # fmt: skip
    parser.add_argument(
        "--collect", nargs="+", metavar="OUT", type=Path, default=[],
        help="first copy the records of these proofs there",
    )  # fmt: skip
    parser.add_argument(
        "--write", nargs="?", const="", metavar="PAGE",
        help="write the page (docs/results.md) instead of printing it",
    )  # fmt: skip


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers such as 0,1,2") from None


def _proof(options: argparse.Namespace) -> int:
    plan = get_plan(options.plan)
    wanted = plan.select(options.only, options.seeds)
    places = {name: str(getattr(options, name).resolve()) for name in ("rooms", "data")}
    for file in plan.files:
        path = Path(fill(file, places, str, {}))
        if not options.list and not path.is_file():
            raise FileNotFoundError(
                f"plan {plan.name} needs {path}, which does not exist; give --data its folder"
            )
    minutes = options.budget_minutes
    root = checkout()
    runner = Runner(
        plan,
        options.out or Path("runs") / f"proof_{plan.name}",
        places,
        root,
        executor(root),
        tell=lambda line: print(f"{time.strftime('%H:%M')} {line}", flush=True),
        deadline=None if minutes is None else time.monotonic() + 60 * minutes,
        redo=options.redo,
        retry=options.retry,
    )
    if options.list:
        print(overview(runner, wanted))
        return 0
    return compute(runner, wanted, options.jobs)


def compute(runner: Runner, wanted: Sequence[Cell], jobs: int) -> int:
    """Runs a proof, printing each column's table as it fills; returns the exit status: 0 when all
    is done, 1 when cells failed, 3 when time was up, 128 + signal when stopped."""
    print(overview(runner, wanted, short=True), flush=True)
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        runner.stop.set()

    earlier = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    runner.after = lambda cell: _after(runner, wanted, cell)
    try:
        whole = runner.run(wanted, jobs)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if received:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 128 + received[0]
    print(overview(runner, wanted))
    if whole:
        return 0
    failed = any(runner.folder(c.name).state() is State.FAILED for c in runner.pending(wanted))
    return 1 if failed else 3


def _after(runner: Runner, wanted: Sequence[Cell], cell: Cell) -> None:
    left = runner.pending(wanted)
    duration = _duration(estimate_minutes(runner, left))
    print(f"      {len(left)} cells left, about {duration} of one core")
    columns = [column for column in runner.plan.columns if column.name == cell.column]
    if columns:
        print(text_table(runner.plan, records_of(runner), columns), flush=True)


def records_of(runner: Runner) -> list[Record]:
    """The records of a proof's finished cells, compared with the plan as it is."""
    found = (runner.folder(cell.name).result() for cell in runner.plan.cells)
    records = [record for record in found if record is not None]
    return compared(records, runner.fingerprints)


def overview(runner: Runner, wanted: Sequence[Cell], short: bool = False) -> str:
    """What is done and what is left, with failures; the tables too unless ``short``."""
    pending = runner.pending(wanted)
    lines = []
    if not short:
        for group, columns in groups(runner.plan.columns).items():
            lines += [group, text_table(runner.plan, records_of(runner), columns), ""]
    outdated = [c for c in wanted if runner.folder(c.name).state() is State.OUTDATED]
    for cell in pending:
        folder = runner.folder(cell.name)
        state = folder.state()
        failure = folder.failure() if state is State.FAILED else None
        if failure is not None:
            lines.append(f"{cell.name}: failed: {failure['error']}")
        elif not short:
            lines.append(f"{cell.name}: {state.value}")
    if outdated and not runner.redo:
        lines.append(
            f"{len(outdated)} cells were done by an earlier plan, such as {outdated[0].name}; "
            "--redo computes them again"
        )
    minutes = estimate_minutes(runner, pending)
    lines.append(
        f"{len(wanted) - len([c for c in pending if c in wanted])} of {len(wanted)} cells done; "
        f"{len(pending)} to compute with what they need, about {_duration(minutes)} of one core"
    )
    return "\n".join(lines)


def _duration(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"


def _table(options: argparse.Namespace) -> int:
    root = checkout()
    results = options.results or root / "docs" / "results"
    path = None if options.write is None else Path(options.write or root / "docs" / "results.md")
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise FileNotFoundError(f"--write {path}: not a file in a folder that exists")
    for out in options.collect:
        print(f"{collect(out, results)} records of {out} copied", file=sys.stderr)
    if not results.is_dir():
        raise FileNotFoundError(
            f"{results} does not exist; give --results the folder of the records, or --collect the "
            "--out folder of a proof"
        )
    page = results_page(all_plans(), read_results(results), root)
    if path is None:
        print(page)
        return 0
    write_text(path, page)
    print(f"wrote {path}", file=sys.stderr)
    return 0
