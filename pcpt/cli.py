"""The console command ``pcpt``; ``tools/*.py`` are the same functions, one each."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from pcpt._process import keep_freed_memory  # before torch, see there

# isort: split
import torch

from pcpt import __version__
from pcpt.bench.command import bench
from pcpt.benchmark.run import benchmark
from pcpt.config import load_config
from pcpt.doctor import examine, open_scan, write_doctor_report
from pcpt.doctor.open_scan import recognising
from pcpt.engine.evaluation import print_summary, report_runs
from pcpt.engine.export_minkowski import MinkowskiOptions, export_source
from pcpt.engine.run import dry_run
from pcpt.engine.run import train as train_run
from pcpt.engine.task_evaluation import is_task_run, report_task_runs
from pcpt.engine.visualization import visualize_run
from pcpt.prepare.command import prepare
from pcpt.scan_pictures import visualize_scan
from pcpt.students.kernel_order import KERNEL_ORDERS
from pcpt.tasks.test_time import Views
from pcpt.view import view


def train(arguments: Sequence[str]) -> int:
    """Trains the run that config files and overrides describe.

    Ends with 0 when all steps are done, and with 128 + the signal's number when a signal stopped it
    after a saved step, so that what follows in a script does not take the run for finished.
    """
    parser = argparse.ArgumentParser(prog="pcpt train", description="Trains a run.")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="CONFIG | key=value",
        help="config files, merged left to right, and overrides such as optim.lr=1e-3",
    )
    parser.add_argument("--init", metavar="PATH", help="weights to start from; sets the key init")
    parser.add_argument(
        "--init-kernel-order",
        choices=KERNEL_ORDERS,
        help="tap order if they are MinkowskiEngine's; sets the key init_kernel_order",
    )
    parser.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="continue the run folder's newest checkpoint if there is one, or a given checkpoint",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build everything, run one batch forward, print config and sizes, write nothing",
    )
    options = parser.parse_intermixed_args(arguments)
    overrides = [word for word in options.inputs if "=" in word]
    if options.init is not None:
        overrides.append(f"init={options.init}")
    if options.init_kernel_order is not None:
        overrides.append(f"init_kernel_order={options.init_kernel_order}")
    config = load_config([word for word in options.inputs if "=" not in word], overrides)
    if options.dry_run:
        print(dry_run(config))
        return 0
    finished = train_run(config, options.resume)
    if finished.signal is not None:
        print(f"stopped after step {finished.step}; continue with --resume auto", file=sys.stderr)
        return 128 + finished.signal
    return 0


def export(arguments: Sequence[str]) -> int:
    """Writes a student as model.safetensors, config.json and a card: a run's, or one that was
    trained with MinkowskiEngine."""
    parser = argparse.ArgumentParser(prog="pcpt export", description="Exports a student.")
    parser.add_argument(
        "source",
        metavar="RUN | FILE",
        help="run folder, its checkpoint, or weights of a Res16UNet of MinkowskiEngine",
    )
    parser.add_argument("folder", metavar="OUT", help="folder to write; made if need be")
    foreign = parser.add_argument_group("for weights of MinkowskiEngine")
    foreign.add_argument("--kernel-order", choices=KERNEL_ORDERS, help="of the taps (auto)")
    foreign.add_argument("--voxel-size", type=float, help="in metres, as in training (0.025)")
    foreign.add_argument(
        "--color-range", type=float, help="largest colour in training: 0.5 if in [-0.5, 0.5] (1)"
    )
    options = parser.parse_args(arguments)
    names = ("kernel_order", "voxel_size", "color_range")
    given = {name: getattr(options, name) for name in names}
    foreign_options = {name: value for name, value in given.items() if value is not None}
    settings = MinkowskiOptions(**foreign_options) if foreign_options else None
    for note in export_source(options.source, options.folder, settings):
        print(note)
    folder = options.folder
    print(f"exported to {folder}; its README.md says how to load it")
    return 0


def test(arguments: Sequence[str]) -> int:
    """Scores runs: pretraining on held-out frames or shapes, tasks on a split."""
    parser = argparse.ArgumentParser(
        prog="pcpt test", description="Scores runs on data they were not trained on."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, shown side by side")
    parser.add_argument("--checkpoint", metavar="PATH", help="instead of the run's newest")
    parser.add_argument(
        "--split",
        choices=("held_out", "train", "all", "val", "test"),
        help="held_out (the default), train or all of pretraining runs on frames; val (the "
        "default), test or train of task runs and of pretraining runs on shapes",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="semantic segmentation: also the mean over rotations and mirror images",
    )
    parser.add_argument(
        "--export", metavar="FOLDER", help="of a task run: write predictions as ScanNet's benchmark"
    )
    parser.add_argument(
        "--pool", metavar="FILE", help="segmentation: score the points of all runs together, too"
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="tasks on objects: also score the kept checkpoint that does best on val",
    )
    options = parser.parse_args(arguments)
    for option in ("checkpoint", "export"):
        if getattr(options, option) and len(options.runs) > 1:
            parser.error(f"--{option} goes with a single run")
    if options.best and options.checkpoint:
        parser.error("--best looks among all checkpoints: leave --checkpoint out")
    of_task = [is_task_run(run) for run in options.runs]
    if len(set(of_task)) > 1:
        parser.error("runs of tasks and of methods have different figures: test them apart")
    if of_task[0]:
        report_task_runs(
            options.runs,
            checkpoint=options.checkpoint,
            split=options.split or "val",
            views=Views() if options.tta else None,
            export=options.export,
            pool=options.pool,
            best=options.best,
        )
    elif options.tta or options.export or options.pool or options.best:
        parser.error(
            "--tta, --export, --pool and --best are for runs of tasks, this one is of a method"
        )
    else:
        report_runs(options.runs, checkpoint=options.checkpoint, split=options.split or "")
    return 0


def visualize(arguments: Sequence[str]) -> int:
    """Writes the report of a run: figures, pictures and a coloured cloud; or pictures of a scan."""
    parser = argparse.ArgumentParser(
        prog="pcpt visualize", description="Writes a run's report, or pictures of a scan."
    )
    parser.add_argument("run", metavar="RUN | SCAN", help="run folder; with --out, a scan or scene")
    parser.add_argument(
        "options", nargs="*", metavar="key=value", help="of the scan's source, with --out"
    )
    parser.add_argument("--out", metavar="FOLDER", help="write pictures of a scan there")
    parser.add_argument("--source", default="", help="of the scan; found from its files by default")
    parser.add_argument("--checkpoint", metavar="PATH", help="instead of the run's newest")
    parser.add_argument(
        "--split",
        default="",
        choices=("held_out", "train", "all", "val", "test"),
        help="held_out (the default), train or all of pretraining runs on frames; val (the "
        "default), test or train of task runs and of pretraining runs on shapes",
    )
    parser.add_argument("--frame", type=int, metavar="N", help="number within the split")
    parser.add_argument(
        "--scene",
        default="",
        metavar="NAME|N",
        help="of scenes or shapes: which of the split",
    )
    parser.add_argument(
        "--pixel", type=float, nargs=2, metavar=("U", "V"), help="what to look for the likeness of"
    )
    options = parser.parse_intermixed_args(arguments)
    if options.out:
        for picture in visualize_scan(options.run, options.out, options.source, options.options):
            print(picture)
        return 0
    if options.options or options.source:
        parser.error("--source and key=value are for scans; give --out FOLDER")
    if not (Path(options.run) / "config.yaml").is_file() and recognising(Path(options.run)):
        parser.error(f"{options.run} is a scan, not a run; give --out FOLDER for its pictures")
    path = visualize_run(
        options.run,
        checkpoint=options.checkpoint,
        frame=options.frame,
        pixel=tuple(options.pixel) if options.pixel else None,
        scene=options.scene,
        split=options.split,
    )
    if not is_task_run(options.run):
        print_summary(options.run)
    print(f"report: {path}")
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """Says whether a scan's poses, depth, colour and intrinsics fit together, and what mends it.

    Ends with 0 for a healthy scan and 1 for any other.
    """
    parser = argparse.ArgumentParser(
        prog="pcpt doctor", description="Looks for what is wrong with a scan."
    )
    parser.add_argument("scan", metavar="SCAN", help="a folder or file that a data source reads")
    parser.add_argument(
        "options", nargs="*", metavar="key=value", help="of the source, such as color_camera=FILE"
    )
    parser.add_argument("--source", default="", help="data source; found from the files by default")
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON object")
    parser.add_argument("--report", metavar="FOLDER", help="write a page with pictures there")
    options = parser.parse_intermixed_args(arguments)
    examination = examine(lambda: open_scan(options.scan, options.source, options.options))
    diagnosis = examination.diagnosis
    print(diagnosis.to_json() if options.json else diagnosis.text())
    if options.report:
        path = write_doctor_report(options.report, Path(options.scan).name, examination)
        print(f"report: {path}", file=sys.stderr)
    return 0 if diagnosis.healthy else 1


def rooms(arguments: Sequence[str]) -> int:
    """Makes synthetic furnished rooms in ScanNet's file formats."""
    from pcpt.data.rooms.config import RoomsConfig
    from pcpt.data.rooms.generate import generate_rooms

    default = RoomsConfig()
    parser = argparse.ArgumentParser(prog="pcpt rooms", description="Makes synthetic rooms.")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write, or to go on with")
    parser.add_argument("--rooms", type=int, default=60, help="how many in all (60)")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--frames", type=int, default=default.frames, help="of each scan (48)")
    sides = ("WIDTH", "HEIGHT")
    parser.add_argument("--size", type=int, nargs=2, metavar=sides, default=[320, 240])
    parser.add_argument("--color-size", type=int, nargs=2, metavar=sides, help="if not --size")
    parser.add_argument(
        "--spacing", type=float, default=default.spacing, help="of vertices, metres"
    )
    parser.add_argument("--drift", type=float, default=0.0, help="of tracking at the end, metres")
    parser.add_argument("--label-images", action="store_true", help="write labels of every frame")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(arguments)
    color_width, color_height = options.color_size or options.size
    config = RoomsConfig(
        seed=options.seed,
        frames=options.frames,
        depth_size=(options.size[1], options.size[0]),
        color_size=(color_height, color_width),
        spacing=options.spacing,
        drift=options.drift,
        label_images=options.label_images,
    )

    def tell(done: int, wanted: int) -> None:
        print(f"\r{done}/{wanted} rooms", end="" if done < wanted else "\n", flush=True)

    made = generate_rooms(options.out, options.rooms, config, jobs=options.jobs, progress=tell)
    print(f"made {made} rooms; {options.rooms} in {options.out}")
    return 0


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "test": test,
    "visualize": visualize,
    "view": view,
    "export": export,
    "doctor": doctor,
    "prepare": prepare,
    "benchmark": benchmark,
    "bench": bench,
    "rooms": rooms,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0, 2 for a mistake in what was asked or a file
    that cannot be read or written."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="pcpt",
        description="Pretrains 3D networks from 2D networks on posed RGB-D scans.",
        epilog="pcpt COMMAND --help tells more.",
    )
    parser.add_argument("--version", action="version", version=f"pcpt {__version__}")
    parser.add_argument("command", choices=COMMANDS)
    options = parser.parse_args(arguments[:1])
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_StandardError()])
    try:
        return COMMANDS[options.command](arguments[1:])
    except BrokenPipeError:  # of ``pcpt ... | head``: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell names the signal
    except (ValueError, OSError, torch.OutOfMemoryError) as error:
        if os.environ.get("PCPT_TRACEBACK") == "1":
            raise
        print(f"error: {error}\n(PCPT_TRACEBACK=1 shows where)", file=sys.stderr)
        return 2


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is *now*: a progress bar replaces it to keep lines apart."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr
