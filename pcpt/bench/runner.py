"""Computes the cells of a plan one after the other; stops and goes on at any point."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcpt.bench.cell_folder import LOG, CellFolder, State
from pcpt.bench.execute import STOPPED, Execute
from pcpt.bench.plan import Cell, Choice, Plan, fill
from pcpt.bench.results import cell_figures, make_result, read_metrics_file, without_paths

# How often a runner without anything to do looks whether the others have finished.
POLL_SECONDS = 5.0
_LOG_LINES = 12


class Failed(Exception):
    """A cell that cannot be computed; the message says why."""


@dataclass
class Runner:
    """Computes cells of a plan into a folder.

    Args:
        plan: what there is to compute.
        out: folder of the cells; several runners may share it.
        places: by name, what ``{NAME}`` stands for in the plan's commands.
        root: folder that config files are relative to.
        execute: see ``pcpt.bench.execute``.
        tell: called with a line for every cell that begins or ends.
        deadline: ``time.monotonic()`` after which no work is done, or None.
        redo: compute cells again whose plan has changed since they were done.
        retry: compute cells again that failed.
        after: called with every cell that was computed.
    """

    plan: Plan
    out: Path
    places: Mapping[str, str]
    root: Path
    execute: Execute
    tell: Callable[[str], None] = print
    deadline: float | None = None
    redo: bool = False
    retry: bool = False
    after: Callable[[Cell], None] = lambda cell: None
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.out = self.out.resolve()
        self.fingerprints = self.plan.fingerprints(self.root)
        self._tried: set[str] = set()  # failed or stopped in this run: not tried twice

    def folder(self, name: str) -> CellFolder:
        """The folder of a cell."""
        return CellFolder(self.out, name, self.fingerprints[name])

    def run(self, wanted: Sequence[Cell], jobs: int = 1) -> bool:
        """Computes cells and what they need, ``jobs`` at a time.

        Returns:
            Whether all are done; otherwise some failed or time was up.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(wanted,)) for _ in range(max(1, jobs) - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            self._work(wanted)
        except BaseException:
            self.stop.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        return all(self.is_done(cell, needed=False) for cell in wanted)

    def _guarded(self, wanted: Sequence[Cell]) -> None:
        try:
            self._work(wanted)
        except BaseException as error:
            self.tell(f"a job stopped: {error}")
            self.stop.set()
            raise

    def _work(self, wanted: Sequence[Cell]) -> None:
        while not self._is_over():
            cell, busy = self._next(wanted)
            if cell is not None:
                self._compute(cell)
            elif busy:
                self.stop.wait(POLL_SECONDS)
            else:
                return

    def _is_over(self) -> bool:
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return late or self.stop.is_set()

    def is_done(self, cell: Cell, needed: bool) -> bool:
        """Whether a cell counts as done. What other cells need must be of the plan as it is now;
        of other cells an outdated one stands until it is asked for again."""
        state = self.folder(cell.name).state()
        return state is State.DONE or (state is State.OUTDATED and not needed and not self.redo)

    def pending(self, wanted: Sequence[Cell]) -> list[Cell]:
        """What is left to compute, in order, failures included."""
        left = [cell for cell in wanted if not self.is_done(cell, needed=False)]
        return [
            cell
            for cell in self.plan.in_order(left)
            if cell in left or not self.is_done(cell, needed=True)
        ]

    def _next(self, wanted: Sequence[Cell]) -> tuple[Cell | None, bool]:
        """The next cell that can be computed now, and whether somebody else is busy with one that
        there is reason to wait for."""
        busy = False
        pending = self.pending(wanted)
        for cell in pending:
            state = self.folder(cell.name).state()
            if state is State.RUNNING:
                busy = True
            elif cell.name in self._tried or (state is State.FAILED and not self.retry):
                continue
            elif all(self.is_done(self.plan.by_name[name], True) for name in cell.needs()):
                return cell, busy
        return None, busy

    def _compute(self, cell: Cell) -> None:
        folder = self.folder(cell.name)
        with folder.lock() as descriptor:
            if descriptor is None:
                return
            if folder.state() is State.DONE:  # by another runner, since it was looked at
                return
            folder.begin()
            self.tell(f"{cell.name} ...")
            try:
                result = self._run_commands(cell, folder, descriptor)
            except (Failed, ValueError, OSError) as error:
                self._tried.add(cell.name)
                folder.fail({"error": str(error), "fingerprint": folder.fingerprint})
                self.tell(f"{cell.name} FAILED: {error}")
                return
            if result is None:
                self._tried.add(cell.name)
                self.tell(f"{cell.name} stopped; it goes on from here next time")
                return
            folder.finish(result)
        self.tell(self._summary(cell, result))
        self.after(cell)

    def _summary(self, cell: Cell, result: Mapping[str, Any]) -> str:
        words = [f"{cell.name} done in {result['cpu_seconds'] / 60:.1f} core-minutes"]
        shown = [c for c in self.plan.columns if c.name == cell.column]
        for figure in shown[0].figures if shown else ():
            value = result["figures"].get(figure.key)
            words.append(f"{figure.title} {figure.scale * value:.1f}" if value is not None else "")
        return ", ".join(filter(None, words))

    def _run_commands(
        self, cell: Cell, folder: CellFolder, descriptor: int
    ) -> dict[str, Any] | None:
        """Runs what has not yet run; None if it was stopped."""
        chosen = {choice.key: self._decide(choice) for choice in cell.choices}
        done = {a["command"] for a in folder.attempts() if a.get("status") == 0}
        commands = []
        for number, command in enumerate(cell.commands):
            words = [self._fill(word, folder, chosen) for word in command]
            commands.append(words)
            if number in done:
                continue
            begin = time.monotonic()
            log = folder.path / LOG
            status, cpu_seconds = self.execute(words, log, descriptor, self._is_over)
            folder.add_attempt(number, status, time.monotonic() - begin, cpu_seconds)
            if status in STOPPED:
                return None
            if status != 0:
                raise Failed(f"pcpt {words[0]} ended with {status}: {_tail(log)}")
        metrics = read_metrics_file(folder.path / cell.metrics) if cell.metrics else {}
        places = {**self.places, "out": str(self.out)}
        record = make_result(self.plan.name, cell, folder.fingerprint, chosen, commands, metrics)
        return without_paths(record | folder.times(), places)

    def _fill(self, word: str, folder: CellFolder, chosen: Mapping[str, str]) -> str:
        places = {**self.places, "out": str(self.out), "here": str(folder.path)}
        return fill(word, places, lambda name: str(self.folder(name).path), chosen)

    def _decide(self, choice: Choice) -> str:
        """The value whose cells have the highest mean; of equals the one named first."""
        means = {}
        for value, names in choice.cells.items():
            figures = [cell_figures(self.folder(name).result(), name) for name in names]
            absent = [n for n, f in zip(names, figures) if choice.figure not in f]
            if absent:
                raise Failed(f"{absent[0]} has no figure {choice.figure!r} to choose by")
            means[value] = sum(f[choice.figure] for f in figures) / len(figures)
        return max(means, key=lambda value: means[value])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    errors = [line for line in lines[-_LOG_LINES:] if line.startswith("error:")]
    return (errors or [line for line in lines if line.strip()] or ["no output"])[-1][-500:]


def estimate_minutes(runner: Runner, cells: Sequence[Cell]) -> float:
    """How long cells will take: as long as those of their kind took; where none of a kind is done,
    as long as the plan says, corrected by how the others compare with what it said."""
    took: dict[str, list[float]] = {}
    said = real = 0.0
    for cell in runner.plan.cells:
        result = runner.folder(cell.name).result()
        if result is not None:
            minutes = float(result.get("cpu_seconds", 0.0)) / 60
            took.setdefault(cell.kind, []).append(minutes)
            said, real = said + cell.minutes, real + minutes
    factor = real / said if said and real else 1.0
    total = 0.0
    for cell in cells:
        known = took.get(cell.kind)
        total += sum(known) / len(known) if known else cell.minutes * factor
    return total
