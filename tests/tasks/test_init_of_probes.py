"""Probes that start from the weights of another probe."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt.config import make_config
from pcpt.engine.checkpoint import load_checkpoint
from pcpt.engine.run import build, train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.tasks.linear_svm import LinearSvm
from tests.tasks.colored_scenes import colored_run
from tests.tasks.tiny_shapes import batches, placed_data, same_state, state_of, tiny_points


def svm_run(run: Path, **sections: Any) -> Any:
    return make_config(
        {
            "run": str(run),
            "device": "cpu",
            "task": {"name": "linear_svm", "costs": [0.5]},
            "student": {"name": "tiny_points"},
            "data": {"source": {"name": "placed_shapes"}, "num_points": 0, "normalise": "none"},
            "optim": {"lr": 1e-3},
            "train": {"steps": 1, "batch_size": 1},
        }
        | sections
    )


def test_a_machine_with_a_single_c_may_be_started_from(tmp_path: Path) -> None:
    train(svm_run(tmp_path / "first"))
    train(svm_run(tmp_path / "second", init=str(tmp_path / "first")))
    record = evaluate_task(tmp_path / "second", split="test")
    assert record["figures"]["selection"]["accuracy"] == {"0.5": None}


def fitted(data: Any, state: dict[str, torch.Tensor] | None = None, **keys: Any) -> LinearSvm:
    task = LinearSvm(LinearSvm.Config(**keys), tiny_points(), data)
    if state is not None:
        task.load_state_dict(state)
    task.fit()
    return task


@pytest.mark.parametrize("costs", [[0.5], [0.1, 0.5]])
def test_a_machine_without_standardisation_takes_none_over(costs: list[float]) -> None:
    data = placed_data(noise=0.8)
    plain = fitted(data, standardize=False, costs=costs)
    scaled = fitted(data, costs=costs)
    again = fitted(data, scaled.state_dict(), standardize=False, costs=costs)
    assert same_state(again, state_of(plain)) and not same_state(scaled, state_of(plain))
    shapes = batches(again, data, "test")
    assert again.evaluate(shapes) == plain.evaluate(shapes)


def test_records_of_older_machines_are_read() -> None:
    task = fitted(placed_data(), costs=[0.5])
    task.val_accuracy.fill_(torch.nan)
    figures = task.evaluate(batches(task, placed_data(), "test"))
    assert figures["selection"]["accuracy"] == {"0.5": None}


def test_a_probe_of_scenes_takes_no_standardisation_over(tmp_path: Path) -> None:
    task = {"name": "linear_probe", "standardize": False}
    probe: Any = build(colored_run(tmp_path, task)).method
    probe.feature_mean.fill_(3)
    probe.feature_scale.fill_(2)
    probe.set_statistics(torch.rand(5, probe.num_channels))
    assert not probe.feature_mean.any() and bool((probe.feature_scale == 1).all())


def test_a_bank_of_other_scenes_is_not_taken_over(tmp_path: Path) -> None:
    def bank(name: str, seed: int, init: str = "") -> dict[str, torch.Tensor]:
        config = colored_run(
            tmp_path / name,
            {"name": "knn_probe"},
            data={"limit": {"scenes": 1, "seed": seed}},
            train={"steps": 1, "batch_size": 1},
        )
        config.init = init
        train(config)
        record = evaluate_task(tmp_path / name)
        assert record["labelled"]["scenes"] == 1
        return load_checkpoint(tmp_path / name / "checkpoints" / "step_00000001.pt")["method"]

    first = bank("first", 0)
    plain, started = bank("plain", 1), bank("started", 1, str(tmp_path / "first"))
    for key in ("bank", "bank_labels"):
        assert torch.equal(plain[key], started[key]) and not torch.equal(plain[key], first[key])
