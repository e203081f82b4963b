"""Within a step: accumulation, clipping, steps that must be skipped, times."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.data.sampler import StepSampler
from pcpt.data.skips import SkipLog
from pcpt.engine.distributed import World
from pcpt.engine.loader import Loader
from pcpt.engine.run import build, train
from pcpt.engine.step import Stepper
from tests.engine.toy_run import ToyDataset, toy_config

CPU = torch.device("cpu")


def make(
    tmp_path: Path, batch_size: int, accumulate: int = 1, clip_norm: float = 0.0, **sections: Any
) -> tuple[Stepper, Any]:
    """A stepper over 9 steps and its batches."""
    config = toy_config(tmp_path, **sections)
    method = build(config).method.train()
    stepper = Stepper(
        method,
        config.optim,
        World(CPU),
        seed=0,
        num_steps=9,
        accumulate=accumulate,
        clip_norm=clip_norm,
    )
    sampler = StepSampler(batch_size, accumulate=accumulate, stop=9)
    loader = Loader(ToyDataset(0, 0), method.collate, sampler, device=CPU, skips=SkipLog())
    return stepper, iter(loader)


def parameters(stepper: Stepper) -> list[torch.Tensor]:
    return [p.detach().clone() for p in stepper.parameters]


def test_accumulating_equals_a_larger_batch(tmp_path: Path) -> None:
    quiet = {"method": {"noise": 0.0}, "optim": {"name": "sgd", "lr": 0.1}}
    small, small_batches = make(tmp_path, 2, accumulate=2, **quiet)
    large, large_batches = make(tmp_path, 4, **quiet)
    for number in range(3):
        one, other = small.step(number, small_batches), large.step(number, large_batches)
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-6)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], abs=1e-6)
        assert one["num_samples"] == other["num_samples"] == 4
        assert one["num_pairs"] == other["num_pairs"] == 8  # a count: summed, not averaged
    for p, q in zip(parameters(small), parameters(large)):
        torch.testing.assert_close(p, q, atol=1e-6, rtol=0)


def test_gradients_are_clipped(tmp_path: Path) -> None:
    sgd = {"optim": {"name": "sgd", "lr": 1.0, "momentum": 0.0, "schedule": "constant"}}
    stepper, batches = make(tmp_path, 4, clip_norm=0.5, **sgd)
    before = parameters(stepper)
    figures = stepper.step(0, batches)
    assert figures["grad_norm"] > 0.5  # what it was before
    moved = torch.cat([(p - q).flatten() for p, q in zip(parameters(stepper), before)])
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("bad", ["loss", "gradient"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing(
    tmp_path: Path, bad: str, accumulate: int, caplog: pytest.LogCaptureFixture
) -> None:
    stepper, batches = make(
        tmp_path,
        2,
        accumulate,
        method={"bad_samples": [2 * accumulate + 1], "bad": bad},
        student={"batch_norm": True},
    )
    assert stepper.step(0, batches)["loss"] > 0
    state = {k: v.clone() for k, v in stepper.method.state_dict().items()}
    moments = [s["exp_avg"].clone() for s in stepper.optimizer.state.values()]
    figures = stepper.step(1, batches)
    assert not torch.isfinite(torch.tensor(figures["grad_norm"]))
    assert f"step 2: the {bad} is not finite; skipped (1 of 5)" in caplog.text
    for name, value in stepper.method.state_dict().items():
        assert torch.equal(value, state[name]), name  # running statistics, too
    assert all(
        torch.equal(s["exp_avg"], m) for s, m in zip(stepper.optimizer.state.values(), moments)
    )
    assert stepper.step(2, batches)["grad_norm"] > 0
    assert not torch.equal(stepper.parameters[0], state["student.layers.0.weight"])


def test_the_sixth_skipped_step_is_an_error(tmp_path: Path) -> None:
    config = toy_config(tmp_path, method={"bad_samples": [2, 4, 6, 8, 10, 16]}, train={"steps": 9})
    with pytest.raises(ValueError, match=r"step 9: the loss .* 6th time.*optim\.lr"):
        train(config)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] is None for line in lines] == [False] + [True] * 5 + [False] * 2


def test_skipped_steps_are_remembered_across_a_resume(tmp_path: Path) -> None:
    bad = {"bad_samples": [0, 2, 4, 6, 8, 12], "signal_at": 10}
    config = toy_config(tmp_path, method=bad, train={"steps": 9})
    assert train(config).step == 6
    with pytest.raises(ValueError, match=r"step 7: .* 6th time"):
        train(config, "auto")


def test_times_add_up_apart_from_figures(tmp_path: Path) -> None:
    stepper, batches = make(tmp_path, 2, accumulate=3)
    figures = stepper.step(0, batches)
    assert set(figures) == {"loss", "lr", "grad_norm", "norm", "num_samples", "num_pairs"}
    assert stepper.seconds["time/thinking"] == 0.75  # three passes, a quarter each
    for name in ("data", "forward", "backward", "update"):
        assert stepper.seconds[f"time/{name}"] > 0


def test_amp_needs_cuda_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finished = train(toy_config(tmp_path, train={"amp": "bf16", "steps": 1}))
    assert finished.step == 1
    assert "train.amp=bf16 needs CUDA" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_mixed_precision(tmp_path: Path, amp: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    config = toy_config(tmp_path, train={"amp": amp, "steps": 20}, optim={"lr": 0.05})
    config.device = "cuda"
    assert train(config).step == 20
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    assert all(loss is not None for loss in losses) and min(losses[-5:]) < max(losses[:5])
