"""Which network a checkpoint of a MinkowskiEngine zoo holds, and in which order."""

import json

import pytest
import torch

from pcpt.students import SparseUNet
from pcpt.students.minkowski_file import (
    convert_minkowski_weights,
    find_minkowski_weights,
    student_config_of,
)
from tests.students.minkowski_files import CONFIG, golden_state, to_minkowski, trained


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.backbone_net.net."])
def test_the_network_is_found_under_any_prefix(prefix):
    golden = golden_state()
    state = {prefix + name: tensor for name, tensor in golden.items()}
    state |= {prefix + "offsets_pre.kernel": torch.zeros(3, 3), "pnet.conv1.weight": torch.zeros(2)}
    found = find_minkowski_weights(state)
    assert found.state.keys() == golden.keys()
    assert found.prefix == prefix
    assert sorted(found.others) == sorted([prefix + "offsets_pre.kernel", "pnet.conv1.weight"])


def test_no_network_or_two():
    assert find_minkowski_weights({"conv1.weight": torch.zeros(2)}) is None
    state = {
        "a.conv0p1s1.kernel": torch.zeros(27, 3, 8),
        "b.conv0p1s1.kernel": torch.zeros(27, 3, 8),
    }
    with pytest.raises(ValueError, match="holds 2 networks"):
        find_minkowski_weights(state)


def test_config_of_the_published_networks(shared_data):
    variants = json.loads((shared_data / "minkowski" / "keys.json").read_text())["variants"]
    for variant in variants.values():
        state = {n: torch.empty(shape, device="meta") for n, shape in variant["keys"].items()}
        config = student_config_of(find_minkowski_weights(state).state, voxel_size=0.05)
        assert config == SparseUNet.Config(
            in_channels=variant["in_channels"],
            out_channels=variant["out_channels"],
            stem_kernel=variant["conv1_kernel_size"],
            voxel_size=0.05,
        )


@pytest.mark.parametrize(
    "values",
    [
        {"variant": "res16unet14", "stem_kernel": 5, "in_channels": 6},
        {"variant": "res16unet18a", "stem_kernel": 1, "in_channels": 1},
        {"variant": "small", "out_channels": 20},
        {"planes": [8] * 8, "blocks": [1, 2, 3, 4, 3, 2, 1, 1], "stem_channels": 4},
    ],
)
def test_config_of_other_shapes(values):
    config = SparseUNet.Config(**values)
    with torch.device("meta"):
        own = SparseUNet(config).state_dict()
    assert student_config_of(as_res16unet(own)) == config


def as_res16unet(state):
    """Names and shapes of MinkowskiEngine for any SparseUNet."""
    known = {}
    for stage in range(8):
        stride = 2**stage if stage < 4 else 256 >> stage
        side = f"encoder.{stage}.down" if stage < 4 else f"decoder.{stage - 4}.up"
        conv = f"conv{stage + 1}" if stage < 4 else f"convtr{stage}"
        norm = f"bn{stage + 1}" if stage < 4 else f"bntr{stage}"
        known |= {f"{side}.conv": f"{conv}p{stride}s2", f"{side}.norm": f"{norm}.bn"}
    known |= {"stem.conv": "conv0p1s1", "stem.norm": "bn0.bn", "final": "final"}
    parts = {"conv1.conv": "conv1", "conv1.norm": "norm1.bn", "conv2.conv": "conv2"}
    parts |= {"conv2.norm": "norm2.bn", "shortcut.conv": "downsample.0"}
    parts |= {"shortcut.norm": "downsample.1.bn"}
    theirs = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if ".blocks." in module:
            side, number, _, block, part = module.split(".", 4)
            stage = int(number) + (1 if side == "encoder" else 5)
            module = f"block{stage}.{block}.{parts[part]}"
        else:
            module = known[module]
        if module == "final":
            theirs |= (
                {"final.kernel": tensor.T} if leaf == "weight" else {"final.bias": tensor[None]}
            )
        elif leaf == "weight" and tensor.ndim == 3:
            theirs[f"{module}.kernel"] = tensor[0] if len(tensor) == 1 else tensor
        else:
            theirs[f"{module}.{leaf}"] = tensor
    return theirs


def test_counters_may_be_missing_but_no_weight():
    state = {n: t for n, t in golden_state().items() if not n.endswith("num_batches_tracked")}
    assert student_config_of(state).planes == CONFIG.planes
    for name in ("conv0p1s1.kernel", "block3.0.conv2.kernel", "convtr5p8s2.kernel", "bn0.bn.bias"):
        with pytest.raises(ValueError, match="missing"):
            student_config_of({n: t for n, t in state.items() if n != name})
    with pytest.raises(ValueError, match="three convolutions"):
        student_config_of({**state, "block1.0.conv3.kernel": torch.zeros(4, 4)})
    with pytest.raises(ValueError, match=r"expected \(taps, C_in, C_out\)"):
        student_config_of({**state, "conv0p1s1.kernel": torch.zeros(4)})
    with pytest.raises(ValueError, match=r"must be \(k\^3"):
        student_config_of({**state, "conv0p1s1.kernel": torch.zeros(26, 3, 8)})


@pytest.mark.parametrize("order", ["cube", "hybrid"])
def test_order_is_told_and_reported(order):
    own = trained().state_dict()
    found = find_minkowski_weights(to_minkowski(own, order))
    converted = convert_minkowski_weights(found)
    assert converted.order == order and converted.warning == ""
    assert f"kernel order: {order}, told from the kernels" in converted.notes[0]
    assert all(torch.equal(converted.state[name], tensor) for name, tensor in own.items())


def test_an_order_that_the_kernels_contradict_is_taken_with_a_warning():
    found = find_minkowski_weights(to_minkowski(trained().state_dict(), "hybrid"))
    converted = convert_minkowski_weights(found, "cube")
    assert converted.order == "cube"
    assert "WARNING: cube order was asked for, but the kernels look hybrid" in converted.notes[1]
    assert len(convert_minkowski_weights(found, "hybrid").notes) == 1


def test_random_weights_need_to_be_told():
    found = find_minkowski_weights(golden_state())
    with pytest.raises(ValueError, match=r"cannot be told .*init_kernel_order=hybrid.*or cube"):
        convert_minkowski_weights(found)
    with pytest.raises(ValueError, match=r"kernel_order is 'hibrid'.*did you mean 'hybrid'"):
        convert_minkowski_weights(found, "hibrid")
