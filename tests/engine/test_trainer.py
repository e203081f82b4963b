"""Around the steps: what a run writes, shows and says when memory runs out."""

import io
import json
import logging
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcpt.engine import loggers
from pcpt.engine.repeatable import deterministic
from pcpt.engine.run import train
from tests.engine.toy_run import ToyMethod, toy_config


def test_what_a_run_writes(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "run"
    train(toy_config(run, train={"steps": 5, "log_every": 2}))
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.yaml", "environment.json", "data.json", "metrics.jsonl", "tensorboard",
        "checkpoints",
    }  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 4, 5]
    assert {"loss", "lr", "grad_norm", "norm", "num_pairs", "time/step", "time/data",
            "time/forward", "time/backward", "memory/peak_mib"} <= set(lines[0])  # fmt: skip
    assert lines[2]["time/thinking"] == 0.25  # per step, although two steps were taken

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    written = [(event.step, pytest.approx(event.value)) for event in events.Scalars("loss")]
    assert [(line["step"], line["loss"]) for line in lines] == written

    environment = json.loads((run / "environment.json").read_text())
    assert environment["torch"] == torch.__version__ and environment["threads"] >= 1
    assert {"pcpt", "git_commit", "python", "cpu", "kernels"} <= set(environment)
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step_00000005.pt"]


def test_plain_lines_when_piped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(toy_config(tmp_path, train={"steps": 3, "log_every": 2}))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/3", "step 2/3", "step 3/3"]
    for word in ("loss ", " pairs/s", "data ", "%", "memory ", " GiB", "left 0:00:00"):
        assert word in lines[0]
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_words_of_a_progress_line() -> None:
    figures = {"loss": 1.25, "num_samples": 8.0, "time/step": 0.5, "time/data": 0.05,
               "memory/peak_mib": 1536.0}  # fmt: skip
    assert loggers.describe(100, 10900, figures) == [
        "loss 1.2500", "16 samples/s", "data 10%", "memory 1.50 GiB", "left 1:30:00",
    ]  # fmt: skip
    assert loggers.describe(1, 2, {**figures, "num_pairs": 4096.0})[1] == "8192 pairs/s"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    train(toy_config(tmp_path))
    assert "6/6" in terminal.getvalue() and "pairs/s" in terminal.getvalue()


def test_skipped_frames_are_named_once_and_summed_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"source": {"name": "toy_numbers", "broken_every": 3}}
    train(toy_config(tmp_path, data=data, train={"steps": 12, "workers": 1}))
    messages = [record.getMessage() for record in caplog.records]
    for frame in range(4):
        assert sum(f"{frame}.png: depth is all zero" in message for message in messages) == 1
    assert messages[-1] == "skipped 4 broken frames: 4 in scan (named above)"


def test_out_of_memory_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(self: ToyMethod, batch: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ToyMethod, "forward", exhaust)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        train(toy_config(tmp_path))
    for key in ("step 1", "train.batch_size (now 2", "train.accumulate", "data.image_size"):
        assert key in str(caught.value)


def test_metrics_have_no_nan(tmp_path: Path) -> None:
    file = loggers.MetricsFile(tmp_path / "metrics.jsonl", 0)
    file.write(1, {"loss": float("nan"), "norm": float("inf"), "lr": 0.1})
    file.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text) == {"step": 1, "loss": None, "norm": None, "lr": 0.1}


def test_indexing_backward_repeats_with_several_threads() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        generator = torch.Generator().manual_seed(0)
        index = torch.randint(0, 50, (200_000,), generator=generator)
        weight = torch.randn(200_000, 4, generator=generator)
        features = torch.ones(50, 4, requires_grad=True)
        with deterministic(torch.device("cpu")):
            gradients = [
                torch.autograd.grad((features[index] * weight).sum(), features)[0] for _ in range(4)
            ]
        assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)


def test_logging_is_not_configured_by_the_library() -> None:
    assert not logging.getLogger("pcpt").handlers
