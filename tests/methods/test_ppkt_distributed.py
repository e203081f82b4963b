"""Two processes with gathered negatives and joint batch statistics equal one with the joined batch:
loss, gradients and running statistics."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

from pcpt.data.batch import collate
from pcpt.data.dataset import DataConfig, PosedFrames
from pcpt.methods.ppkt import PPKT
from pcpt.students import SparseUNet
from tests.data.recordings import HEIGHT, WIDTH, MemorySource
from tests.methods.test_ppkt import CellMeans

SHARES = ([0], [1, 2])  # of unequal numbers of pairs, too


def make_method(symmetric: bool) -> PPKT:
    torch.manual_seed(0)
    student = SparseUNet(
        SparseUNet.Config(
            variant="small", planes=[8] * 8, blocks=[1] * 8, stem_channels=8, out_channels=8,
            voxel_size=0.05, sync_bn=True,
        )
    )  # fmt: skip
    config = PPKT.Config(
        temperature=0.2, pairs=100_000, pair_per_voxel=False, gather_negatives=True,
        symmetric=symmetric, standardize=False, ignore_radius=0.03,
    )  # fmt: skip
    return PPKT(config, student, CellMeans()).double()


def make_batch(numbers: list[int], without_pairs: bool = False):
    """Frames; ``without_pairs``: frame 0 has none."""
    config = DataConfig(
        source=MemorySource.Config(lengths=[8]), image_size=[HEIGHT, WIDTH], max_points=400
    )
    data = PosedFrames(config, "train", 0)
    batch = collate([data[n] for n in numbers])
    batch.points, batch.colors = batch.points.double(), batch.colors.double()
    if without_pairs and 0 in numbers:
        kept = batch.batch_index[batch.point_index] != numbers.index(0)
        for name in ("point_index", "view_index", "pixel"):
            setattr(batch, name, getattr(batch, name)[kept])
    return batch


def run_rank(rank: int, folder: str, symmetric: bool, without_pairs: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    method = make_method(symmetric)
    wrapped = DistributedDataParallel(method)
    output = wrapped(make_batch(SHARES[rank], without_pairs))
    output.loss.backward()
    gradients = {name: p.grad for name, p in method.named_parameters()}
    state = {"loss": output.loss.detach(), "gradients": gradients, "state": method.state_dict()}
    torch.save(state, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("without_pairs", [False, True])
def test_two_ranks_equal_the_joined_batch(tmp_path: Path, symmetric: bool, without_pairs: bool):
    multiprocessing.spawn(run_rank, (str(tmp_path), symmetric, without_pairs), nprocs=2)
    ranks = [torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2)]

    joined = make_method(symmetric)
    output = joined(make_batch([n for share in SHARES for n in share], without_pairs))
    output.loss.backward()

    mean = (ranks[0]["loss"] + ranks[1]["loss"]) / 2
    assert mean.item() == pytest.approx(output.loss.item(), rel=1e-9)
    assert ranks[0]["loss"] != ranks[1]["loss"]
    for name, parameter in joined.named_parameters():
        for rank in ranks:
            scale = parameter.grad.abs().max().clamp(min=1e-3)
            assert ((rank["gradients"][name] - parameter.grad).abs().max() / scale) < 1e-6, name
    for name, value in joined.state_dict().items():
        if "running" in name:
            assert torch.allclose(ranks[0]["state"][name], value, rtol=1e-6), name
