"""The run folder: config.yaml, environment.json, metrics.jsonl, tensorboard/ and checkpoints/."""

import json
import logging
import platform
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml

import pcpt
from pcpt.config import RunConfig, changed_keys, to_yaml
from pcpt.data.write_json import write_json, write_text
from pcpt.engine.checkpoint import list_checkpoints, load_checkpoint, newest_whole, step_of
from pcpt.ops._library import COMPILED

_log = logging.getLogger(__name__)


def find_checkpoint(config: RunConfig, resume: str | None) -> Path | None:
    """The checkpoint to start from, or None for a start from step 0. Writes nothing.

    Args:
        config: of the run.
        resume: None, "auto" (the newest whole checkpoint of the run folder, if there is one), or
            the path of a checkpoint or of a run folder.

    Raises:
        ValueError: the run folder is taken.
        FileNotFoundError: no checkpoint at the path.
    """
    folder = Path(config.run)
    if resume == "auto":
        found = newest_whole(folder)
        if found is None and _is_taken(folder):
            _log.warning("no checkpoint in %s to resume from: starting at step 0", folder)
        return found
    if resume is not None:
        path = Path(resume)
        found = newest_whole(path) if path.is_dir() else path
        if found is None or not found.is_file():
            raise FileNotFoundError(f"--resume {resume}: no checkpoint there")
        if _is_taken(folder) and found.resolve().parent != (folder / "checkpoints").resolve():
            raise ValueError(_refusal(config, f"{found} is not one of its checkpoints"))
        return found
    if _is_taken(folder):
        raise ValueError(_refusal(config, "it would be overwritten"))
    return None


def _is_taken(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.yaml", "metrics.jsonl", "checkpoints"))


def _refusal(config: RunConfig, reason: str) -> str:
    changed = _changes(config)
    differs = f" with another config ({'; '.join(changed)})" if changed else ""
    return (
        f"run folder {config.run} already holds a run{differs}, and {reason}; pass --resume auto "
        "to continue that run, run=FOLDER to start another, or delete the folder"
    )


def _changes(config: RunConfig) -> list[str]:
    path = Path(config.run) / "config.yaml"
    if not path.is_file():
        return []
    try:
        before = yaml.safe_load(path.read_text())
        after = yaml.safe_load(to_yaml(config))
    except yaml.YAMLError:
        return ["config.yaml is unreadable"]
    return changed_keys(before or {}, after)


def open_folder(config: RunConfig, start: Path | None, teacher: str | None = None) -> Path:
    """Makes the run folder, or readies it to continue from the checkpoint ``start``.

    Checkpoints after ``start`` belong to an attempt that is being left: they are renamed to
    ``*.abandoned``, never deleted.

    Args:
        config: of the run.
        start: the checkpoint that it goes on from, or None.
        teacher: its ``weights_hash``, if there is one: the config names a path alone, at which
            other weights may lie by now.
    """
    folder = Path(config.run)
    folder.mkdir(parents=True, exist_ok=True)
    for line in _changes(config):
        _log.warning("continuing %s with a changed config: %s", folder, line)
    before = _teacher_of(start.parent.parent) if start else None
    if teacher and before and teacher != before:
        _log.warning(
            "continuing %s with another teacher than it began with: its weights, its settings or "
            "the libraries that read them have changed",
            folder,
        )
    step = load_checkpoint(start)["step"] if start else 0
    for path in list_checkpoints(folder):
        if step_of(path) > step:
            aside = _aside(path)
            path.rename(aside)
            _log.warning("renamed %s to %s: the run goes on from step %d", path, aside.name, step)
    write_text(folder / "config.yaml", to_yaml(config))
    write_json(folder / "environment.json", {**environment(), "teacher": teacher})
    return folder


def _teacher_of(folder: Path) -> str | None:
    """The hash of a run's teacher; None where there was none, or nobody recorded it."""
    try:
        found = json.loads((folder / "environment.json").read_text())
    except (OSError, ValueError):
        return None
    return found.get("teacher") if isinstance(found, dict) else None


def _aside(path: Path) -> Path:
    """A name beside a checkpoint that no earlier attempt has taken."""
    names = (f"{path.name}.abandoned{'' if n == 1 else f'.{n}'}" for n in count(1))
    return next(aside for aside in map(path.with_name, names) if not aside.exists())


def environment() -> dict[str, Any]:
    """What a result may depend on besides the config. No names of hosts, users or folders."""
    return {
        "pcpt": pcpt.__version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "kernels": _kernels(),
    }


def _git_commit() -> str | None:
    """The commit of the source tree pcpt runs from, with "-dirty" if files differ from it."""
    folder = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # an installed copy may lie inside a repository of something else
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _kernels() -> dict[str, list[str]]:
    """Compiled operators by device; all others run on their PyTorch references."""
    if not COMPILED:
        return {"CPU": [], "CUDA": []}
    names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("pcpt::")]
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return {
        key: sorted(name.removeprefix("pcpt::") for name in names if has(name, key))
        for key in ("CPU", "CUDA")
    }
