"""Weights to start from: what loads, what does not and why, from every kind of source."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pcpt import cli
from pcpt.config import RunConfig, make_config
from pcpt.engine.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from pcpt.engine.init import initialise
from pcpt.engine.run import build, dry_run, train
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet
from pcpt.students.adapters import merge_lora, tune_student
from pcpt.students.weights import write_safetensors
from tests.engine.test_resume import assert_equal, assert_same_run
from tests.engine.toy_run import toy_config, toy_tree
from tests.students.minkowski_files import CONFIG, GOLDEN, golden_state, to_minkowski, trained

STUDENT = {
    "variant": "small",
    "planes": [3, 4, 5, 6, 5, 4, 3, 4],
    "blocks": [1] * 8,
    "stem_channels": 2,
    "voxel_size": 0.1,
}


class Task(nn.Module):
    """As tasks are seen from here: a student and a head."""

    def __init__(self, seed: int, num_classes: int = 7, **config: Any) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.student = SparseUNet(SparseUNet.Config(**{**STUDENT, "out_channels": 0, **config}))
        self.head = nn.Linear(self.student.feature_channels, num_classes)


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def write_run(folder: Path, module: nn.Module, **config: Any) -> Path:
    """A run folder as far as its weights go."""
    state = {
        "step": 30,
        "method": module.state_dict(),
        "config": {
            "student": {"name": "sparse_unet", **STUDENT},
            "task": {"name": "segmentation"},
            "data": {"source": {"name": "scannet_scenes", "root": "/home/somebody/scans"}},
            **config,
        },
    }
    save_checkpoint(checkpoint_path(folder, 30), state)
    return folder


def check(module: nn.Module, before: dict[str, torch.Tensor], source: dict, report) -> None:
    """Loaded tensors are the source's and all others as they were, bit for bit."""
    loaded = set(report.loaded)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, source[name] if name in loaded else before[name]), name
    assert loaded


def test_a_run_with_a_head_that_fits(tmp_path):
    source, task = Task(1), Task(2)
    before = snapshot(task)
    report = initialise(task, write_run(tmp_path / "old", source))
    assert report.counts["loaded"] == len(before)
    check(task, before, source.state_dict(), report)
    assert report.kind == "run" and report.source == "old, step 30"
    assert "somebody" not in json.dumps(report.origin)
    assert report.origin == {"task": "segmentation", "data": "scannet_scenes", "steps": "30"}
    assert "beyond the student: head" in report.table()


def test_no_head_is_taken_in_part(tmp_path):
    """Of another width its bias would fit, with the share of each class in other labels."""
    source, module = Task(0), Task(1)
    module.head = nn.Linear(2 * module.student.feature_channels, 7)
    fresh = snapshot(module)
    report = initialise(module, write_run(tmp_path / "run", source))
    assert report.reshaped == ["head.weight", "head.bias"]
    assert torch.equal(module.head.bias, fresh["head.bias"])
    assert_equal(module.student.state_dict(), source.student.state_dict())


def test_another_number_of_classes_starts_the_head_anew_and_says_so(tmp_path):
    source, task = Task(1, num_classes=20), Task(2, num_classes=13)
    before = snapshot(task)
    report = initialise(task, checkpoint_path(write_run(tmp_path / "old", source), 30))
    check(task, before, source.state_dict(), report)
    assert report.reshaped == ["head.weight", "head.bias"]
    table = report.table()
    assert "head.weight: (13, 4) here, (20, 4) in the source: re-initialised" in table
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[2:] if line[2] != " "}
    assert rows["student.encoder.0"][0] == "24"
    assert rows["head"] == ["2"]
    assert len(table.splitlines()) < 20


def test_an_exported_folder_and_what_it_lacks_or_has_beyond(tmp_path):
    torch.manual_seed(1)
    student = SparseUNet(SparseUNet.Config(**STUDENT, out_channels=9))
    folder = student.save_pretrained(tmp_path / "exported")
    task = Task(2, voxel_size=0.2)
    before = snapshot(task)
    report = initialise(task, folder)
    source = {f"student.{name}": t for name, t in student.state_dict().items()}
    check(task, before, source, report)
    assert report.missing == ["head.weight", "head.bias"]
    assert sorted(report.unused) == [
        "student.final.bias",
        "student.final.weight",
    ]
    assert "freshly initialised: in head" in report.table()
    assert "WARNING: student.voxel_size is 0.2 here, 0.1 in the source" in report.table()
    # what was taken over has one hash, wherever it lies
    again = initialise(Task(3), folder / "model.safetensors")
    assert again.sha256 == report.sha256 and len(report.sha256) == 64


