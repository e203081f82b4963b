"""The training loop: steps, accumulation, mixed precision, checkpoints, figures. It knows no method
beyond ``forward(batch) -> (loss, logs)``."""

import logging
import math
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset

from pcpt.choices import check_choice, check_minimum
from pcpt.data.batch import Batch
from pcpt.data.sampler import StepSampler
from pcpt.engine import checkpoint
from pcpt.engine.distributed import World
from pcpt.engine.interrupts import Interrupts
from pcpt.engine.loader import Loader
from pcpt.engine.loggers import Logbook
from pcpt.engine.optim import OptimConfig, build_optimizer, learning_rate
from pcpt.methods.base import Method

MAX_SKIPPED_STEPS = 5
AMP = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_log = logging.getLogger(__name__)


@dataclass
class Finished:
    """How ``Trainer.fit`` ended: steps done, and the signal that stopped it early, if one did."""

    step: int
    signal: int | None


class Trainer:
    """Trains a method on a dataset, in a run folder.

    A step is a function of the state after the step before and of its number: samples, random draws
    and learning rate follow from the number. That is what makes resuming exact.

    Args:
        config: see ``Config``.
        optim: optimizer and schedule.
        method: what to train, on the device of ``world`` already.
        dataset: samples by global sample number.
        folder: of the run; exists.
        seed: of random draws within the method.
        world: this process among its peers.
        record: plain values kept in checkpoints, such as the run's config.
    """

    @dataclass
    class Config:
        """Keys of the ``train`` section.

        Attributes:
            steps: optimizer steps of the whole run.
            batch_size: samples per forward pass and device.
            accumulate: forward passes per step.
            workers: processes that load data; 0 loads in this one.
            amp: off, bf16 or fp16: arithmetic of the forward pass on CUDA.
            clip_norm: largest gradient norm; 0 does not clip.
            log_every: steps between figures; the first and last step are always logged.
            checkpoint_every: steps between checkpoints; the last step always has one.
            keep_checkpoints: newest ones to keep; 0 keeps all.
            threads: CPU threads of torch; 0 leaves them as they are.
        """

        steps: int = 1000
        batch_size: int = 8
        accumulate: int = 1
        workers: int = 0
        amp: str = "off"
        clip_norm: float = 0.0
        log_every: int = 10
        checkpoint_every: int = 500
        keep_checkpoints: int = 3
        threads: int = 0

        def __post_init__(self) -> None:
            check_choice("train.amp", self.amp, AMP)
            for key in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every"):
                check_minimum(f"train.{key}", getattr(self, key), 1)
            for key in ("workers", "clip_norm", "keep_checkpoints", "threads"):
                check_minimum(f"train.{key}", getattr(self, key), 0)

    def __init__(
        self,
        config: Config,
        optim: OptimConfig,
        method: Method,
        dataset: Dataset[Any],
        folder: Path,
        *,
        seed: int,
        world: World,
        record: dict[str, Any],
    ) -> None:
        self.config = config
        self.optim = optim
        self.method = method
        self.dataset = dataset
        self.folder = folder
        self.seed = seed
        self.world = world
        self.record = record
        self.optimizer = build_optimizer(optim, method)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.amp = AMP[config.amp] if world.device.type == "cuda" else torch.float32
        if config.amp != "off" and self.amp == torch.float32:
            _log.warning("train.amp=%s needs CUDA; training on the CPU without it", config.amp)
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp == torch.float16)
        self.skipped_steps = 0

    def fit(self, resume: Path | None = None) -> Finished:
        """Trains from the beginning, or from a checkpoint, to the last step or a signal.

        Raises:
            ValueError: the loss or gradient was not finite for the sixth time; or the checkpoint
                does not fit, see ``checkpoint``.
            torch.OutOfMemoryError: with the keys to lower.
        """
        self._draw_from(self.seed)
        self.method.prepare(self._first_batches())
        start = self._restore(resume) if resume else 0
        steps = range(start, self.config.steps)
        if not steps:
            _log.info("%d of %d steps are done: nothing to do", start, self.config.steps)
            return Finished(start, None)
        loader = self._loader(start)
        module: nn.Module = DistributedDataParallel(self.method) if self.world.size > 1 else self.method
        module.train()
        book = Logbook(self.folder, self.config.steps, start) if self.world.rank == 0 else None
        try:
            with Interrupts() as interrupts, _deterministic(self.world.device):
                last = self._loop(module, steps, loader, book, interrupts)
        finally:
            if book:
                book.close()
            loader.report_skipped()
        return Finished(last, interrupts.received)

    def _loop(
        self,
        module: nn.Module,
        steps: range,
        loader: Loader,
        book: Logbook | None,
        interrupts: Interrupts,
    ) -> int:
        """Takes the steps; returns the number done since the beginning of the run."""
        batches = iter(loader)
        clock: Counter[str] = Counter()
        logged = steps.start
        for step in steps:
            self._draw_from(self.seed, step, self.world.rank)
            begin = time.perf_counter()
            figures = self._guarded_step(module, step, batches, clock)
            clock["time/step"] += time.perf_counter() - begin  # type: ignore[assignment]
            done = step + 1
            if done % self.config.log_every == 0 or done in (1, self.config.steps):
                figures = self._share(figures)
                times = {name: value / (done - logged) for name, value in clock.items()}
                if book:
                    book.write(done, {**figures, **times, "memory/peak_mib": self._memory()})
                clock.clear()
                logged = done
            stop = self.world.any(interrupts.received is not None)
            if stop or done % self.config.checkpoint_every == 0 or done == self.config.steps:
                self._save(done)
            if stop:
                break
        return done

    def _guarded_step(
        self, module: nn.Module, step: int, batches: Iterator[Any], clock: Counter[str]
    ) -> dict[str, float]:
        """One step; a loss or gradient that is not finite undoes it, and a sixth one is an error."""
        buffers = [buffer.clone() for buffer in self.method.buffers()]
        try:
            figures = self._step(module, step, batches, clock)
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(_memory_advice(step, self.config)) from error
        if self.world.any(not math.isfinite(figures["grad_norm"])) and not self.scaler.is_enabled():
"""placeholder"""
