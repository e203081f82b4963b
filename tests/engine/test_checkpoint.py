"""Checkpoints are written whole or not at all, and nothing is unpickled when they are read."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pcpt.engine import checkpoint
from pcpt.engine.optim import OptimConfig, build_optimizer

STATE = {"step": 3, "method": {"weight": torch.arange(3.0)}, "config": {"run": "x"}}


def test_round_trip(tmp_path: Path) -> None:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    assert path == tmp_path / "checkpoints" / "step_00000003.pt"
    checkpoint.save_checkpoint(path, STATE)
    state = checkpoint.load_checkpoint(path)
    assert state["format"] == checkpoint.FORMAT and state["config"] == {"run": "x"}
    assert torch.equal(state["method"]["weight"], torch.arange(3.0))
    assert os.listdir(path.parent) == [path.name]


def test_a_save_that_fails_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, STATE)

    def fail_halfway(state: Any, file: Any) -> None:
        file.write(b"PK half of a checkpoint")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail_halfway)
    for step in (3, 4):
        with pytest.raises(OSError, match="disk full"):
            checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), STATE)
    assert os.listdir(path.parent) == [path.name]
    assert checkpoint.load_checkpoint(path)["step"] == 3


def test_a_killed_save_leaves_nothing_that_resume_would_take(tmp_path: Path) -> None:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, STATE)
    child = os.fork()
    if child == 0:  # dies between writing and renaming, as by a power cut
        os.replace = lambda *_: os._exit(9)  # type: ignore[assignment]
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, 4), STATE)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(os.listdir(path.parent)) == 2
    assert checkpoint.list_checkpoints(tmp_path) == [path]
    assert checkpoint.newest_whole(tmp_path) == path


def test_truncated_at_any_length_is_refused(tmp_path: Path) -> None:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"step_00000003\.pt is (truncated|no checkpoint)"):
            checkpoint.load_checkpoint(path)


def test_damaged_content_is_refused(tmp_path: Path) -> None:
    path = checkpoint.checkpoint_path(tmp_path, 3)
    checkpoint.save_checkpoint(path, STATE)
    damaged = bytearray(path.read_bytes())
    place = damaged.index(torch.arange(3.0).numpy().tobytes())
    damaged[place + 3] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        checkpoint.load_checkpoint(path)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("exit 1",))


def test_objects_are_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    path = tmp_path / "step_00000001.pt"
    torch.save({"format": 1, "method": Malicious()}, path)
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(pickle.dumps(Malicious()))
    monkeypatch.setattr(os, "system", ran.append)
    with pytest.raises(ValueError, match=r"step_00000001\.pt holds Python objects.*refused"):
        checkpoint.load_checkpoint(path)
    with pytest.raises(ValueError, match=r"bare\.pkl is a bare pickle.*refused"):
        checkpoint.load_checkpoint(bare)
    assert not ran


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    foreign = tmp_path / "weights.pt"
    torch.save({"weight": torch.ones(1)}, foreign)
    with pytest.raises(ValueError, match=r"weights\.pt is no checkpoint of a pcpt run"):
        checkpoint.load_checkpoint(foreign)
    text = tmp_path / "notes.pt"
    text.write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.pt is no checkpoint.*b'he'"):
        checkpoint.load_checkpoint(text)
    torch.save({"format": checkpoint.FORMAT + 1}, foreign)
    with pytest.raises(ValueError, match="install a newer pcpt"):
        checkpoint.load_checkpoint(foreign)
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist"):
        checkpoint.load_checkpoint(tmp_path / "absent.pt")


def test_keep_newest(tmp_path: Path) -> None:
    for step in (5, 123456789, 20, 10):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), STATE)
    (tmp_path / "checkpoints" / "step_best.pt").write_text("mine")
    checkpoint.keep_newest(tmp_path, 0)
    assert [checkpoint.step_of(p) for p in checkpoint.list_checkpoints(tmp_path)] == [
        5, 10, 20, 123456789,
    ]  # fmt: skip
    checkpoint.keep_newest(tmp_path, 2)
    steps = [checkpoint.step_of(p) for p in checkpoint.list_checkpoints(tmp_path)]
    assert steps == [20, 123456789]
    assert (tmp_path / "checkpoints" / "step_best.pt").exists()


def test_newest_whole_passes_over_damaged_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.newest_whole(tmp_path) is None
    for step in (1, 2):
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(tmp_path, step), STATE)
    newest = checkpoint.checkpoint_path(tmp_path, 2)
    newest.write_bytes(newest.read_bytes()[:-10])
    assert checkpoint.newest_whole(tmp_path) == checkpoint.checkpoint_path(tmp_path, 1)
    assert "step_00000002.pt is truncated" in caplog.text


def test_another_architecture_is_listed() -> None:
    saved = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False)).state_dict()
    own = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1), nn.BatchNorm1d(1))
    with pytest.raises(ValueError) as caught:
        checkpoint.restore_module(own, saved, Path("c.pt"))
    message = str(caught.value)
    assert "checkpoint c.pt is of another architecture" in message
    assert "0.weight is (3, 2), expected (3, 4)" in message
    assert "1.bias is missing" in message and "2.running_var is missing" in message
    with pytest.raises(ValueError, match=r"1\.bias is unknown"):
        checkpoint.restore_module(nn.Sequential(nn.Linear(2, 3)), own.state_dict(), Path("c.pt"))


def test_optimizer_keeps_moments_but_not_options() -> None:
    module = nn.Linear(2, 2)
    old = build_optimizer(OptimConfig(weight_decay=0.1), module)
    module(torch.ones(1, 2)).sum().backward()
    old.step()
    new = build_optimizer(OptimConfig(weight_decay=0.2), module)
    checkpoint.restore_optimizer(new, old.state_dict(), Path("c.pt"))
    assert new.param_groups[0]["weight_decay"] == 0.2
    moment = new.state[module.weight]["exp_avg"]
    assert torch.equal(moment, old.state[module.weight]["exp_avg"]) and moment.abs().sum() > 0
    for other in (OptimConfig(name="sgd"), OptimConfig(decay_bias_and_norm=False)):
        with pytest.raises(ValueError, match=r"c\.pt was written with another optimizer"):
            checkpoint.restore_optimizer(
                build_optimizer(other, module), old.state_dict(), Path("c.pt")
            )
