"""Learning rates worked by hand, and which parameters decay."""

import pytest
import torch
from torch import nn

from pcpt.engine.optim import OPTIMIZERS, OptimConfig, build_optimizer, learning_rate


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "cosine"}, [1, 0.85355339, 0.5, 0.14644661]),
        ({"schedule": "cosine", "min_lr": 0.5}, [1, 0.9267767, 0.75, 0.5732233]),
        ({"schedule": "poly", "power": 2.0}, [1, 0.5625, 0.25, 0.0625]),
        ({"schedule": "constant", "warmup_steps": 2}, [0.5, 1, 1, 1]),
        ({"schedule": "cosine", "warmup_steps": 2}, [0.5, 1, 1, 0.5]),
        ({"schedule": "one_cycle", "warmup_steps": 2}, [0.04, 0.52, 1, 0.5]),
        ({"schedule": "one_cycle"}, [0.04, 1, 0.75, 0.25]),  # 30% of 4 steps: 1
        ({"schedule": "drops", "drops": [0.3, 0.75]}, [1, 1, 0.1, 0.01]),
    ],
)
def test_learning_rate(options: dict[str, float | str | int], rates: list[float]) -> None:
    config = OptimConfig(lr=1.0, **options)  # type: ignore[arg-type]
    assert [learning_rate(config, step, 4) for step in range(4)] == pytest.approx(rates)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_optimizers_by_name(name: str, expected: type) -> None:
    optimizer = build_optimizer(OptimConfig(name=name, momentum=0.7), nn.Linear(2, 2))
    assert type(optimizer) is expected
    assert optimizer.param_groups[0].get("momentum", 0.7) == 0.7


def test_biases_and_norms_can_be_spared_from_decay() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    module[0].weight.requires_grad_(True)
    groups = build_optimizer(
        OptimConfig(weight_decay=0.1, decay_bias_and_norm=False), module
    ).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.1), (3, 0.0)]
    groups = build_optimizer(OptimConfig(weight_decay=0.1), module).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(4, 0.1)]


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ValueError, match="Linear has no trainable parameters"):
        build_optimizer(OptimConfig(), nn.Linear(2, 2).requires_grad_(False))


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"weight_decay": -1.0}, {"betas": [0.9]}, {"drops": [1.5]}]
)
def test_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"optim\.{next(iter(options))} is"):
        OptimConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_fused_because_others_do_not_repeat_between_processes(name: str) -> None:
    optimizer = build_optimizer(OptimConfig(name=name), nn.Linear(3, 2))
    assert all(group["fused"] for group in optimizer.param_groups)
