"""The runner: order, choices, failures, locks, changed plans, and a killed process."""

import json
import multiprocessing
import os
import select
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import pcpt
from pcpt.bench import execute as execute_module
from pcpt.bench import runner as runner_module
from pcpt.bench.cell_folder import CellFolder, State
from pcpt.bench.command import compute, overview
from pcpt.bench.execute import executor
from pcpt.bench.plan import Cell, Plan
from pcpt.bench.runner import Runner, estimate_minutes
from tests.bench.toy_plan import Pretender, toy_plan, toy_runner


def test_all_cells_are_computed_once_with_what_was_chosen(tmp_path: Path) -> None:
    plan, execute = toy_plan(), Pretender()
    runner = toy_runner(plan, tmp_path, execute)
    assert runner.run(plan.select())
    assert sorted(execute.names(tmp_path)) == sorted(plan.by_name)
    result = runner.folder("few/scratch/seed1").result()
    assert result is not None
    assert result["chosen"] == {"lr": "1e-2"}  # which suits scratch, but not the other row
    assert result["figures"] == {"points/miou": pytest.approx(0.3)}
    assert "lr=1e-2" in result["commands"][0]
    learned = runner.folder("few/learned/seed0").result()
    assert learned is not None and learned["chosen"] == {"lr": "1e-3"}
    assert str(tmp_path) not in json.dumps(learned)
    assert "init=OUT/cells/pretrain/seed0" in learned["commands"][0]
    assert toy_runner(plan, tmp_path, execute).run(plan.select())
    assert len(execute.ran) == len(plan.cells)


def test_a_failing_cell_stops_no_other_and_blocks_those_that_need_it(tmp_path: Path) -> None:
    plan, execute = toy_plan(), Pretender(pretrain=2)
    runner = toy_runner(plan, tmp_path, execute)
    assert not runner.run(plan.select())
    failure = runner.folder("pretrain/seed0").failure()
    assert failure is not None and "pcpt train ended with 2: error: it broke" in failure["error"]
    states = {cell.name: runner.folder(cell.name).state() for cell in plan.cells}
    assert states["few/scratch/seed0"] is State.DONE
    assert states["few/learned/seed0"] is State.TODO
    assert "pretrain/seed0: failed: pcpt train ended with 2" in overview(runner, plan.select())
    again = Pretender()
    assert not toy_runner(plan, tmp_path, again).run(plan.select())
    assert again.ran == []  # what failed is left alone until it is asked for
    assert toy_runner(plan, tmp_path, again, retry=True).run(plan.select())
    assert again.names(tmp_path) == ["pretrain/seed0", "few/learned/seed0", "few/learned/seed1"]


def test_metrics_that_are_not_there_fail_the_cell(tmp_path: Path) -> None:
    plan = toy_plan(cells=(Cell("a", (("test", "out={here}"),), metrics="metrics.json"),))
    runner = toy_runner(plan, tmp_path, Pretender())
    assert not runner.run(plan.cells)
    failure = runner.folder("a").failure()
    assert failure is not None and "left no metrics.json" in failure["error"]


def test_a_stopped_command_is_no_failure_and_finished_commands_are_not_repeated(
    tmp_path: Path,
) -> None:
    commands = (("train", "out={here}"), ("test", "out={here}", "figure=1"))
    plan = toy_plan(cells=(Cell("a", commands, metrics="metrics.json"),))
    runner = toy_runner(plan, tmp_path, Pretender(figure=143))
    assert not runner.run(plan.cells)
    assert runner.folder("a").state() is State.STARTED
    again = Pretender()
    assert toy_runner(plan, tmp_path, again).run(plan.cells)
    assert [words[0] for words in again.ran] == ["test"]


def test_a_cell_of_another_runner_is_left_alone_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.02)
    plan, execute = toy_plan(), Pretender()
    runner = toy_runner(plan, tmp_path, execute)
    other = CellFolder(tmp_path.resolve(), "pretrain/seed0", runner.fingerprints["pretrain/seed0"])
    with other.lock() as held:
        assert held is not None
        assert other.state() is State.RUNNING
        thread = threading.Thread(target=runner.run, args=(plan.select(),))
        thread.start()
        while not runner.folder("few/scratch/seed1").result():
            time.sleep(0.01)
        time.sleep(0.1)
        assert "pretrain/seed0" not in execute.names(tmp_path)
        assert thread.is_alive()
        other.begin()
        other.finish({"fingerprint": other.fingerprint, "figures": {}, "cpu_seconds": 1})
    thread.join(10)
    assert not thread.is_alive()
    assert "pretrain/seed0" not in execute.names(tmp_path)
    assert runner.folder("few/learned/seed1").state() is State.DONE


