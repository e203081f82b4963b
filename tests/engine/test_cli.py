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
from pcpt.engine.checkpoint import list_checkpoints
from tests.conftest import REPOSITORY
from tests.engine.toy_run import toy_tree

TOY = REPOSITORY / "tests" / "engine" / "toy_run.py"


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
    monkeypatch.setenv("PCPT_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["train", "absent.yaml"])


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
        "data: 10 frames",
        "loss ",
    ):
        assert words in text


def test_signals_to_the_whole_group_save_and_end(config: Path, tmp_path: Path) -> None:
    """As Ctrl-C in a terminal or a batch system's SIGTERM: workers get the signal, too."""
    arguments = [
        "train.workers=1",
        "train.steps=100000",
        "train.accumulate=3",
        "method.seconds=.01",
        f"imports=[{TOY}]",
    ]
    command = [sys.executable, str(REPOSITORY / "tools" / "train.py"), str(config), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for resume, number in (([], signal.SIGTERM), (["--resume", "auto"], signal.SIGINT)):
        process = subprocess.Popen(
            [*command, *resume],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step ")
        time.sleep(0.1)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number, errors
        assert "Traceback" not in errors and "continue with --resume auto" in errors
    saved = [int(p.stem.removeprefix("step_")) for p in list_checkpoints(tmp_path / "run")]
    assert len(saved) == 2 and 0 < saved[0] < saved[1]
