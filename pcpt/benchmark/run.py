"""The command: reads options, runs the parts asked for, prints tables and writes JSON."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pcpt.benchmark.case import measure
from pcpt.benchmark.machine import describe
from pcpt.benchmark.parts import Part, all_parts
from pcpt.benchmark.report import heading, table, to_tree
from pcpt.benchmark.settings import DTYPES, Settings, threads
from pcpt.engine.distributed import pick_device
from pcpt.students.sparse_unet import VARIANTS

STDOUT = "-"


def benchmark(arguments: Sequence[str]) -> int:
    """Times pcpt against its alternatives, side by side in one process.

    Ends with 1 where an alternative gives another result than pcpt: one of the two is wrong.
    """
    parts = all_parts()
    options = _parser(parts).parse_args(arguments)
    unknown = sorted(set(options.parts) - {*parts, "all"})
    if unknown:
        raise ValueError(f"unknown part {unknown[0]!r} (known: {', '.join(parts)}, all)")
    chosen = list(parts) if "all" in options.parts else list(dict.fromkeys(options.parts))
    settings = Settings(
        device=pick_device(options.device),
        dtype=options.dtype,
        threads=options.threads or torch.get_num_threads(),
        repeats=options.repeats,
        quick=options.quick,
        scan=options.scan,
        student=options.student,
        batch=options.batch,
    )
    if options.json not in ("", STDOUT) and not Path(options.json).absolute().parent.is_dir():
        raise FileNotFoundError(f"--json {options.json}: its folder does not exist")
    with threads(settings.threads):
        disagreeing = _run([parts[name] for name in chosen], settings, options.json)
    for row in disagreeing:
        print(f"error: not timed, as it disagrees with pcpt: {row}", file=sys.stderr)
    return 1 if disagreeing else 0


def _run(parts: Sequence[Part], settings: Settings, json_path: str) -> list[str]:
    """Tables as results come; a file after every part, so that a later failure costs one part.

    Returns:
        What disagrees with pcpt.
    """
    disagreeing: list[str] = []
    stream = sys.stderr if json_path == STDOUT else sys.stdout
    machine = describe(settings)
    print(heading(machine), file=stream)
    report: dict[str, Any] = {"machine": machine, "parts": []}
    for part in parts:
        print(f"\n== {part.name}: {part.summary}", file=stream, flush=True)
        results = []
        for case in part.cases(settings):
            result = measure(case, settings)
            print("\n" + table(result), file=stream, flush=True)
            results.append(to_tree(result))
            disagreeing += [f"{part.name}, {case.name}: {name}" for name in result.disagreeing]
            del case, result  # its tensors, before the next case makes its own
        report["parts"].append({"part": part.name, "results": results})
        if json_path not in ("", STDOUT):
            Path(json_path).write_text(_json(report))
    if json_path == STDOUT:
        print(_json(report), end="")
    return disagreeing


def _json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _parser(parts: dict[str, Part]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pcpt benchmark",
        description="Times pcpt against its alternatives, side by side in one process.",
        epilog="parts: " + "; ".join(f"{p.name}: {p.summary}" for p in parts.values()),
    )
    parser.add_argument("parts", nargs="+", metavar="PART", help="one or several parts, or all")
    parser.add_argument("--json", default="", metavar="FILE", help="write figures; - is stdout")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=_count, default=0, help="CPU threads of torch")
    parser.add_argument("--repeats", type=_count, default=0, help="rounds, in place of the parts'")
    parser.add_argument("--scan", type=Path, metavar="FOLDER", help="a posed RGB-D scan")
    parser.add_argument(
        "--dtype", default="", choices=("", *DTYPES), help="of the sparse convolutions"
    )
    parser.add_argument("--student", default="", choices=("", *VARIANTS), help="of unet-step")
    parser.add_argument("--batch", type=_count, default=0, help="clouds at once, of unet-step")
    parser.add_argument("--quick", action="store_true", help="tiny inputs, to see that it works")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value