def test_a_student_by_itself_from_a_run_and_a_plain_file(tmp_path):
    source = Task(1)
    state = source.student.state_dict()
    torch.save({"model": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "plain.pth")
    for path in (write_run(tmp_path / "old", source), tmp_path / "plain.pth"):
        student = Task(2).student
        report = initialise(student, path)
        assert_equal(dict(student.state_dict()), dict(state))
        assert report.counts["loaded"] == len(state)


def test_low_rank_additions_are_taken_over_in_the_weights(tmp_path):
    source, task = Task(1), Task(2)
    tune_student(source.student, "lora", lora_rank=2)
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.1)
    tune_student(task.student, "lora", lora_rank=3)
    report = initialise(task, write_run(tmp_path / "old", source))
    assert report.missing and all(".adapter." in name for name in report.missing)
    for module in (source, task):
        merge_lora(module.student)
    assert_equal(dict(task.state_dict()), dict(source.state_dict()))


def test_another_stem_keeps_the_rest(tmp_path):
    source, task = Task(1), Task(2, in_channels=6, stem_kernel=5)
    before = snapshot(task)
    report = initialise(task, write_run(tmp_path / "old", source))
    check(task, before, source.state_dict(), report)
    assert report.reshaped == ["student.stem.conv.weight"]
    assert "(125, 6, 2) here, (27, 3, 2) in the source" in report.table()


def test_other_number_types_are_converted(tmp_path):
    source = Task(1).half()
    task = Task(2)
    initialise(task, write_run(tmp_path / "old", source))
    assert task.head.weight.dtype == torch.float32
    assert torch.equal(task.head.weight, source.head.weight.float())


@pytest.mark.parametrize("order", ["cube", "hybrid"])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_a_minkowski_checkpoint_computes_what_minkowski_computed(tmp_path, order, container):
    state = {f"module.{name}": tensor for name, tensor in golden_state().items()}
    path = tmp_path / "weights.pth"
    if container == "safetensors":
        write_safetensors(path := tmp_path / "weights.safetensors", state)
    else:
        tree = {"state_dict": state, "config": {"lr": 0.1}, "curr_iter": 5}
        torch.save(tree, path, _use_new_zipfile_serialization=container == "zip")
    torch.manual_seed(5)
    task = Task(5, **{key: getattr(CONFIG, key) for key in ("planes", "blocks", "stem_channels")})
    task.student.final = nn.Linear(10, 5)
    report = initialise(task, path, order)
    assert report.kernel_order == order
    assert report.counts == {
        "loaded": len(state),
        "shape differs": 0,
        "missing in source": 2,
        "unused in source": 0,
    }
    with np.load(GOLDEN / "res16unet_io.npz", allow_pickle=False) as numbers:
        feats, coords = torch.from_numpy(numbers["feats"]), torch.from_numpy(numbers["coords"])
        wanted = numbers[("me043_hybrid." if order == "hybrid" else "") + "out_eval"]
    student = task.student.eval()
    with torch.no_grad():
        found = student.final(student(SparseTensor(feats, coords)).features).numpy()
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < 1e-4


@pytest.mark.parametrize("order", ["cube", "hybrid"])
def test_the_order_is_told_when_not_given(tmp_path, order):
    own = trained()
    state = to_minkowski(own.state_dict(), order) | {"offsets.kernel": torch.zeros(3, 3)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    torch.manual_seed(5)
    student = SparseUNet(CONFIG)
    report = initialise(student, tmp_path / "w.pth")
    assert_equal(dict(student.state_dict()), dict(own.state_dict()))
    assert report.kernel_order == order
    assert report.unused == ["offsets.kernel"]
    table = report.table()
    assert f"kernel order: {order}, told from the kernels" in table and "sigma" in table
    assert "colours: pcpt feeds [-1, 1]" in table


def test_random_minkowski_weights_are_refused_unless_told(tmp_path):
    torch.save(golden_state(), tmp_path / "w.pth")
    student = SparseUNet(CONFIG)
    before = snapshot(student)
    with pytest.raises(ValueError, match=r"w\.pth: the order .* cannot be told"):
        initialise(student, tmp_path / "w.pth")
    assert_equal(snapshot(student), before)


def test_what_is_refused_leaves_the_module_alone(tmp_path):
    task = Task(2)
    before = snapshot(task)
    run = write_run(tmp_path / "old", Task(1))

    def refused(path: Path | str, message: str, error: type = ValueError) -> None:
        with pytest.raises(error, match=message):
            initialise(task, path)
        assert_equal(snapshot(task), before)

    refused(tmp_path / "absent" / "x", "no weights at", FileNotFoundError)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "neither a run with a checkpoint", FileNotFoundError)
    other = SparseUNet(SparseUNet.Config(**{**STUDENT, "planes": [7] * 8, "stem_channels": 3}))
    refused(other.save_pretrained(tmp_path / "other"), r"no weight fits Task.*re-initialised")
    torch.save({"state_dict": nn.Linear(2, 2).state_dict()}, tmp_path / "linear.pth")
    refused(tmp_path / "linear.pth", r"no weight fits Task.*student\.weight")
    whole = checkpoint_path(run, 30).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.pt", r"cut\.pt is truncated")
    diverged = Task(1)
    diverged.student.encoder[2].blocks[0].conv1.norm.running_var[1] = torch.nan
    refused(write_run(tmp_path / "diverged", diverged), r"running_var holds nan or inf.*earlier")


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path):
    run = write_run(tmp_path / "old", Task(1))
    shutil.copy(checkpoint_path(run, 30), checkpoint_path(run, 40))
    checkpoint_path(run, 40).write_bytes(b"PK")
    assert initialise(Task(2), run).source == "old, step 30"


