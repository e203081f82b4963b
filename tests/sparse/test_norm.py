"""BatchNorm: torch's numbers, tiny batches, and statistics over two gloo processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from pcpt.sparse import BatchNorm, SparseTensor


def rows(features: Tensor) -> SparseTensor:
    coordinates = torch.zeros(len(features), 4, dtype=torch.int32)
    coordinates[:, 1] = torch.arange(len(features))
    return SparseTensor(features, coordinates)


def test_equals_torch() -> None:
    ours, theirs = BatchNorm(7, momentum=0.02), nn.BatchNorm1d(7, momentum=0.02)
    theirs.load_state_dict(ours.state_dict())
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        features = torch.randn(50, 7) * 3 + 1
        assert torch.equal(ours(rows(features)).features, theirs(features))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_rows_use_the_running_statistics(count: int) -> None:
    norm = BatchNorm(3)
    norm(rows(torch.randn(20, 3)))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    features = torch.randn(count, 3, requires_grad=True)
    out = norm(rows(features)).features
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(features.grad).all()
    assert torch.equal(out, norm.eval()(rows(features)).features)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def step(norm: BatchNorm, features: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """One training step: output, gradients and running statistics."""
    features = features.clone().requires_grad_()
    out = norm(rows(features)).features
    out.backward(grad)
    statistics = {"mean": norm.running_mean, "var": norm.running_var}
    parameters = {"weight": norm.weight.grad, "bias": norm.bias.grad}
    return {"out": out.detach(), "grad": features.grad, **statistics, **parameters}


def problem() -> tuple[BatchNorm, Tensor, Tensor]:
    torch.manual_seed(0)
    norm = BatchNorm(5, sync=True).double()
    nn.init.normal_(norm.weight)
    return norm, torch.randn(9, 5).double() * 2 + 10, torch.randn(9, 5).double()


def run_rank(rank: int, folder: str, splits: list[int]) -> None:
    dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    for split in splits:
        norm, features, grad = problem()
        part = slice(0, split) if rank == 0 else slice(split, None)
        torch.save(step(norm, features[part], grad[part]), f"{folder}/{split}-{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_equal_one_process(tmp_path: Path) -> None:
    splits = [4, 1, 0]  # rows of the first rank: some, one, none
    mp.spawn(run_rank, (str(tmp_path), splits), nprocs=2)
    joined = step(*problem())  # no process group here: plain batch norm
    for split in splits:
        first, second = (
            torch.load(tmp_path / f"{split}-{r}.pt", weights_only=True) for r in (0, 1)
        )
        for name in ("out", "grad"):
            both = torch.cat([first[name], second[name]])
            assert torch.allclose(both, joined[name], rtol=0, atol=1e-12), (split, name)
        for name in ("weight", "bias"):
            total = first[name] + second[name]
            assert torch.allclose(total, joined[name], rtol=0, atol=1e-11), (split, name)
        for name in ("mean", "var"):
            assert torch.equal(first[name], second[name])
            assert torch.allclose(first[name], joined[name], rtol=0, atol=1e-12), (split, name)


def test_no_momentum_is_the_mean_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``measuring_norms`` asks for, on several ranks too."""
    synchronised, plain = BatchNorm(5, sync=True), BatchNorm(5)
    synchronised.momentum = plain.momentum = None
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda value: None)  # the other rank has no rows
    for seed in range(3):
        features = torch.randn(9, 5, generator=torch.Generator().manual_seed(seed)) + seed
        synchronised.normalize(features)
        plain.normalize(features)
    assert torch.allclose(synchronised.running_mean, plain.running_mean, atol=1e-6)
    assert torch.allclose(synchronised.running_var, plain.running_var, atol=1e-6)
    assert float(plain.running_mean.mean()) == pytest.approx(1, abs=0.3)
