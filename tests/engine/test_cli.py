"""The command line: exit codes, messages without tracebacks, dry runs, signals from outside."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pcpt import cli
from pcpt.engine.checkpoint import list_checkpoints, step_of
from tests.engine.toy_run import toy_tree


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(toy_tree(tmp_path / "run")))
    return path


def test_train_test_and_help(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", str(config), "train.steps=2"]) == 0
    assert cli.main(["train", "--resume", "auto", str(config), "train.steps=3"]) == 0
    assert "step 3/3" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in cli.COMMANDS)
    with pytest.raises(SystemExit):
        cli.main(["benchmrk"])


def test_mistakes_end_with_2_and_no_traceback(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["train", str(config), "optim.lrr=1"]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: unknown config key optim.lrr; did you mean 'lr'?")
    assert "Traceback" not in errors
    assert cli.main(["train", "absent.yaml"]) == 2
    assert "absent.yaml does not exist" in capsys.readouterr().err
    assert cli.main(["train", str(config), f"run={config}/below"]) == 2
    assert "toy.yaml" in (errors := capsys.readouterr().err) and "Traceback" not in errors
    monkeypatch.setenv("PCPT_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["train", "absent.yaml"])


_ENDLESS = """
import itertools, sys
from pcpt import cli
cli.COMMANDS["doctor"] = lambda words: [print(n) for n in itertools.count()]
sys.exit(cli.main(["doctor"]))
"""


def test_a_reader_that_stops_ends_a_command_quietly() -> None:
    command = [sys.executable, "-c", _ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


# As on Windows, which lacks these.
_ELSEWHERE = """
import math, sys
sys.modules.update(dict.fromkeys(("fcntl", "pwd", "grp", "resource", "termios")))
import torch
from pcpt import cli
from pcpt.engine.loggers import peak_memory_mib
assert math.isnan(peak_memory_mib(torch.device("cpu")))
sys.exit(cli.main(["train", "absent.yaml"]))
"""


def test_commands_start_without_what_unix_alone_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and "absent.yaml does not exist" in done.stderr, done.stderr


def test_dry_run_builds_everything_and_writes_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["train", str(config), "optim.lr=0.25", "--dry-run"]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    text = capsys.readouterr().out
    for words in (
        "lr: 0.25",
        "student toy_linear: 35 parameters",
        "teacher toy_fixed: 15 parameters, frozen",
        "data: 10 samples",
        "loss ",
    ):
        assert words in text


def start_in_a_group_of_its_own(arguments: list[str], log: Path) -> int:
    """Runs a command in a forked process, as a shell would; returns its process id."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            with log.open("w") as stream:
                sys.stdout = sys.stderr = stream
                code = cli.main(arguments)
        finally:
            os._exit(code)
    return child


def wait_for_lines(path: Path, number: int) -> None:
    end = time.monotonic() + 60
    while not path.is_file() or path.read_text().count("\n") < number:
        assert time.monotonic() < end, "the run does not get on"
        time.sleep(0.02)


def test_signals_to_the_whole_group_save_and_end(config: Path, tmp_path: Path) -> None:
    """As Ctrl-C in a terminal or a batch system's SIGTERM: workers get the signal, too."""
    words = ["train.workers=1", "train.steps=100000", "train.accumulate=3", "method.seconds=.01"]
    metrics = tmp_path / "run" / "metrics.jsonl"
    lines = 0
    for resume, number in (([], signal.SIGTERM), (["--resume", "auto"], signal.SIGINT)):
        log = tmp_path / f"{number}.log"
        child = start_in_a_group_of_its_own(["train", str(config), *words, *resume], log)
        wait_for_lines(metrics, lines + 3)
        os.killpg(child, number)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + number
        assert "continue with --resume auto" in log.read_text()
        lines = metrics.read_text().count("\n")
        assert step_of(list_checkpoints(tmp_path / "run")[-1]) == lines
    assert len(list_checkpoints(tmp_path / "run")) == 2


def test_a_second_signal_ends_at_once(config: Path, tmp_path: Path) -> None:
    words = ["train.steps=9", "method.seconds=9"]
    child = start_in_a_group_of_its_own(["train", str(config), *words], tmp_path / "log")
    wait_for_lines(tmp_path / "run" / "metrics.jsonl", 0)
    os.killpg(child, signal.SIGINT)
    begin, ended, status = time.monotonic(), 0, 0
    while not ended:
        time.sleep(0.1)
        os.killpg(child, signal.SIGTERM)
        ended, status = os.waitpid(child, os.WNOHANG)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert time.monotonic() - begin < 5, "the step was finished first"
    assert not list_checkpoints(tmp_path / "run")
