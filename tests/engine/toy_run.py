"""The smallest method, student, teacher and dataset that the engine can train, in milliseconds."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pcpt.config import RunConfig, make_config
from pcpt.data.dataset import DataConfig
from pcpt.methods.base import Method, Output
from pcpt.registry import register


@dataclass
class ToyBatch:
    """Random vectors (B, 4), and the sample numbers they came from (B,)."""

    x: Tensor
    number: Tensor
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def num_samples(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> "ToyBatch":
        return ToyBatch(self.x.to(device), self.number.to(device), self.skipped)


class ToyDataset(Dataset[ToyBatch]):
    def __init__(self, seed: int, broken_every: int) -> None:
        self.seed = seed
        self.broken_every = broken_every

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> ToyBatch:
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        broken = self.broken_every and number % self.broken_every == 0
        skipped = [("scan", f"{number % 4}.png: depth is all zero")] if broken else []
        return ToyBatch(
            torch.randn(1, 4, generator=generator), torch.tensor([number]), skipped=skipped
        )


@register("datasets", "toy_numbers")
class ToySource:
    @dataclass
    class Config:
        name: str = "toy_numbers"
        broken_every: int = 0


@register("students", "toy_linear")
class ToyStudent(nn.Module):
    @dataclass
    class Config:
        name: str = "toy_linear"
        width: int = 4
        batch_norm: bool = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, config.width), nn.Tanh(), nn.Linear(config.width, 3)
        )
        self.norm = nn.BatchNorm1d(3) if config.batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layers(x))


@register("teachers", "toy_fixed")
class ToyTeacher(nn.Module):
    @dataclass
    class Config:
        name: str = "toy_fixed"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@register("methods", "toy_match")
class ToyMethod(Method):
    """Mean squared distance of student and teacher.

    Attributes of Config:
        noise: of the student's input, drawn from torch's global generator.
        bad_samples: sample numbers whose loss (or gradient, see bad) becomes NaN.
        signal_at, signal: sample number at which the process signals itself.
        seconds: length of a step, at least.
    """

    @dataclass
    class Config:
        name: str = "toy_match"
        noise: float = 0.1
        bad_samples: list[int] = field(default_factory=list)
        bad: str = "loss"
        signal_at: int = -1
        signal: int = 15
        seconds: float = 0.0

    def __init__(self, config: Config, student: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.student = student
        self.freeze("teacher", teacher)
        self.prepared = 0

    def make_dataset(self, config: DataConfig, split: str, seed: int) -> Any:
        return ToyDataset(seed, config.source.broken_every)

    def evaluation_frames(self, config: DataConfig, split: str, seed: int) -> Any:
        return self.make_dataset(config, split, seed)

    def collate(self, samples: list[ToyBatch]) -> Any:
        return ToyBatch(
            torch.cat([s.x for s in samples]),
            torch.cat([s.number for s in samples]),
            [line for s in samples for line in s.skipped],
        )

    def prepare(self, batches: Iterable[Any]) -> None:
        self.prepared = next(iter(batches)).num_samples

    def forward(self, batch: Any) -> Output:
        numbers = batch.number.tolist()
        time.sleep(self.config.seconds)
        if self.config.signal_at in numbers:
            os.kill(os.getpid(), self.config.signal)
        x = batch.x + self.config.noise * torch.randn_like(batch.x)
        bad = bool(set(self.config.bad_samples) & set(numbers))
        if bad and self.config.bad == "loss":
            x = x * torch.nan
        predicted = self.student(x)
        loss = (predicted - self.frozen["teacher"](batch.x)).square().sum(1).mean()
        if bad and self.config.bad == "gradient":
            loss = loss + torch.sqrt(loss - loss.detach())  # 0 with an infinite slope
        logs: dict[str, float | Tensor] = {
            "norm": predicted.detach().norm(),
            "num_pairs": 2.0 * len(numbers),
            "time/thinking": 0.25,
        }
        return Output(loss, logs)


def toy_tree(run: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """A complete config; keyword arguments update sections, e.g. ``train={"steps": 3}``."""
    tree: dict[str, Any] = {
        "run": str(run),
        "device": "cpu",
        "method": {"name": "toy_match"},
        "student": {"name": "toy_linear"},
        "teacher": {"name": "toy_fixed"},
        "data": {"source": {"name": "toy_numbers"}},
        "optim": {"name": "adamw", "lr": 0.01},
        "train": {"steps": 6, "batch_size": 2, "log_every": 1, "checkpoint_every": 100},
    }
    for name, values in sections.items():
        tree[name] = {**tree[name], **values}
    return tree


def toy_config(run: Path, **sections: dict[str, Any]) -> RunConfig:
    """``toy_tree`` as a config."""
    return make_config(toy_tree(run, **sections))
