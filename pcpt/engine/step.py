"""One optimizer step: accumulated passes, mixed precision, clipping, and what happens where a loss
or gradient is not finite."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from pcpt.data.batch import Batch
from pcpt.engine.checkpoint import restore_optimizer
from pcpt.engine.distributed import World
from pcpt.engine.optim import (
    OptimConfig,
    build_optimizer,
    learning_rate,
    set_learning_rate,
)
from pcpt.engine.repeatable import draw_from
from pcpt.methods.base import Method, Output

MAX_SKIPPED_STEPS = 5
AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_log = logging.getLogger(__name__)


class Stepper:
    """Moves the parameters of a method, one numbered step at a time.

    Args:
        method: what to train, on the device of ``world``.
        optim: optimizer and schedule.
        world: this process among its peers; gradients are averaged over them.
        seed: of random draws within the method.
        num_steps: of the whole run, for the schedule.
        accumulate: batches per step.
        amp: off, bf16 or fp16; without effect on a CPU.
        clip_norm: largest gradient norm; 0 does not clip.

    Attributes:
        seconds: time spent by purpose, adding up until the owner clears it.
    """

    def __init__(
        self,
        method: Method,
        optim: OptimConfig,
        world: World,
        *,
        seed: int,
        num_steps: int,
        accumulate: int = 1,
        amp: str = "off",
        clip_norm: float = 0.0,
    ) -> None:
        self.method = method
        self.optim = optim
        self.world = world
        self.seed = seed
        self.num_steps = num_steps
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.optimizer = build_optimizer(optim, method)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.amp = AMP[amp] if world.device.type == "cuda" else None
        if self.amp != AMP[amp]:
            _log.warning("train.amp=%s needs CUDA; training on the CPU without it", amp)
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp == torch.float16)
        self.parallel = _in_parallel(method) if world.size > 1 else None
        self.skipped_steps = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def step(self, number: int, batches: Iterator[tuple[Batch, float]]) -> dict[str, float]:
        """Takes step ``number`` (from 0) on the next ``accumulate`` batches.

        A step whose loss or gradient is not finite on any rank leaves parameters and buffers as
        they were.

        Returns:
            Figures: loss, lr, grad_norm, num_samples and the method's logs, as means over batches,
            or sums for names that begin with ``num_``. Logs named ``time/`` go into ``seconds``.

        Raises:
            ValueError: the sixth step of the run that had to be skipped.
        """
        rate = learning_rate(self.optim, number, self.num_steps)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        drawn = [next(batches) for _ in range(self.accumulate)]
        draw_from(self.seed, number, self.world.rank)  # after loading, which may draw, too
        # running statistics follow the data in the forward pass, so they may need undoing, too
        buffers = [buffer.clone() for buffer in self.method.buffers()]
        figures = {"lr": rate, "grad_norm": math.nan, **self._gradients(drawn)}
        if math.isfinite(figures["loss"]):
            figures["grad_norm"] = self._update()
        # with fp16 the scaler meets overflowing gradients itself, by lowering the scale
        decisive = "loss" if self.scaler.is_enabled() else "grad_norm"
        if not math.isfinite(figures[decisive]):
            for buffer, before in zip(self.method.buffers(), buffers):
                buffer.copy_(before)
            self._count_skipped(number, figures)
        return figures

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint, without the method's own."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "skipped_steps": self.skipped_steps,
        }

    def load_state_dict(self, state: dict[str, Any], path: Path) -> None:
        """Takes up where ``state``, read from ``path``, left off; see ``restore_optimizer``."""
        restore_optimizer(self.optimizer, state["optimizer"], path)
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.skipped_steps = state["skipped_steps"]

    def _gradients(self, drawn: list[tuple[Batch, float]]) -> dict[str, float]:
        """Forward and backward passes; the loss is NaN if any pass of any rank was not finite."""
        figures: defaultdict[str, float] = defaultdict(float)
        module: nn.Module = self.parallel or self.method
        for index, (batch, waited) in enumerate(drawn):
            self.seconds["time/data"] += waited
            begin = time.perf_counter()
            waits_for_more = self.parallel is not None and index < self.accumulate - 1
            with self.parallel.no_sync() if waits_for_more else nullcontext():  # type: ignore[union-attr]
                with nullcontext() if self.amp is None else torch.autocast("cuda", self.amp):
                    output: Output = module(batch)
                loss = output.loss.item()  # waits for the GPU, so that the times are true
                self._add_up(figures, output, batch.num_samples)
                middle = time.perf_counter()
                if self.world.max(not math.isfinite(loss)):
                    figures["loss"] = math.nan
                    break
                self.scaler.scale(output.loss / self.accumulate).backward()
            figures["loss"] += loss / self.accumulate
            self.seconds["time/forward"] += middle - begin
            self.seconds["time/backward"] += time.perf_counter() - middle
        return dict(figures)

    def _add_up(self, figures: dict[str, float], output: Output, num_samples: int) -> None:
        figures["num_samples"] += num_samples
        for name, value in output.logs.items():
            if name.startswith("time/"):
                self.seconds[name] += float(value)
            else:
                share = 1 if name.startswith("num_") else self.accumulate
                figures[name] += float(value) / share

    def _update(self) -> float:
        """Moves the parameters unless the gradient is not finite; returns the gradient's norm."""
        begin = time.perf_counter()
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if self.clip_norm > 0:
            clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        if math.isfinite(norm.item()) or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.seconds["time/update"] += time.perf_counter() - begin
        return norm.item()

    def _count_skipped(self, number: int, figures: dict[str, float]) -> None:
        self.skipped_steps += 1
        what = "gradient" if math.isfinite(figures["loss"]) else "loss"
        message = f"step {number + 1}: the {what} is not finite"
        if self.skipped_steps > MAX_SKIPPED_STEPS:
            raise ValueError(
                f"{message}, for the {self.skipped_steps}th time in this run; lower optim.lr, "
                "lengthen optim.warmup_steps or set train.clip_norm, and pass --resume auto"
            )
        _log.warning("%s; skipped (%d of %d)", message, self.skipped_steps, MAX_SKIPPED_STEPS)


def _in_parallel(method: Method) -> DistributedDataParallel:
    """The method with gradients averaged over processes."""
    # looking for parameters without a gradient walks the whole graph in every step
    return DistributedDataParallel(method, find_unused_parameters=method.leaves_unused)
