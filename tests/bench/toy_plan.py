"""A plan whose commands a function in this process pretends to run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from pcpt.bench.execute import Ended
from pcpt.bench.plan import Cell, Choice, Column, Figure, Plan, Row
from pcpt.bench.runner import Runner

MIOU = Figure("points/miou", "mIoU")


def toy_plan(**changes: object) -> Plan:
    """Two rows and two seeds of one column; ``learned`` needs a pretraining, both need a rate that
    a tuning cell tried."""
    cells = [Cell("pretrain/seed0", (("train", "out={here}"),), minutes=10.0)]
    cells += [
        Cell(
            f"tune/{row}/lr{lr}", (("test", "out={here}", f"figure={value}"),), row=row,
            column="tune", seed=100, metrics="metrics.json",
        )
        for row in ("scratch", "learned")
        for lr, value in (("1e-3", 0.3), ("1e-2", 0.5 if row == "scratch" else 0.1))
    ]  # fmt: skip
    for seed in (0, 1):
        for row, figure in (("scratch", 0.2), ("learned", 0.4)):
            init = " init={cell:pretrain/seed0}" if row == "learned" else ""
            tried = {lr: [f"tune/{row}/lr{lr}"] for lr in ("1e-3", "1e-2")}
            words = ("test", "out={here}", f"figure={figure + seed / 10}", "lr={choice:lr}" + init)
            cells.append(
                Cell(
                    f"few/{row}/seed{seed}", (words,), row=row, column="few", seed=seed,
                    metrics="metrics.json", choices=(Choice("lr", tried, "points/miou"),),
                )
            )  # fmt: skip
    plan: dict[str, object] = {
        "name": "toy",
        "title": "Toys",
        "about": "What toys can do.",
        "rows": (Row("scratch", "scratch"), Row("learned", "learned", control=True)),
        "columns": (Column("tune", "tuning", (MIOU,)), Column("few", "few labels", (MIOU,), "Few")),
        "cells": tuple(cells),
        "baseline": "scratch",
        "tuning": ("tune",),
    }
    return Plan(**{**plan, **changes})  # type: ignore[arg-type]


class Pretender:
    """Executes nothing: notes the words, and leaves the metrics they name.

    Attributes:
        ran: words of every command so far.
        status: of commands by a word in them; others end with 0.
    """

    def __init__(self, **status: int) -> None:
        self.ran: list[list[str]] = []
        self.status = status

    def __call__(
        self, words: Sequence[str], log: Path, inherited: int, over: Callable[[], bool]
    ) -> Ended:
        self.ran.append(list(words))
        values = dict(word.split("=", 1) for word in words[1:])
        for key, status in self.status.items():
            if any(key in word for word in words):
                log.write_text("so far so good\nerror: it broke\n")
                return Ended(status, 3.0)
        if "figure" in values:
            metrics = {"figures": {"points/miou": float(values["figure"]), "confusion": [[1]]}}
            (Path(values["out"]) / "metrics.json").write_text(json.dumps(metrics))
        return Ended(0, 3.0)

    def names(self, out: Path) -> list[str]:
        """Cells whose commands ran, in order."""
        places = [dict(w.split("=", 1) for w in words[1:])["out"] for words in self.ran]
        return [str(Path(place).relative_to(out.resolve() / "cells")) for place in places]


def toy_runner(plan: Plan, out: Path, execute: Pretender, **options: object) -> Runner:
    """A runner of a toy plan that says nothing."""
    values: dict[str, object] = {"places": {}, "root": out, "tell": lambda line: None}
    return Runner(plan, out, execute=execute, **{**values, **options})  # type: ignore[arg-type]