def test_several_jobs_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.02)
    plan, execute = toy_plan(), Pretender()
    assert toy_runner(plan, tmp_path, execute).run(plan.select(), jobs=3)
    assert sorted(execute.names(tmp_path)) == sorted(plan.by_name)


def _changed(plan: Plan, name: str) -> Plan:
    cells = tuple(
        replace(c, commands=(*c.commands, ("train", "out={here}")))
        if c.name == name else c for c in plan.cells
    )  # fmt: skip
    return toy_plan(cells=cells)


def test_cells_of_an_earlier_plan_stand_until_they_are_asked_for_again(tmp_path: Path) -> None:
    plan = toy_plan()
    toy_runner(plan, tmp_path, Pretender()).run(plan.select())
    plan = _changed(plan, "pretrain/seed0")
    execute = Pretender()
    runner = toy_runner(plan, tmp_path, execute)
    assert runner.run(plan.select())
    assert execute.ran == []
    assert runner.folder("few/learned/seed0").state() is State.OUTDATED
    assert "2 cells were done by an earlier plan" in overview(runner, plan.select())
    assert toy_runner(plan, tmp_path, execute, redo=True).run(plan.select())
    again = {"pretrain/seed0", "few/learned/seed0", "few/learned/seed1"}
    assert set(execute.names(tmp_path)) == again
    folder = runner.folder("few/learned/seed0")
    assert folder.state() is State.DONE
    assert len(list(folder.path.glob("outdated-*/result.json"))) == 1


def test_what_a_cell_needs_must_be_of_the_plan_as_it_is(tmp_path: Path) -> None:
    """New cells never start from an outdated pretraining."""
    plan = toy_plan()
    toy_runner(plan, tmp_path, Pretender()).run(plan.select(["few/learned"], [0]))
    plan = _changed(plan, "pretrain/seed0")
    execute = Pretender()
    assert toy_runner(plan, tmp_path, execute).run(plan.select(["few/learned"]))
    assert execute.names(tmp_path) == ["pretrain/seed0", "pretrain/seed0", "few/learned/seed1"]


def test_time_that_is_up(tmp_path: Path) -> None:
    plan, execute = toy_plan(), Pretender()
    runner = toy_runner(plan, tmp_path, execute, deadline=time.monotonic() - 1)
    assert compute(runner, plan.select(), 1) == 3
    assert execute.ran == []