# In runs.


def init_tree(tmp_path: Path, name: str, **sections: Any) -> dict[str, Any]:
    train(toy_config(tmp_path / "first", train={"steps": 2}), resume="auto")
    return {**toy_tree(tmp_path / name, **sections), "init": str(tmp_path / "first"), "seed": 4}


def toy_init(tmp_path: Path, name: str, **sections: Any) -> RunConfig:
    return make_config(init_tree(tmp_path, name, **sections))


def test_a_run_starts_from_a_run_and_writes_what_it_took(tmp_path, caplog):
    caplog.set_level("INFO")
    config = toy_init(tmp_path, "second", optim={"lr": 1e-12}, train={"steps": 1})
    train(config)
    old = load_checkpoint(checkpoint_path(tmp_path / "first", 2))["method"]
    new = load_checkpoint(checkpoint_path(tmp_path / "second", 1))["method"]
    for name, tensor in old.items():
        assert torch.allclose(tensor, new[name], atol=1e-6)
    assert "init from first, step 2 (run, method toy_match" in caplog.text
    text = (tmp_path / "second" / "init.json").read_text()
    assert str(tmp_path) not in text
    content = json.loads(text)
    assert content["counts"]["loaded"] == len(old)
    assert content["tensors"]["loaded"] == list(old) and content["reasons"] == {}
    assert len(content["sha256"]) == 64
    # without the key nothing of the kind
    assert not (tmp_path / "first" / "init.json").exists()


def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path):
    """Even if the source has meanwhile gone or changed: it counts at step 0 only."""
    config = toy_init(tmp_path, "whole", optim={"trunk_lr_scale": 0.1})
    train(config)
    interrupted = {"method": {"signal_at": 5}, "optim": {"trunk_lr_scale": 0.1}}
    halves = toy_init(tmp_path, "halves", **interrupted)
    assert train(halves).step < 6
    written = (tmp_path / "halves" / "init.json").read_text()
    shutil.rmtree(tmp_path / "first")
    assert train(halves, "auto").step == 6
    assert_same_run(tmp_path / "whole", tmp_path / "halves", 6)
    assert (tmp_path / "halves" / "init.json").read_text() == written


def test_other_tensors_start_as_without_init(tmp_path):
    config = toy_init(tmp_path, "wider", student={"width": 5})
    parts, plain = build(config), build(config)
    report = initialise(parts.method, config.init)
    fresh = set(report.reshaped)
    assert fresh == {f"student.layers.{n}" for n in ("0.weight", "0.bias", "2.weight")}
    for name, tensor in plain.method.state_dict().items():
        assert torch.equal(tensor, parts.method.state_dict()[name]) == (name in fresh)


def test_commands(tmp_path, capsys):
    config = toy_init(tmp_path, "second")
    assert "4 of 4 tensors loaded" in dry_run(config)
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(toy_tree(tmp_path / "third")))
    words = ["--init", str(tmp_path / "first"), "--init-kernel-order", "hybrid"]
    assert cli.main(["train", str(path), "--dry-run", *words]) == 0
    assert "init_kernel_order: hybrid" in capsys.readouterr().out
    assert cli.main(["train", str(path), "--init", str(tmp_path / "absent" / "x")]) == 2
    assert "no weights at" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
