"""What is tuned and what stays; low-rank additions, merged and unmerged."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pcpt.sparse import BatchNorm, Conv3d, SparseTensor
from pcpt.students import SparseUNet
from pcpt.students.adapters import (
    LowRank,
    hold_frozen_norms,
    merge_lora,
    merged_state,
    tune_student,
)


def _student(seed: int = 0) -> SparseUNet:
    torch.manual_seed(seed)
    planes = [4, 5, 6, 7, 6, 5, 4, 3]
    config = SparseUNet.Config(planes=planes, blocks=[1] * 8, stem_channels=4, out_channels=2)
    return SparseUNet(config)


def _voxels() -> SparseTensor:
    generator = torch.Generator().manual_seed(1)
    coordinates = torch.randint(0, 20, (400, 4), dtype=torch.int32, generator=generator)
    coordinates[:, 0] %= 2
    coordinates = coordinates.unique(dim=0)
    return SparseTensor(torch.randn(len(coordinates), 3, generator=generator), coordinates)


def _state(student: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in student.state_dict().items()}


def _step(student: SparseUNet) -> None:
    """One training step, as a task takes it."""
    student.train()
    hold_frozen_norms(student)
    trained = [p for p in student.parameters() if p.requires_grad]
    features = student(_voxels()).features
    if trained:
        optimizer = torch.optim.SGD(trained, lr=0.1)
        (features * torch.randn_like(features)).mean().backward()
        optimizer.step()


def _moved(tune: str) -> set[str]:
    """Names of the parameters and buffers that three steps change."""
    student = _student()
    tune_student(student, tune)
    before = _state(student)
    for _ in range(3):
        _step(student)
    after = student.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_head_leaves_the_student_bit_for_bit() -> None:
    assert _moved("head") == set()


def test_last_stages_alone() -> None:
    moved = _moved("last:2")
    assert moved
    assert {name.split(".")[0] + "." + name.split(".")[1] for name in moved} == {
        "decoder.2",
        "decoder.3",
    }
    assert any(name.endswith("running_mean") for name in moved)


def test_biases_and_norms_alone() -> None:
    moved = _moved("bias_and_norm")
    assert all(".norm." in name for name in moved)
    endings = {name.rpartition(".")[2] for name in moved}
    assert endings == {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}


def test_low_rank_additions_alone() -> None:
    moved = _moved("lora")
    assert all(name.endswith(("adapter.down", "adapter.up")) for name in moved)
    assert any(name.endswith("adapter.down") for name in moved)  # once "up" has left zero
    convolutions = [m for m in _student().modules() if hasattr(m, "kernel_size")]
    assert sum(name.endswith("adapter.up") for name in moved) == len(convolutions)


def test_all() -> None:
    student = _student()
    moved = _moved("all")
    assert set(student.state_dict()) - moved == {"final.weight", "final.bias"}


def test_low_rank_additions_begin_at_nothing() -> None:
    student, voxels = _student().eval(), _voxels()
    before = student(voxels).features
    tune_student(student, "lora", 4)
    assert torch.equal(student(voxels).features, before)


def test_merged_network_gives_the_same(tmp_path: Path) -> None:
    student, voxels = _student(), _voxels()
    names = list(student.state_dict())
    tune_student(student, "lora", 4)
    before = _state(student)
    for _ in range(3):
        _step(student)
    student.eval()
    with torch.no_grad():
        tuned = student(voxels).features
    state = _state(student)
    assert not all(torch.equal(before[name], state[name]) for name in before)
    merge_lora(student)
    assert list(student.state_dict()) == names
    with torch.no_grad():
        assert torch.equal(student(voxels).features, tuned)
    again = SparseUNet.from_pretrained(student.save_pretrained(tmp_path / "export"))
    with torch.no_grad():
        assert torch.equal(again(voxels).features, tuned)
    other = merged_state(state)
    assert list(other) == names
    assert all(torch.equal(other[name], value) for name, value in student.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(merged_state(other).values(), other.values()))


@pytest.mark.parametrize(
    ("taps", "wide", "out", "rank"), [(1, 3, 5, 2), (8, 4, 6, 3), (27, 2, 7, 9)]
)
def test_addition_is_the_product_of_the_factors(taps: int, wide: int, out: int, rank: int) -> None:
    module = LowRank(torch.Size((taps, wide, out)), rank)
    nn.init.normal_(module.up)
    weight = torch.randn(taps, wide, out)
    expected = weight.clone()
    for k in range(taps):
        for i in range(wide):
            for o in range(out):
                for r in range(rank):
                    expected[k, i, o] += module.down[k * wide + i, r] * module.up[r, o]
    assert torch.allclose(module(weight), expected, atol=1e-5)
    assert torch.linalg.matrix_rank((module(weight) - weight).view(-1, out)) <= rank


def test_gradients_of_a_convolution_with_an_addition() -> None:
    conv = Conv3d(2, 3, 3).double()
    conv.adapter = LowRank(conv.weight.shape, 2).double()
    nn.init.normal_(conv.adapter.up)
    conv.weight.requires_grad_(False)
    coordinates = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1]], dtype=torch.int32)
    features = torch.randn(3, 2, dtype=torch.float64)

    def run(down: Tensor, up: Tensor) -> Tensor:
        parameters = {"adapter.down": down, "adapter.up": up}
        x = SparseTensor(features, coordinates)
        return torch.func.functional_call(conv, parameters, (x,)).features

    factors = tuple(p.detach().requires_grad_() for p in conv.adapter.parameters())
    assert torch.autograd.gradcheck(run, factors)


def test_frozen_norms_only() -> None:
    student = _student()
    tune_student(student, "last:1")
    student.train()
    hold_frozen_norms(student)
    training = {
        name for name, m in student.named_modules() if isinstance(m, BatchNorm) and m.training
    }
    assert training
    assert all(name.startswith("decoder.3") for name in training)


@pytest.mark.parametrize(
    ("tune", "rank", "message"),
    [
        ("some", 8, "task.tune is 'some', expected one of all, head, last:N"),
        ("last:0", 8, "task.tune is 'last:0'"),
        ("last:N", 8, "task.tune is 'last:N'"),
        ("last:5", 8, "has 4 decoder stages"),
        ("lora", 0, "task.lora_rank is 0"),
    ],
)
def test_bad_tuning(tune: str, rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tune_student(_student(), tune, rank)


def test_students_without_what_is_named() -> None:
    with pytest.raises(ValueError, match="Linear has 0 decoder stages"):
        tune_student(nn.Linear(2, 2), "last:1")
    with pytest.raises(ValueError, match="Linear has no sparse convolution"):
        tune_student(nn.Linear(2, 2), "lora")
