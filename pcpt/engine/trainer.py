"""The training loop: steps, figures, checkpoints, stopping when asked. It knows no method beyond
``forward(batch) -> (loss, logs)``; step.py holds what happens within a step."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from pcpt.choices import check_choice, check_minimum
from pcpt.data.batch import Batch
from pcpt.data.sampler import StepSampler
from pcpt.data.skips import SkipLog
from pcpt.engine import checkpoint
from pcpt.engine.distributed import World
from pcpt.engine.interrupts import Interrupts
from pcpt.engine.loader import Loader
from pcpt.engine.loggers import Logbook, peak_memory_mib
from pcpt.engine.optim import OptimConfig
from pcpt.engine.repeatable import deterministic, draw_from
from pcpt.engine.step import AMP, Stepper
from pcpt.methods.base import Method

_log = logging.getLogger(__name__)


@dataclass
class Finished:
    """How training ended: steps done, and the signal that stopped it early, if one did."""

    step: int
    signal: int | None = None


class Trainer:
    """Trains a method on a dataset, in a run folder.

    A step depends on the state left by the one before and on its number, from which samples, random
    draws and learning rate follow. That is what makes resuming exact.

    Args:
        config: see ``Config``.
        optim: optimizer and schedule.
        method: what to train, on the device of ``world``.
        dataset: samples by global sample number.
        folder: of the run; exists.
        seed: of random draws within the method.
        world: this process among its peers.
        record: plain values kept in every checkpoint: the run's config.
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
            if self.amp == "False":
                self.amp = "off"  # what YAML makes of a bare off
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
        self.method = method
        self.dataset = dataset
        self.folder = folder
        self.seed = seed
        self.world = world
        self.record = record
        self.stepper = Stepper(
            method,
            optim,
            world,
            seed=seed,
            num_steps=config.steps,
            accumulate=config.accumulate,
            amp=config.amp,
            clip_norm=config.clip_norm,
        )
        self.skips = SkipLog()

    def check_data(self) -> None:
        """Has a dataset that can tell (``PosedFrames.check``) find scans without a usable frame,
        and the method what else it will look at."""
        check = getattr(self.dataset, "check", None)
        if check is not None:
            check(self.skips)
        self.method.check_data()

    def fit(self, resume: Path | None = None) -> Finished:
        """Trains from the beginning, or from a checkpoint, to the last step or a signal.

        Raises:
            ValueError: loss or gradient was not finite for the sixth time; or the checkpoint cannot
                be read or does not fit, see ``checkpoint``.
            torch.OutOfMemoryError: with the keys to lower.
        """
        self.prepare()
        start = self._restore(resume) if resume else 0
        if start >= self.config.steps:
            _log.info("%d of %d steps are done: nothing to do", start, self.config.steps)
            return Finished(start)
        self.method.train()
        with Interrupts() as interrupts, deterministic(self.world.device):
            first = self.world.rank == 0
            book = Logbook(self.folder, self.config.steps, start) if first else None
            try:
                return self._loop(start, book, interrupts)
            finally:
                if book:
                    book.close()
                if self.skips.count:
                    _log.warning("%s (named above)", self.skips.summary())

    def prepare(self) -> None:
        """Lets the method see the first batches, the same ones on every rank and attempt."""
        draw_from(self.seed)
        with deterministic(self.world.device):
            self.method.prepare(self.first_batches())

    def first_batches(self) -> Iterator[Batch]:
        """The first rank's training batches from step 0."""
        sampler = StepSampler(self.config.batch_size, stop=self.config.steps)
        for batch, _ in self._loader(sampler, workers=0):
            yield batch

    def _loader(self, sampler: StepSampler, workers: int) -> Loader:
        return Loader(
            self.dataset,
            self.method.collate,
            sampler,
            device=self.world.device,
            skips=self.skips,
            workers=workers,
        )

    def _loop(self, start: int, book: Logbook | None, interrupts: Interrupts) -> Finished:
        """Takes steps until the last, or a signal to any rank."""
        config = self.config
        sampler = StepSampler(
            config.batch_size,
            accumulate=config.accumulate,
            rank=self.world.rank,
            num_ranks=self.world.size,
            start=start,
            stop=config.steps,
        )
        batches = iter(self._loader(sampler, config.workers))
        written = start
        for done in range(start + 1, config.steps + 1):
            figures = self._step(done - 1, batches)
            if book:
                book.advance(done)
            last = done == config.steps
            if done % config.log_every == 0 or done == 1 or last:
                self._write(book, done, figures, done - written)
                written = done
            received = self.world.max(interrupts.received or 0)
            if done % config.checkpoint_every == 0 or last or received:
                self._save(done)
            if received:
                return Finished(done, received)
        return Finished(config.steps)

    def _step(self, number: int, batches: Iterator[tuple[Batch, float]]) -> dict[str, float]:
        begin = time.perf_counter()
        try:
            figures = self.stepper.step(number, batches)
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(_memory_advice(number, self.config)) from error
        self.stepper.seconds["time/step"] += time.perf_counter() - begin
        return figures

    def _write(
        self, book: Logbook | None, done: int, figures: dict[str, float], steps: int
    ) -> None:
        """Writes figures, averaged over ranks (counts summed), and mean times of the last steps."""
        totals = dict(zip(figures, self.world.sum(list(figures.values()))))
        shared = {
            name: total if name.startswith("num_") else total / self.world.size
            for name, total in totals.items()
        }
        times = {name: total / steps for name, total in self.stepper.seconds.items()}
        self.stepper.seconds.clear()
        if book:
            memory = {"memory/peak_mib": peak_memory_mib(self.world.device)}
            book.write(done, {**shared, **times, **memory})

    def _save(self, done: int) -> None:
        if self.world.rank != 0:
            return
        state = {
            "step": done,
            "config": self.record,
            "method": self.method.state_dict(),
            **self.stepper.state_dict(),
        }
        checkpoint.save_checkpoint(checkpoint.checkpoint_path(self.folder, done), state)
        checkpoint.keep_newest(self.folder, self.config.keep_checkpoints)

    def _restore(self, path: Path) -> int:
        state = checkpoint.load_checkpoint(path)
        checkpoint.restore_module(self.method, state["method"], path)
        self.stepper.load_state_dict(state, path)
        return state["step"]


def _memory_advice(number: int, config: Trainer.Config) -> str:
    return (
        f"out of GPU memory in step {number + 1}: lower train.batch_size (now {config.batch_size}; "
        f"raise train.accumulate, now {config.accumulate}, to keep the samples per step), "
        "data.image_size or data.max_points, raise student.voxel_size, or set train.amp=bf16"
    )
