"""Optimizers and learning-rate schedules by name. The rate is a pure function of the step, so a
resumed run needs no scheduler state."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from pcpt.choices import check_choice, check_minimum

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "poly", "one_cycle", "drops")
# One-cycle, as Smith and Topin (arXiv 1708.07120) and the libraries that followed them set it.
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
TRUNK = "student."
# Key of a parameter group. Absent where no group has a rate of its own, so that checkpoints from
# before there was one go on.
SCALE = "lr_scale"


@dataclass
class OptimConfig:
    """Keys of the ``optim`` section.

    Attributes:
        name: sgd, adam (decay joins the gradient) or adamw (decoupled decay).
        lr: peak learning rate.
        trunk_lr_scale: what the rate is multiplied by for the network under a task's head, i.e.
            parameters named ``student.*``; below 1 spares pretrained weights.
        weight_decay: see ``name``.
        decay_bias_and_norm: False spares biases and norm layers, i.e. parameters of one dimension.
        momentum, dampening, nesterov: of sgd.
        betas: of adam and adamw.
        schedule: constant, cosine, poly, one_cycle (half a cosine up, half a cosine down), or drops
            (a tenth of the rate after each of ``drops``).
        warmup_steps: linear rise to ``lr``; of one_cycle the length of the rise, 0 meaning 30%.
        power: of poly.
        min_lr: where cosine, poly and one_cycle end.
        drops: of drops, shares of the run after its warm-up, in (0, 1).
    """

    name: str = "adamw"
    lr: float = 1e-3
    trunk_lr_scale: float = 1.0
    weight_decay: float = 0.0
    decay_bias_and_norm: bool = True
    momentum: float = 0.9
    dampening: float = 0.0
    nesterov: bool = False
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    schedule: str = "cosine"
    warmup_steps: int = 0
    power: float = 0.9
    min_lr: float = 0.0
    drops: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_choice("optim.name", self.name, OPTIMIZERS)
        check_choice("optim.schedule", self.schedule, SCHEDULES)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"optim.lr is {self.lr}, expected a positive number")
        if not 0 < self.trunk_lr_scale < math.inf:
            raise ValueError(
                f"optim.trunk_lr_scale is {self.trunk_lr_scale}, expected a positive number"
            )
        if not 0 <= self.power < math.inf:
            raise ValueError(f"optim.power is {self.power}, expected a finite number from 0 on")
        for key in ("weight_decay", "momentum", "warmup_steps", "min_lr"):
            check_minimum(f"optim.{key}", getattr(self, key), 0)
        if not all(0 < share < 1 for share in self.drops):
            raise ValueError(f"optim.drops is {list(self.drops)}, expected shares in (0, 1)")
        if len(self.betas) != 2:
            raise ValueError(f"optim.betas is {list(self.betas)}, expected two numbers")


def build_optimizer(config: OptimConfig, module: nn.Module) -> Optimizer:
    """The optimizer of a module's trainable parameters.

    The fused implementations, and not for their speed alone: with the plain AdamW of torch 2.13 on
    two CPU threads, about one process in four rounded the same step on the same gradients
    differently, so that seeded runs did not repeat.

    Raises:
        ValueError: nothing to train; or a rate of its own for a trunk that is not there.
    """
    trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError(f"{type(module).__name__} has no trainable parameters")
    if config.trunk_lr_scale == 1:
        groups = _groups(config, list(trainable.values()))
    else:
        trunk = [p for name, p in trainable.items() if name.startswith(TRUNK)]
        rest = [p for name, p in trainable.items() if not name.startswith(TRUNK)]
        if not trunk:
            raise ValueError(
                f"optim.trunk_lr_scale is {config.trunk_lr_scale}, but {type(module).__name__} "
                f"trains nothing under {TRUNK}*; leave it at 1"
            )
        groups = [{**group, SCALE: config.trunk_lr_scale} for group in _groups(config, trunk)]
        groups += [{**group, SCALE: 1.0} for group in _groups(config, rest)]
    if config.name == "sgd":
        return SGD(
            groups,
            lr=config.lr,
            momentum=config.momentum,
            dampening=config.dampening,
            nesterov=config.nesterov,
            fused=True,
        )
    betas = (config.betas[0], config.betas[1])
    return (Adam if config.name == "adam" else AdamW)(groups, lr=config.lr, betas=betas, fused=True)


def _groups(config: OptimConfig, parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    """One group of parameters that decay and one of those that are spared, where there are any."""
    spared = [] if config.decay_bias_and_norm else [p for p in parameters if p.ndim <= 1]
    decayed = parameters if config.decay_bias_and_norm else [p for p in parameters if p.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Gives every parameter group ``rate`` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(SCALE, 1.0)


def learning_rate(config: OptimConfig, step: int, num_steps: int) -> float:
    """Learning rate of step ``step`` (from 0) of a run of ``num_steps``."""
    if config.schedule == "one_cycle":
        return _one_cycle(config, step, num_steps)
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup_steps) / max(1, num_steps - config.warmup_steps)
    if config.schedule == "drops":
        return config.lr * 0.1 ** sum(progress >= share for share in config.drops)
    if config.schedule == "poly":
        return config.min_lr + (config.lr - config.min_lr) * (1 - progress) ** config.power
    return _half_cosine(config.lr, config.min_lr, progress)


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def _one_cycle(config: OptimConfig, step: int, num_steps: int) -> float:
    rise = config.warmup_steps or round(ONE_CYCLE_RISE * num_steps)
    if step < rise:
        return _half_cosine(config.lr * ONE_CYCLE_START, config.lr, step / rise)
    return _half_cosine(config.lr, config.min_lr, (step - rise) / max(1, num_steps - rise))
