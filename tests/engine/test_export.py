"""From a run's checkpoint to a folder that anyone can load."""

import json

import pytest
import torch

from pcpt import cli, registry
from pcpt.engine.checkpoint import checkpoint_path, save_checkpoint
from pcpt.engine.export import export_student
from pcpt.students import SparseUNet

STUDENT = {
    "name": "sparse_unet",
    "variant": "small",
    "planes": [3, 4, 5, 6, 5, 4, 3, 4],
    "blocks": [1] * 8,
    "stem_channels": 2,
    "out_channels": 5,
    "voxel_size": 0.1,
}


def network(seed: int = 0) -> SparseUNet:
    torch.manual_seed(seed)
    return SparseUNet(SparseUNet.Config(**STUDENT))


def state_of(module: torch.nn.Module, /, step: int = 30, **config) -> dict:
    """What the trainer writes, as far as it concerns the student."""
    method = {f"student.{name}": tensor for name, tensor in module.state_dict().items()}
    return {
        "step": step,
        "method": {**method, "projection.weight": torch.zeros(5, 7)},
        "config": {
            "run": "/home/somebody/runs/x",
            "imports": [],
            "student": STUDENT,
            "method": {"name": "ppkt", "temperature": 0.04},
            "teacher": {"name": "lite0"},
            "data": {"source": {"name": "folder", "root": "/home/somebody/scans"}},
            **config,
        },
    }


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    save_checkpoint(checkpoint_path(folder, 20), state_of(network(1), step=20))
    save_checkpoint(checkpoint_path(folder, 30), state_of(network(2), step=30))
    return folder


def same(model: SparseUNet, other: SparseUNet) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_newest_checkpoint_of_a_run(run, tmp_path):
    folder = export_student(run, tmp_path / "out")
    model = SparseUNet.from_pretrained(folder)
    assert same(model, network(2))
    assert model.voxel_size == 0.1 and model.out_channels == 5


def test_a_checkpoint_of_choice(run, tmp_path):
    folder = export_student(checkpoint_path(run, 20), tmp_path / "out")
    assert same(SparseUNet.from_pretrained(folder), network(1))


def test_damaged_newest_checkpoint_is_passed_over(run, tmp_path):
    newest = checkpoint_path(run, 30)
    newest.write_bytes(newest.read_bytes()[:1000])
    assert same(SparseUNet.from_pretrained(export_student(run, tmp_path / "out")), network(1))
    with pytest.raises(ValueError, match="step_00000030"):
        export_student(newest, tmp_path / "out")


def test_card_tells_the_origin_but_no_paths(run, tmp_path):
    card = (export_student(run, tmp_path / "out") / "README.md").read_text()
    for row in ("| method | ppkt |", "| teacher | lite0 |", "| data | folder |", "| steps | 30 |"):
        assert row in card
    for path in (tmp_path / "out").iterdir():
        assert b"somebody" not in path.read_bytes()


def test_command(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["export", str(run), str(out)]) == 0
    assert "exported to" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["config"]["planes"] == STUDENT["planes"]
    assert cli.main(["export", str(tmp_path / "nothing"), str(out)]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_student_of_ones_own(tmp_path, monkeypatch):
    """A student in a file of the user's, named under ``imports``."""
    monkeypatch.setitem(registry._components, "students", dict(registry._components["students"]))
    source = tmp_path / "my_student.py"
    source.write_text(
        "from dataclasses import dataclass\n"
        "import torch\n"
        "from pcpt.registry import register\n"
        "from pcpt.students import Pretrained\n"
        "\n"
        '@register("students", "mine")\n'
        "class Mine(Pretrained):\n"
        "    @dataclass\n"
        "    class Config:\n"
        '        name: str = "mine"\n'
        "        width: int = 2\n"
        "    def __init__(self, config):\n"
        "        super().__init__()\n"
        "        self.config = config\n"
        "        self.layer = torch.nn.Linear(3, config.width)\n"
        "\n"
        '@register("students", "bare")\n'
        "class Bare(torch.nn.Linear):\n"
        "    Config = Mine.Config\n"
    )
    weights = torch.nn.ModuleDict({"layer": torch.nn.Linear(3, 4)})
    config = {"imports": [str(source)], "student": {"name": "mine", "width": 4}}
    path = checkpoint_path(tmp_path / "run", 1)
    save_checkpoint(path, state_of(weights, **config))
    folder = export_student(path, tmp_path / "out")
    mine = registry.get("students", "mine").from_pretrained(folder)
    assert torch.equal(mine.layer.weight, weights["layer"].weight)

    save_checkpoint(path, state_of(weights, **{**config, "student": {"name": "bare"}}))
    with pytest.raises(ValueError, match="'bare' cannot be exported: let Bare subclass"):
        export_student(path, tmp_path / "out")


def test_no_checkpoints(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        export_student(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"student": {"name": "sparse_unett"}}, "did you mean 'sparse_unet'"),
        ({"student": {**STUDENT, "varient": "small"}}, "did you mean 'variant'"),
        ({"student": {**STUDENT, "planes": [4] * 8}}, "does not fit this network"),
        ({"student": None}, "has no 'student' section"),
    ],
)
def test_config_that_does_not_fit(tmp_path, config, message):
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, state_of(network(), **config))
    with pytest.raises(ValueError, match=message):
        export_student(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_checkpoint_without_a_student(tmp_path):
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, {"step": 1, "method": {}})
    with pytest.raises(ValueError, match="has no 'config' section"):
        export_student(path, tmp_path / "out")