def test_estimate(tmp_path: Path) -> None:
    plan = toy_plan()
    runner = toy_runner(plan, tmp_path, Pretender())
    assert estimate_minutes(runner, plan.cells) == 10.0 + 8
    folder = runner.folder("pretrain/seed0")
    with folder.lock():
        folder.begin()
        folder.finish({"fingerprint": folder.fingerprint, "figures": {}, "cpu_seconds": 1200})
    left = runner.pending(plan.select())
    assert len(left) == 8
    assert estimate_minutes(runner, left) == 16.0  # the machine is half as fast as was said


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    runner = toy_runner(toy_plan(), tmp_path, Pretender())
    folder = runner.folder("pretrain/seed0")
    folder.path.mkdir(parents=True)
    (folder.path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result.json is not JSON .*delete it"):
        folder.state()


# Stands in for pcpt.cli in the processes of cells: counts to 20 in a file, goes on where it was.
_COUNTER = """
import sys, time
from pathlib import Path
def main():
    path = Path(sys.argv[2]) / "count"
    done = len(path.read_text()) if path.exists() else 0
    print("starts at", done, flush=True)
    for _ in range(done, 20):
        with path.open("a") as file:
            file.write(".")
        time.sleep(0.05)
    return 0
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a package ``pcpt`` that holds nothing but the counter."""
    folder = tmp_path / "root"
    (folder / "pcpt").mkdir(parents=True)
    (folder / "pcpt" / "__init__.py").touch()
    (folder / "pcpt" / "cli.py").write_text(_COUNTER)
    return folder


def _count(root: Path, out: Path) -> int:
    plan = toy_plan(
        cells=(Cell("slow/seed0", (("count", "{here}"),), "scratch", "few", seed=0),), tuning=()
    )
    execute = executor(root, root / "pcpt")
    runner = Runner(plan, out, {}, root, execute, tell=lambda line: None)
    return compute(runner, plan.select(), 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_runner_goes_on_where_it_stopped(
    root: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.05)
    out = tmp_path / "out"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: os._exit(_count(root, out)))
    process.start()
    count = out / "cells" / "slow" / "seed0" / "count"
    while not count.exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    if number == signal.SIGTERM:
        assert process.exitcode == 128 + number
        assert len(count.read_text()) < 20
    else:  # the command was left behind and keeps the cell until it ends
        assert process.exitcode == -number
    assert _count(root, out) == 0
    assert count.read_text() == "." * 20  # nobody counted beside another
    log = (count.parent / "log.txt").read_text()
    assert log.count("$ pcpt count") == 2
    result = json.loads((count.parent / "result.json").read_text())
    assert number == signal.SIGKILL or result["seconds"] > 0.05
    assert _count(root, out) == 0
    assert (count.parent / "log.txt").read_text() == log


def test_a_crashing_command_fails_its_cell(root: Path, tmp_path: Path) -> None:
    (root / "pcpt" / "cli.py").write_text("import os\ndef main(): os.abort()\n")
    assert _count(root, tmp_path / "out") == 1
    failed = json.loads((tmp_path / "out/cells/slow/seed0/failed.json").read_text())
    assert "pcpt count ended with -6" in failed["error"]


# Saves when it is told to end, which takes a while; told again, it ends at once.
_SAVER = """
import os, signal, sys, time
from pathlib import Path
def main():
    folder = Path(sys.argv[2])
    def note(number, frame):
        signal.signal(number, lambda *_: os._exit(9))
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
        time.sleep(0.5)
        (folder / "saved").touch()
        os._exit(128 + number)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    (folder / "count").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_lets_the_command_save(
    root: Path, tmp_path: Path, number: int
) -> None:
    """As Ctrl-C in a terminal: the command hears of it from the runner alone, and once."""
    (root / "pcpt" / "cli.py").write_text(_SAVER)
    out = tmp_path / "out"

    def work() -> None:
        os.setpgid(0, 0)
        os._exit(_count(root, out))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    folder = out / "cells" / "slow" / "seed0"
    while not (folder / "count").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.killpg(process.pid, number)
    process.join(30)
    assert process.exitcode == 128 + number
    assert (folder / "saved").exists()
    assert json.loads((folder / "commands.jsonl").read_text())["status"] == execute_module.STOP
    assert not (folder / "failed.json").exists()


# Does not end when told to, nor does what it has started.
_STUBBORN = """
import os, signal, sys, time
from pathlib import Path
def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = os.fork()
    if child:
        (Path(sys.argv[2]) / "child").write_text(str(child))
    time.sleep(60)
"""


def test_what_a_command_has_started_ends_with_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute_module, "GRACE_SECONDS", 0.2)
    (root / "pcpt" / "cli.py").write_text(_STUBBORN)
    reading, writing = os.pipe()
    child = tmp_path / "child"
    execute = executor(root, root / "pcpt")
    ended = execute(["count", str(tmp_path)], tmp_path / "log", writing, child.exists)
    assert ended.status == execute_module.STOP
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], 10)
    assert ready and os.read(reading, 1) == b"", "somebody still holds the other end"
    os.close(reading)


def test_commands_run_this_code_whatever_package_lies_in_their_folder(
    root: Path, tmp_path: Path
) -> None:
    """A checkout beside an installed pcpt has its configs, but no kernels."""
    (root / "pcpt" / "cli.py").write_text("raise ImportError('of the folder')\n")
    with (tmp_path / "inherited").open("wb") as file:
        ended = executor(root)(["--version"], tmp_path / "log", file.fileno(), lambda: False)
    text = (tmp_path / "log").read_text()
    assert ended.status == 0 and f"pcpt {pcpt.__version__}" in text, text
