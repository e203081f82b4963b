"""Learning rates worked by hand, and which parameters decay."""

import math

import pytest
import torch
from torch import nn

from pcpt.engine.optim import (
    OPTIMIZERS,
    OptimConfig,
    build_optimizer,
    learning_rate,
    set_learning_rate,
)


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
    "options",
    [
        *({"lr": 0.0}, {"weight_decay": -1.0}, {"betas": [0.9]}, {"drops": [1.5]}),
        *({"power": power} for power in (-0.9, math.nan, math.inf)),
    ],
)
def test_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"optim\.{next(iter(options))} is"):
        OptimConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_fused_because_others_do_not_repeat_between_processes(name: str) -> None:
    optimizer = build_optimizer(OptimConfig(name=name), nn.Linear(3, 2))
    assert all(group["fused"] for group in optimizer.param_groups)


class Headed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_trunk_has_a_rate_of_its_own(name: str) -> None:
    module = Headed()
    config = OptimConfig(
        name=name, trunk_lr_scale=0.25, weight_decay=0.1, decay_bias_and_norm=False
    )
    optimizer = build_optimizer(config, module)
    set_learning_rate(optimizer, 0.5)
    groups = {
        tuple(id(p) for p in group["params"]): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
    }
    trunk, head = module.student, module.head
    assert groups == {
        (id(trunk[0].weight),): (0.125, 0.1),
        (id(trunk[0].bias), id(trunk[1].weight), id(trunk[1].bias)): (0.125, 0.0),
        (id(head.weight),): (0.5, 0.1),
        (id(head.bias),): (0.5, 0.0),
    }


def test_a_scaled_step_is_a_step_at_the_scaled_rate() -> None:
    """Trunk and head move as two optimizers of their own would move them."""
    modules = []
    for scale in (0.1, 1.0):
        torch.manual_seed(0)
        module = Headed()
        x = torch.rand(5, 2)
        optimizer = build_optimizer(OptimConfig(trunk_lr_scale=scale, weight_decay=0.1), module)
        for step in range(3):
            set_learning_rate(optimizer, (0.02 if scale < 1 else 0.002) * (step + 1))
            optimizer.zero_grad()
            module.student(x).square().sum().backward()
            optimizer.step()
        modules.append(module.student[0].weight)
    assert torch.allclose(*modules, rtol=1e-6)


def test_no_group_changes_at_scale_one() -> None:
    """So that checkpoints from before the key go on."""
    groups = build_optimizer(OptimConfig(), Headed()).param_groups
    assert len(groups) == 1 and "lr_scale" not in groups[0]


def test_a_trunk_that_is_not_there() -> None:
    module = Headed()
    module.student.requires_grad_(False)
    with pytest.raises(ValueError, match=r"Headed trains nothing under student\.\*"):
        build_optimizer(OptimConfig(trunk_lr_scale=0.1), module)
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"optim\.trunk_lr_scale is"):
            OptimConfig(trunk_lr_scale=scale)
