"""Files of torch.save by strangers: read if they are weights, refused without harm if not."""

import argparse
import collections
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from pcpt.students.torch_file import find_state_dict, read_torch_file

LEGACY = [False, True]  # as torch < 1.6 wrote


class Harmful:
    """Makes a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def training_state() -> dict:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.rand(5, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    return {
        "curr_iter": 5,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }


def save(tree, path: Path, legacy: bool) -> Path:
    torch.save(tree, path, _use_new_zipfile_serialization=not legacy)
    return path


def read(path: Path) -> dict[str, torch.Tensor]:
    return find_state_dict(read_torch_file(path), path)


@pytest.mark.parametrize("legacy", LEGACY)
@pytest.mark.parametrize(
    "beside",
    [
        OmegaConf.create({"net": {"model": "Res16UNet34C"}, "a": [1, None, 2.5]}),  # PointContrast
        argparse.Namespace(lr=0.1, names=["x"]),
        np.float64(71.3),  # best_val
        np.arange(3.0),
        collections.defaultdict(list, {1: [2]}),
        None,
    ],
)
def test_weights_beside_options(tmp_path, legacy, beside):
    state = training_state()
    found = read(save({**state, "config": beside}, tmp_path / "weights.pth", legacy))
    assert found.keys() == state["state_dict"].keys()
    assert all(torch.equal(found[name], t) for name, t in state["state_dict"].items())


@pytest.mark.parametrize("legacy", LEGACY)
def test_code_is_refused_and_not_run(tmp_path, legacy):
    trace = tmp_path / "trace"
    path = save({**training_state(), "config": Harmful(trace)}, tmp_path / "bad.pth", legacy)
    with pytest.raises(ValueError, match=r"posix\.mkdir.*could run code.*state_dict"):
        read_torch_file(path)
    path = save(nn.Linear(2, 2), tmp_path / "module.pth", legacy)
    with pytest.raises(ValueError, match=r"Linear|could run code"):
        read_torch_file(path)
    assert not trace.exists()
    torch.load(tmp_path / "bad.pth", weights_only=False)  # the trap does work
    assert trace.exists()


@pytest.mark.parametrize("wrap", ["state_dict", "model", "weights", None])
def test_where_the_weights_lie(tmp_path, wrap):
    state = nn.Linear(2, 3).state_dict()
    tree = {wrap: state, "epoch": 3} if wrap else state
    assert read(save(tree, tmp_path / "w.pth", False)).keys() == state.keys()
    nested = {"model": {"state_dict": state}}
    assert read(save(nested, tmp_path / "n.pth", False)).keys() == state.keys()
    for tree in (torch.zeros(3), {"epoch": 3}, [state]):
        with pytest.raises(ValueError, match="holds no weights by name"):
            read(save(tree, tmp_path / "none.pth", False))


@pytest.mark.parametrize("legacy", LEGACY)
def test_cut_or_altered_files_are_errors_or_weights(tmp_path, legacy):
    path = save(training_state(), tmp_path / "weights.pth", legacy)
    whole = path.read_bytes()
    generator = random.Random(0)
    for length in [0, 1, 2, 10, len(whole) - 1, *generator.sample(range(len(whole)), 30)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"weights\.pth"):
            read(path)
    for _ in range(200):
        altered = bytearray(whole)
        for _ in range(3):
            altered[generator.randrange(len(altered))] = generator.randrange(256)
        path.write_bytes(altered)
        try:
            read(path)
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("legacy", LEGACY)
def test_sizes_are_checked_before_anything_is_allocated(tmp_path, legacy):
    path = save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth", legacy)
    with pytest.raises(ValueError, match=r"a claims shape \(1000000, 1000000\)"):
        read(path)
    number, huge = (b"J" + n.to_bytes(4, "little") for n in (70_000, 2**31 - 1))
    path = save({"a": torch.zeros(70_000)}, path, legacy)
    content = path.read_bytes()
    assert number in content
    if legacy:
        path.write_bytes(content.replace(number, huge))
    else:
        rezip(path, lambda data: data.replace(number, huge), zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match="announces 2147483647 numbers"):
        read(path)


def rezip(path: Path, change, compression: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, change(data))


def test_other_containers(tmp_path):
    path = save({"a": torch.zeros(9)}, tmp_path / "w.pth", False)
    rezip(path, bytes, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed or announces more"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"not one of torch\.save's"):
        read(path)
    path.write_text("version https://git-lfs")
    with pytest.raises(ValueError, match=r"begins with b've'"):
        read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.pth")
    for tensor in (torch.zeros(10**12, device="meta"), torch.eye(3).to_sparse()):
        with pytest.raises(ValueError, match="no plain dense tensor"):
            read(save({"a": tensor}, path, False))


def test_a_file_too_large_for_weights(tmp_path, monkeypatch):
    path = save({"a": torch.zeros(900)}, tmp_path / "w.pth", False)
    monkeypatch.setattr("pcpt.students.torch_file.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="expected at most 1000"):
        read(path)
