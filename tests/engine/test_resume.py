"""Interrupted and resumed runs equal uninterrupted ones bit for bit; nothing is trampled on."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pcpt.config import load_config, make_config
from pcpt.engine.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    newest_whole,
    step_of,
)
from pcpt.engine.loggers import read_records
from pcpt.engine.run import build, load_run, train
from pcpt.engine.trainer import Finished
from tests.engine.toy_run import ToyTeacher, toy_config, toy_tree


def figures(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what depends on the machine."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [
        {k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines
    ]


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Bit equality of nested states."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other)):
            assert_equal(*pair, f"{where}/{index}")
    else:
        assert one == other, where


def assert_same_run(one: Path, other: Path, step: int) -> None:
    assert figures(one) == figures(other)
    states = [load_checkpoint(checkpoint_path(run, step)) for run in (one, other)]
    for state in states:
        state.pop("config")
    assert_equal(*states)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resume_is_bit_equal(tmp_path: Path, workers: int, optimizer: str) -> None:
    common: dict[str, Any] = {
        "student": {"batch_norm": True},
        "optim": {"name": optimizer, "schedule": "one_cycle"},
        "train": {"workers": workers, "accumulate": 2, "clip_norm": 1.0},
    }
    whole = train(toy_config(tmp_path / "whole", **common))
    assert (whole.step, whole.signal) == (6, None)

    # samples 12 to 15 make the fourth step
    interrupting = toy_config(tmp_path / "halves", method={"signal_at": 13}, **common)
    assert train(interrupting) == Finished(4, signal.SIGTERM)
    assert [line["step"] for line in figures(tmp_path / "halves")] == [1, 2, 3, 4]
    assert train(interrupting, "auto") == Finished(6)
    assert_same_run(tmp_path / "whole", tmp_path / "halves", 6)


def test_resume_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = toy_config(run, train={"checkpoint_every": 2})
    train(config)
    before = figures(run)
    state = load_checkpoint(checkpoint_path(run, 6))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # as a killed process leaves it
    train(config, str(checkpoint_path(run, 2)))
    assert figures(run) == before
    assert_equal(load_checkpoint(checkpoint_path(run, 6)), state)
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert "step_00000004.pt.abandoned" in names and "step_00000004.pt" in names
    train(config, str(checkpoint_path(run, 2)))
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert {"step_00000004.pt.abandoned", "step_00000004.pt.abandoned.2"} < set(names)


def test_auto_falls_back_to_the_newest_whole_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    config = toy_config(run, train={"checkpoint_every": 2})
    train(config)
    state = load_checkpoint(checkpoint_path(run, 6))
    path = checkpoint_path(run, 6)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"step_00000006\.pt is truncated"):
        train(config, str(path))
    assert train(config, "auto").step == 6
    assert "step_00000006.pt is truncated" in caplog.text
    assert_equal(load_checkpoint(path), state)


def test_auto_starts_afresh_or_has_nothing_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run = tmp_path / "run"
    assert train(toy_config(run), "auto").step == 6
    lines = (run / "metrics.jsonl").read_text()
    assert train(toy_config(run), "auto").step == 6
    assert "6 of 6 steps are done" in caplog.text
    assert (run / "metrics.jsonl").read_text() == lines
    assert train(toy_config(run, train={"steps": 8}), "auto").step == 8
    assert "train.steps: 6 -> 8" in caplog.text
    assert yaml.safe_load((run / "config.yaml").read_text())["train"]["steps"] == 8


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(toy_config(run, train={"steps": 1}))
    content = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"already holds a run, and .*--resume auto.*run=FOLDER"):
        train(toy_config(run, train={"steps": 1}))
    with pytest.raises(ValueError, match=r"another config \(optim\.lr: 0\.01 -> 0\.5"):
        train(toy_config(run, train={"steps": 1}, optim={"lr": 0.5}))
    train(toy_config(tmp_path / "other", train={"steps": 1}))
    with pytest.raises(ValueError, match="not one of its checkpoints"):
        train(toy_config(run), str(checkpoint_path(tmp_path / "other", 1)))
    with pytest.raises(FileNotFoundError, match="no checkpoint there"):
        train(toy_config(run), str(tmp_path / "absent.pt"))
    assert content == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_a_new_run_may_start_from_another_runs_checkpoint(tmp_path: Path) -> None:
    train(toy_config(tmp_path / "a", train={"steps": 2}))
    finished = train(toy_config(tmp_path / "b", train={"steps": 3}), str(tmp_path / "a"))
    assert finished.step == 3
    assert [line["step"] for line in figures(tmp_path / "b")] == [3]


def test_what_a_dying_process_left_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    train(toy_config(run, train={"steps": 2, "checkpoint_every": 1}))
    checkpoint_path(run, 3).mkdir()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [line["step"] for line in read_records(run / "metrics.jsonl")] == [1, 2]
    assert newest_whole(run) == checkpoint_path(run, 2)
    assert "trying the one before" in caplog.text


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    train(toy_config(tmp_path / "run", train={"steps": 1}))
    wider = toy_config(tmp_path / "run", student={"width": 5})
    with pytest.raises(ValueError, match=r"layers\.0\.weight is \(4, 4\), expected \(5, 4\)"):
        train(wider, "auto")


def test_the_resolved_config_repeats_the_run(tmp_path: Path) -> None:
    train(toy_config(tmp_path / "a", train={"steps": 3}))
    train(load_config([tmp_path / "a" / "config.yaml"], [f"run={tmp_path / 'b'}"]))
    assert_same_run(tmp_path / "a", tmp_path / "b", 3)


def test_a_full_disk_leaves_the_config_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(toy_config(run, train={"steps": 1}))
    before = (run / "config.yaml").read_bytes()
    write = Path.write_text

    def full_disk(path: Path, text: str, **options: Any) -> None:
        write(path, text[:20], **options)
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        train(toy_config(run, train={"steps": 2}), "auto")
    assert (run / "config.yaml").read_bytes() == before


def test_another_teacher_at_the_same_path_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def begun(name: str) -> tuple[Any, Any]:
        steps = ({"steps": steps, "checkpoint_every": 2} for steps in (2, 4))
        first, longer = (toy_config(tmp_path / name, train=train) for train in steps)
        train(first)
        return first, longer

    _, longer = begun("same")
    before = json.loads((tmp_path / "same" / "environment.json").read_text())["teacher"]
    train(longer, resume="auto")
    after = json.loads((tmp_path / "same" / "environment.json").read_text())["teacher"]
    assert before == after and len(before) == 64 and "another teacher" not in caplog.text

    _, longer = begun("other")
    _, unknown = begun("unknown")
    (tmp_path / "unknown" / "environment.json").write_text("{}")  # of an earlier version
    made = ToyTeacher.__init__

    def exported_anew(self: ToyTeacher, config: ToyTeacher.Config) -> None:
        made(self, config)
        with torch.no_grad():
            self.linear.bias += 1

    monkeypatch.setattr(ToyTeacher, "__init__", exported_anew)
    train(unknown, resume="auto")
    assert "another teacher" not in caplog.text
    train(longer, resume="auto")
    assert caplog.text.count("with another teacher than it began with") == 1


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    train(toy_config(tmp_path, train={"checkpoint_every": 1, "keep_checkpoints": 2}))
    assert [step_of(p) for p in list_checkpoints(tmp_path)] == [5, 6]


def test_load_run_gives_the_trained_method(tmp_path: Path) -> None:
    config = toy_config(tmp_path, train={"checkpoint_every": 3})
    train(config)
    loaded, parts = load_run(tmp_path, device="cpu")
    assert loaded == config and not parts.method.training
    assert parts.method.prepared == 2  # type: ignore[comparison-overlap]
    assert_equal(
        dict(parts.method.state_dict()),
        dict(load_checkpoint(checkpoint_path(tmp_path, 6))["method"]),
    )
    _, earlier = load_run(tmp_path, path=checkpoint_path(tmp_path, 3), device="cpu")
    weight = "student.layers.0.weight"
    assert not torch.equal(earlier.method.state_dict()[weight], parts.method.state_dict()[weight])
    with pytest.raises(FileNotFoundError, match=r"config\.yaml"):
        load_run(tmp_path / "absent")


def test_students_start_alike_whatever_teaches_them(tmp_path: Path) -> None:
    one = build(toy_config(tmp_path))
    torch.rand(7)
    other = build(toy_config(tmp_path, method={"noise": 3.0}))
    assert_equal(dict(one.student.state_dict()), dict(other.student.state_dict()))
    reseeded = build(make_config({**toy_tree(tmp_path), "seed": 1}))
    weight = "layers.0.weight"
    assert not torch.equal(one.student.state_dict()[weight], reseeded.student.state_dict()[weight])
