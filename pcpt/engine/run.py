"""From a config to a trained run: builds the parts by name and hands them to the trainer."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from pcpt import registry
from pcpt.config import RunConfig, load_config, to_tree, to_yaml
from pcpt.engine.checkpoint import load_checkpoint, newest_whole, restore_module
from pcpt.engine.data_record import beyond_note, record_of
from pcpt.engine.distributed import World, connect, pick_device
from pcpt.engine.folder import find_checkpoint, open_folder
from pcpt.engine.init import INIT_FILE, initialise, take_over_report
from pcpt.engine.labelled import labelled_scans, uses_labels
from pcpt.engine.repeatable import draw_from
from pcpt.engine.trainer import Finished, Trainer
from pcpt.methods.base import Method
from pcpt.teachers.weights_hash import weights_hash

_log = logging.getLogger(__name__)


@dataclass
class Parts:
    """The components of a run; ``method``, which may be a task, holds the others."""

    method: Method
    student: nn.Module
    teacher: nn.Module | None = None


def build(config: RunConfig, device: torch.device | str = "cpu") -> Parts:
    """The components as they are before the first step: weights follow from ``config.seed``."""
    # one seed each, so that a student starts out the same whatever teaches it
    draw_from(config.seed, 0)
    student = registry.get("students", config.student.name)(config.student)
    if config.task is not None:
        draw_from(config.seed, 2)
        task = registry.get("tasks", config.task.name)(config.task, student, config.data)
        return Parts(task.to(device), student)
    draw_from(config.seed, 1)
    teacher = None
    if config.teacher is not None:
        teacher = registry.get("teachers", config.teacher.name)(config.teacher)
    draw_from(config.seed, 2)
    owner = registry.get("methods", config.method.name)
    method = owner.from_parts(config.method, student, teacher, config.data)
    method.to(device)
    return Parts(method, student, teacher)


def _trainer(config: RunConfig, parts: Parts, world: World) -> Trainer:
    return Trainer(
        config.train,
        config.optim,
        parts.method,
        parts.method.make_dataset(config.data, "train", config.seed),
        Path(config.run),
        seed=config.seed,
        world=world,
        record=to_tree(config),
    )


def train(config: RunConfig, resume: str | None = None) -> Finished:
    """Trains a run into its folder.

    Args:
        config: see ``pcpt.config.load_config`` and ``make_config``.
        resume: None for a new run, "auto" to continue the newest whole checkpoint of the run folder
            where there is one, or a checkpoint's path.

    Raises:
        ValueError: the run folder is taken, a checkpoint does not fit, or training diverged.
        FileNotFoundError: no such checkpoint.
    """
    _set_threads(config)
    with connect(config.device) as world:
        return _train(config, resume, world)


def _train(config: RunConfig, resume: str | None, world: World) -> Finished:
    start = find_checkpoint(config, resume)
    parts = build(config if start is None else _restored(config), world.device)
    trainer = _trainer(config, parts, world)
    trainer.check_data()
    report = (
        initialise(trainer.method, config.init, config.init_kernel_order)
        if _fresh(config, start)
        else None
    )
    world.barrier()  # nobody writes before everyone has looked
    if world.rank == 0:
        teacher = None if parts.teacher is None else weights_hash(parts.teacher)
        open_folder(config, start, teacher)
        labelled = labelled_scans(config, trainer.dataset)
        record = record_of(config, trainer.dataset, labelled, start)
        record.write(Path(config.run))
        if uses_labels(config) and (note := beyond_note(len(record.labelled_beyond()))):
            _log.info("%s", note)
        if report is not None:
            _log.info("%s", report.table())
            report.write(Path(config.run))
        elif start is None:
            (Path(config.run) / INIT_FILE).unlink(missing_ok=True)  # of a start that went nowhere
        else:
            take_over_report(start, Path(config.run))
    world.barrier()
    return trainer.fit(start)


def _fresh(config: RunConfig, start: Path | None) -> bool:
    """Whether there are weights to start from: a resumed run has its own."""
    return bool(config.init) and start is None


def dry_run(config: RunConfig) -> str:
    """Builds everything, runs one batch forward, writes nothing; returns what there is to say."""
    _set_threads(config)
    device = pick_device(config.device)
    parts = build(config, device)
    trainer = _trainer(config, parts, World(device))
    trainer.check_data()
    report = (
        initialise(parts.method, config.init, config.init_kernel_order) if config.init else None
    )
    trainer.prepare()
    parts.method.train()
    output = parts.method(next(trainer.first_batches()))
    dataset = trainer.dataset
    scans = getattr(dataset, "scans", None)  # frames have scans, scenes have none
    samples = f"frames of {len(scans)} scans" if scans is not None else "samples"
    lines = [to_yaml(config), f"student {config.student.name}: {_size(parts.student)} parameters"]
    if report is not None:
        lines.append(report.table())
    if parts.teacher is not None:
        lines.append(f"teacher {config.teacher.name}: {_size(parts.teacher)} parameters, frozen")
    kind = "method" if config.task is None else "task"
    lines += [
        f"{kind} {getattr(config, kind).name}: {_size(parts.method)} parameters to train",
        f"data: {len(dataset)} {samples} to train on",  # type: ignore[arg-type]
        f"one batch forward on {device}: loss {output.loss.item():.4f}",
    ]
    return "\n".join(lines)


def load_run(
    folder: str | Path, *, path: str | Path | None = None, device: str = "auto"
) -> tuple[RunConfig, Parts]:
    """A trained run, in eval mode.

    Args:
        folder: of the run.
        path: of the checkpoint; None takes the newest whole one.
        device: as the config key.

    Raises:
        FileNotFoundError: no run, or no checkpoint in it.
        ValueError: the checkpoint does not fit, see ``checkpoint``.
    """
    config = load_config([Path(folder) / "config.yaml"])
    found = Path(path) if path else newest_whole(Path(folder))
    if found is None:
        raise FileNotFoundError(f"{folder}/checkpoints holds no checkpoint; train the run first")
    state = load_checkpoint(found)
    parts = build(_restored(config), pick_device(device))
    prepare(config, parts, pick_device(device))
    restore_module(parts.method, state["method"], found)
    parts.method.eval()
    return config, parts


def _restored(config: RunConfig) -> RunConfig:
    """The config of a run whose checkpoint holds all weights: the file or package that an image
    network began with may be gone."""
    if not hasattr(config.task, "weights"):
        return config
    return replace(config, task=replace(config.task, weights="random"))


def prepare(config: RunConfig, parts: Parts, device: torch.device) -> None:
    """Lets the method see the first training batches, exactly as training does before step 0."""
    _trainer(config, parts, World(device)).prepare()


def _size(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()):,}"


def _set_threads(config: RunConfig) -> None:
    if config.train.threads > 0:
        torch.set_num_threads(config.train.threads)
