"""Two gloo processes on one machine stand for a cluster."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from pcpt.data.sampler import StepSampler
from pcpt.data.skips import SkipLog
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint
from pcpt.engine.distributed import World, connect, pick_device
from pcpt.engine.loader import Loader
from pcpt.engine.run import build, train
from pcpt.engine.step import Stepper
from pcpt.engine.trainer import Finished
from pcpt.losses import gather_with_grad
from tests.engine.toy_run import ToyDataset, toy_config

CPU = torch.device("cpu")


def run_on_two_ranks(function: Callable[..., None], *arguments: Any) -> None:
    """Calls ``function(rank, *arguments)`` in two processes with torchrun's environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(
        _enter, (port, function, arguments), nprocs=2, start_method="fork"
    )


def _enter(rank: int, port: int, function: Callable[..., None], arguments: tuple[Any]) -> None:
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo",
    )  # fmt: skip
    torch.set_num_threads(1)
    function(rank, *arguments)


def rows(lengths: list[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(length, 3, generator=generator) for length in lengths]


def _gather(rank: int, lengths: list[int]) -> None:
    parts = rows(lengths)
    weight = torch.arange(float(sum(lengths) * 3)).reshape(-1, 3)
    with connect("cpu"):
        own = parts[rank].clone().requires_grad_()
        gathered, start = gather_with_grad(own)
        assert torch.equal(gathered, torch.cat(parts)) and start == sum(lengths[:rank])
        ((rank + 1) * weight * gathered).sum().backward()
        mine = weight[start : start + lengths[rank]]
        assert own.grad is not None and torch.equal(own.grad, 3 * mine)  # ranks ask for 1 and 2
        counts, _ = gather_with_grad(torch.full((lengths[rank],), rank))
        assert counts.tolist() == [0] * lengths[0] + [1] * lengths[1]


@pytest.mark.parametrize("lengths", [[4, 4], [5, 2], [0, 3]])
def test_gather(lengths: list[int]) -> None:
    run_on_two_ranks(_gather, lengths)


def test_gather_alone_is_the_identity() -> None:
    tensor = torch.ones(2, 3)
    assert gather_with_grad(tensor)[0] is tensor and gather_with_grad(tensor)[1] == 0


def contrast(anchors: torch.Tensor, candidates: torch.Tensor, start: int) -> torch.Tensor:
    target = torch.arange(len(anchors)) + start
    return nn.functional.cross_entropy(anchors @ candidates.T, target)


def _contrast(rank: int, folder: Path) -> None:
    with connect("cpu"):
        gradients = _contrast_gradients(rows([4, 4])[rank])
    if rank == 0:
        torch.save(gradients, folder / "gradients.pt")


def _contrast_gradients(part: torch.Tensor) -> list[torch.Tensor | None]:
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    parallel = nn.parallel.DistributedDataParallel(module)
    features = parallel(part)
    candidates, start = gather_with_grad(features * 2)
    contrast(features, candidates, start).backward()
    return [p.grad for p in module.parameters()]


def test_negatives_of_all_ranks_give_the_joined_gradient(tmp_path: Path) -> None:
    run_on_two_ranks(_contrast, tmp_path)
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    features = module(torch.cat(rows([4, 4])))
    contrast(features, features * 2, 0).backward()
    for gradient, own in zip(torch.load(tmp_path / "gradients.pt"), module.parameters()):
        torch.testing.assert_close(gradient, own.grad, atol=1e-6, rtol=0)


def _steps(rank: int, folder: Path) -> None:
    with connect("cpu") as world:
        figures = _take_steps(folder, world, batch_size=2)
    if rank == 0:
        torch.save(figures, folder / "parameters.pt")


def _take_steps(folder: Path, world: World, batch_size: int) -> list[torch.Tensor]:
    config = toy_config(folder, method={"noise": 0.0}, optim={"name": "sgd", "lr": 0.1})
    method = build(config).method
    stepper = Stepper(method, config.optim, world, seed=0, num_steps=3, accumulate=2)
    sampler = StepSampler(batch_size, accumulate=2, rank=world.rank, num_ranks=world.size, stop=3)
    loader = iter(Loader(ToyDataset(0, 0), method.collate, sampler, device=CPU, skips=SkipLog()))
    for number in range(3):
        stepper.step(number, loader)
    gradients = [p.grad for p in stepper.parameters if p.grad is not None]
    return gradients + [p.detach() for p in stepper.parameters]


def test_two_ranks_equal_the_joined_batch(tmp_path: Path) -> None:
    run_on_two_ranks(_steps, tmp_path)
    expected = _take_steps(tmp_path, World(CPU), batch_size=4)
    for shared, own in zip(torch.load(tmp_path / "parameters.pt"), expected):
        torch.testing.assert_close(shared, own, atol=1e-6, rtol=0)


def _train(rank: int, folder: Path, resume: str | None, steps: int) -> None:
    # of four samples a step, rank 0 has the first two: 9 is its own, in step 3; 14 is rank 1's
    method = {"bad_samples": [9], "signal_at": 14, "signal": int(signal.SIGTERM)}
    finished = train(toy_config(folder, method=method, student={"batch_norm": True}), resume)
    assert finished == Finished(steps, signal.SIGTERM if steps == 4 else None)


def test_ranks_agree_to_skip_to_stop_and_to_resume(tmp_path: Path) -> None:
    run_on_two_ranks(_train, tmp_path, None, 4)
    run_on_two_ranks(_train, tmp_path, "auto", 6)
    state = load_checkpoint(checkpoint_path(tmp_path, 6))
    assert state["skipped_steps"] == 1
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6 and '"num_samples": 4.0' in lines[0]


def test_devices() -> None:
    assert pick_device("cpu", 3) == CPU
    with pytest.raises(ValueError, match=r"device cuda:99 asked for.*device=cpu"):
        pick_device("cuda:99")
