"""Networks trained with MinkowskiEngine as folders that anyone can load."""

import json
import shutil

import numpy as np
import pytest
import torch

from pcpt import cli
from pcpt.engine.data_record import DataRecord, Seen, read_record
from pcpt.engine.export_minkowski import MinkowskiOptions, export_source
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet
from pcpt.students.weights import write_safetensors
from tests.students.minkowski_files import CONFIG, GOLDEN, golden_state, to_minkowski, trained


@pytest.fixture
def checkpoint(tmp_path):
    """As PointContrast saves it, with a head that is not ours."""
    state = {f"module.{name}": tensor for name, tensor in golden_state().items()}
    state["module.offsets.kernel"] = torch.zeros(3, 3)
    torch.save({"curr_iter": 5, "state_dict": state}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def outputs(folder, numbers, scale: float = 1.0) -> np.ndarray:
    model = SparseUNet.from_pretrained(folder)
    feats = scale * torch.from_numpy(numbers["feats"])
    voxels = SparseTensor(feats, torch.from_numpy(numbers["coords"]))
    with torch.no_grad():
        return model.project(model(voxels).features).numpy()


@pytest.mark.parametrize("order", ["cube", "hybrid"])
@pytest.mark.parametrize("color_range", [1.0, 0.5])
def test_the_exported_network_computes_the_same(checkpoint, tmp_path, order, color_range):
    options = MinkowskiOptions(kernel_order=order, voxel_size=0.05, color_range=color_range)
    notes = export_source(checkpoint, tmp_path / "out", options)
    with np.load(GOLDEN / "res16unet_io.npz", allow_pickle=False) as numbers:
        wanted = numbers[("me043_hybrid." if order == "hybrid" else "") + "out_eval"]
        found = outputs(tmp_path / "out", numbers, 1 / color_range)
        other = outputs(tmp_path / "out", numbers, 2 / color_range)
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < 1e-4
    assert np.abs(other - wanted).max() / np.abs(wanted).max() > 0.01
    config = json.loads((tmp_path / "out" / "config.json").read_text())["config"]
    assert (config["planes"], config["voxel_size"]) == (CONFIG.planes, 0.05)
    assert any(f"kernel order: {order}, as asked" in note for note in notes)
    assert notes[-1] == "left out: module.offsets.kernel (1 tensors of other parts)"
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| kernel order | {order}, as asked |" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("order", ["cube", "hybrid"])
def test_the_order_is_told(tmp_path, order):
    own = trained().state_dict()
    path = tmp_path / "weights.safetensors"
    state = to_minkowski(own, order)
    for name in [name for name in state if name.endswith("num_batches_tracked")]:
        del state[name]  # as torch < 0.4.1 saved
    write_safetensors(path, state)
    export_source(path, tmp_path / "out")
    model = SparseUNet.from_pretrained(tmp_path / "out")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name]) or name.endswith("num_batches_tracked")


def test_the_record_of_other_weights_does_not_stay(checkpoint, tmp_path):
    options = MinkowskiOptions(kernel_order="cube")
    out = tmp_path / "out"
    out.mkdir()
    DataRecord((Seen("training", "s", ("x",)),)).write(out)
    alone = tmp_path / "weights" / checkpoint.name
    alone.parent.mkdir()
    shutil.copy(checkpoint, alone)
    export_source(alone, out, options)
    assert read_record(out) is None
    own = DataRecord((Seen("training", "s", ("y",)),))
    own.write(alone.parent)  # somebody recorded what they had seen
    export_source(alone, out, options)
    assert read_record(out) == own


def test_command(checkpoint, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert cli.main(["export", str(checkpoint), out]) == 2
    assert "cannot be told" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli.main(["export", str(checkpoint), out, "--kernel-order", "hybrid"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "Res16UNet: of widths and depths of its own, 3 -> 5 channels, stem of 3^3",
        "kernel order: hybrid, as asked",
        "colours: pcpt feeds [-1, 1]",
        "exported to",
    ):
        assert words in printed


def test_errors(checkpoint, tmp_path):
    out = tmp_path / "out"
    for values, message in (
        ({"color_range": 0.0}, "color_range is 0"),
        ({"kernel_order": "cubic"}, "did you mean 'cube'"),
        ({"kernel_order": "cube", "voxel_size": 0.0}, "voxel_size is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            export_source(checkpoint, out, MinkowskiOptions(**values))
    with pytest.raises(ValueError, match="no file of weights"):
        export_source(tmp_path, out, MinkowskiOptions())
    with pytest.raises(FileNotFoundError):
        export_source(tmp_path / "absent", out)
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "linear.pth")
    with pytest.raises(ValueError, match=r"holds no Res16UNet .*it has weight, bias"):
        export_source(tmp_path / "linear.pth", out)
    state = golden_state()
    state["conv0p1s1.kernel"] = torch.zeros(27, 4, 8)
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match="4 channels, not 3 of colour"):
        export_source(checkpoint, out, MinkowskiOptions(kernel_order="cube", color_range=0.5))
    state["block3.0.conv1.kernel"][0] = torch.nan
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match="nan or inf"):
        export_source(checkpoint, out, MinkowskiOptions(kernel_order="cube"))
    assert not (out / "model.safetensors").exists()
