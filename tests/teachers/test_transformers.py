"""Families that load through transformers: equal to its own models, and never silently random."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from pcpt import registry
from pcpt.teachers.weights_hash import weights_hash

from .conftest import FAMILIES, tiny_model


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_equals_transformers(build, images, name) -> None:
    teacher = build(name)
    model = tiny_model(name).eval()
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = model((images / 255 - mean) / deviation).last_hidden_state
    torch.testing.assert_close(teacher(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_map_holds_the_strided_one(build, images, name, output_stride) -> None:
    fine, coarse = build(name, output_stride=output_stride), build(name)
    step = 32 // output_stride
    assert (fine.stride, fine.channels) == (output_stride, coarse.channels)
    torch.testing.assert_close(
        fine(images)[:, :, ::step, ::step], coarse(images), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", ["dinov2", "dinov2_registers"])
def test_dinov2_equals_transformers(build, weights, images, name) -> None:
    teacher = build("dinov2", weights=weights(name))
    model = tiny_model(name).eval()
    padded = F.pad(teacher.normalize(images), (0, 112 - 101, 0, 84 - 75))
    with torch.no_grad():
        tokens = model(padded).last_hidden_state[:, -48:]
    expected = tokens.transpose(1, 2).reshape(2, 16, 6, 8)
    torch.testing.assert_close(teacher(images), expected, atol=1e-5, rtol=1e-5)


def test_clip_projects_as_transformers_does(build, images) -> None:
    teacher = build("clip", projection=True)
    model = tiny_model("clip").eval()
    assert teacher.channels == 12
    x = teacher.normalize(images[:, :, :64, :64])
    vision = model.vision_model
    with torch.no_grad():
        tokens = vision(x).last_hidden_state[:, 1:]
        expected = model.visual_projection(vision.post_layernorm(tokens))
    expected = expected.transpose(1, 2).reshape(2, 12, 4, 4)
    torch.testing.assert_close(teacher(images[:, :, :64, :64]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_layers(build, images, name) -> None:
    last, third, first = (build(name, layer=k)(images) for k in (-1, 3, 1))
    assert torch.equal(last, third)
    assert not torch.allclose(last, first)
    assert not torch.allclose(last, build(name, norm=False)(images))
    with pytest.raises(ValueError, match="layer is 4, the network has blocks 1 to 3"):
        build(name, layer=4)


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_teachers_of_the_same_weights_are_told_apart(build, weights, tmp_path, name) -> None:
    """By all that they answer differently for, and by nothing else."""
    teacher, folder = build(name), tmp_path / "elsewhere"
    shutil.copytree(weights(name), folder)
    assert weights_hash(build(name, weights=str(folder), seed=3)) == weights_hash(teacher)
    assert weights_hash(build(name, norm=False)) != weights_hash(teacher)
    settings = json.loads((folder / "config.json").read_text())
    for key, value in (("layer_norm_eps", 0.1), ("hidden_act", "relu"), ("num_attention_heads", 4)):
        changed = {**settings, key: value}
        if name == "clip":
            changed = {**settings, "vision_config": {**settings["vision_config"], key: value}}
        (folder / "config.json").write_text(json.dumps(changed))
        assert weights_hash(build(name, weights=str(folder))) != weights_hash(teacher), key
    teacher.normalize.shift += 1  # is in no state dict
    assert weights_hash(teacher) != weights_hash(build(name))


def test_dilated_networks_are_told_apart(build) -> None:
    assert weights_hash(build("resnet18")) == weights_hash(build("resnet18"))
    assert weights_hash(build("resnet18", output_stride=8)) != weights_hash(build("resnet18"))


@pytest.mark.parametrize("name", FAMILIES)
def test_missing_folder_names_the_command(build, tmp_path, name) -> None:
    with pytest.raises(FileNotFoundError, match=rf"teacher {name}: .*hf download"):
        build(name, weights=str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        build(name, weights=str(tmp_path / "empty"))


def test_hub_that_cannot_be_reached_names_the_command(build, monkeypatch) -> None:
    import transformers

    def offline(*args: object, **options: object) -> None:
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(transformers.PretrainedConfig, "get_config_dict", offline)
    with pytest.raises(FileNotFoundError, match=r"hf download microsoft/resnet-50 config\.json"):
        build("resnet50", weights="")


@pytest.fixture
def copy(weights, tmp_path) -> Path:
    return Path(shutil.copytree(weights("resnet18"), tmp_path / "copy"))


def test_pickles_are_refused(build, copy) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle and is not loaded"):
        build("resnet18", weights=str(copy))
    (copy / "pytorch_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        build("resnet18", weights=str(copy))


def test_incomplete_weights_are_refused(build, copy) -> None:
    state = load_file(copy / "model.safetensors")
    del state["encoder.stages.1.layers.0.layer.0.convolution.weight"]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="they would stay random"):
        build("resnet18", weights=str(copy))


def test_truncated_weights_are_refused(build, copy) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"teacher resnet18: .*copy"):
        build("resnet18", weights=str(copy))


def test_other_architectures_are_refused(build, weights, copy) -> None:
    with pytest.raises(ValueError, match="name the teacher that these weights belong to"):
        build("resnet34", weights=str(copy))
    with pytest.raises(ValueError, match="holds a 'resnet' model, expected dinov2"):
        build("dinov2", weights=str(copy))
    config = json.loads((copy / "config.json").read_text())
    config["hidden_sizes"] = [16, 24, 32, 40]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="teacher resnet18"):
        build("resnet18", weights=str(copy))


def test_options_out_of_range(build) -> None:
    for options in ({"stage": 5}, {"output_stride": 4}):
        with pytest.raises(ValueError, match=next(iter(options))):
            build("resnet18", **options)
    for name in ("dinov2", "clip"):
        with pytest.raises(ValueError, match="variant is 'tiny'"):
            build(name, variant="tiny")
    with pytest.raises(ValueError, match="norm=true"):
        build("clip", projection=True, norm=False)


def _is_ours(name: str) -> bool:
    """Other tests register teachers of their own."""
    return registry.get("teachers", name).__module__.startswith("pcpt.")


def test_every_config_is_a_structured_config() -> None:
    from omegaconf import OmegaConf

    own = [name for name in registry.list_names("teachers") if _is_ours(name)]
    assert {*FAMILIES, "lite0", "random"} <= {*own}
    for name in own:
        config = OmegaConf.structured(registry.get("teachers", name).Config)
        if name in (*FAMILIES, "lite0", "random"):
            assert config.name == name


@pytest.mark.parametrize("name", ["clip", "dinov2", "dinov2_registers"])
def test_saliency_is_the_attention_of_the_class_token(build, weights, images, name) -> None:
    family = name.removesuffix("_registers")
    teacher = build(family, weights=weights(name))
    model = tiny_model(name).eval()
    network = model.vision_model if name == "clip" else model
    network.set_attn_implementation("eager")
    step = teacher.stride
    padded = F.pad(teacher.normalize(images), (0, -101 % step, 0, -75 % step))
    options = {"interpolate_pos_encoding": True} if name == "clip" else {}
    with torch.no_grad():
        output = network(padded, output_attentions=True, **options)
    height, width = padded.shape[2] // step, padded.shape[3] // step
    expected = output.attentions[-1].mean(1)[:, 0, -height * width :].view(2, height, width)
    found = teacher.saliency(images)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert found.std() > 0
    features, again = teacher.look(images)
    assert torch.equal(again, found) and torch.equal(features, teacher(images))


def test_saliency_is_of_the_last_block_that_is_used(build, images) -> None:
    last, first = (build("clip", layer=layer).saliency(images) for layer in (-1, 1))
    assert not torch.allclose(last, first)
