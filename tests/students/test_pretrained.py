"""Exported folders: what is written, what is read, and everything that must be refused."""

import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from pcpt.students import SparseUNet
from pcpt.students import pretrained as module
from pcpt.students.weights import read_safetensors, write_safetensors

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "pretrained_v1"
FILES = {"README.md", "config.json", "model.safetensors"}


def tiny(**options) -> SparseUNet:
    torch.manual_seed(0)
    sizes = {"planes": [3] * 8, "blocks": [1] * 8, "stem_channels": 2, "out_channels": 4}
    return SparseUNet(SparseUNet.Config(**{**sizes, "voxel_size": 0.1} | options))


@pytest.fixture
def folder(tmp_path) -> Path:
    return tiny().save_pretrained(tmp_path / "made" / "export", details={"method": "ppkt"})


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a local folder must not touch the network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.usefixtures("no_network")
def test_round_trip(folder):
    model = tiny().eval()
    loaded = SparseUNet.from_pretrained(folder)
    assert loaded.config == model.config and not loaded.training
    assert {p.name for p in folder.iterdir()} == FILES
    state = model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    points, colors = np.random.default_rng(0).random((2, 50, 3))
    assert torch.equal(loaded.features_at(points, colors), model.features_at(points, colors))
    assert torch.equal(
        SparseUNet.from_pretrained(str(folder)).features_at(points), model.features_at(points)
    )


@pytest.mark.usefixtures("no_network")
def test_an_export_of_the_first_version_still_computes_the_same():
    """Never regenerate these files: they are what users have on their disks."""
    model = SparseUNet.from_pretrained(GOLDEN)
    with np.load(GOLDEN / "expected.npz", allow_pickle=False) as expected:
        features = model.features_at(expected["points"], expected["colors"])
        projected = model.features_at(expected["points"], expected["colors"], projected=True)
        torch.testing.assert_close(
            features, torch.from_numpy(expected["features"]), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            projected, torch.from_numpy(expected["projected"]), rtol=1e-4, atol=1e-5
        )


def test_config_json_is_complete(folder):
    description = json.loads((folder / "config.json").read_text())
    assert description["format_version"] == 1 and description["student"] == "sparse_unet"
    assert set(description["config"]) == set(SparseUNet.Config.__dataclass_fields__)


def test_card(folder):
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: pcpt\n")
    assert "| method | ppkt |" in card and "| voxel size | 0.1 |" in card
    assert str(folder) not in card


def test_edited_card_is_kept(folder):
    card = folder / "README.md"
    tiny(voxel_size=0.2).save_pretrained(folder)
    assert "| voxel size | 0.2 |" in card.read_text()
    card.write_text("Mine.")
    tiny().save_pretrained(folder)
    assert card.read_text() == "Mine."


def test_saving_over_an_export_replaces_it_and_spares_other_files(folder):
    (folder / "notes.txt").write_text("kept")
    tiny(planes=[4] * 8).save_pretrained(folder)
    assert SparseUNet.from_pretrained(folder).feature_channels == 4
    assert {p.name for p in folder.iterdir()} == FILES | {"notes.txt"}


def test_failed_save_leaves_the_old_export(folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full_disk(*_args):
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "_write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        tiny(planes=[4] * 8).save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


@pytest.mark.parametrize("done", [0, 1, 2])
def test_an_interrupted_save_never_pairs_new_weights_with_an_old_config(folder, monkeypatch, done):
    replace, calls = os.replace, []

    def interrupted(source, target):
        calls.append(target)
        if len(calls) > done:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny(voxel_size=0.7).save_pretrained(folder)
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        SparseUNet.from_pretrained(folder)
    monkeypatch.undo()
    tiny(voxel_size=0.7).save_pretrained(folder)
    assert SparseUNet.from_pretrained(folder).config.voxel_size == 0.7


def test_files_are_readable_by_others(folder):
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_diverged_weights_are_not_saved(tmp_path):
    model = tiny()
    with torch.no_grad():
        model.final.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"final\.bias holds nan.*earlier checkpoint"):
        model.save_pretrained(tmp_path / "export")
    assert not list((tmp_path / "export").iterdir())


def test_target_is_a_file(tmp_path):
    (tmp_path / "export").write_text("")
    with pytest.raises(ValueError, match="a file of that name exists"):
        tiny().save_pretrained(tmp_path / "export")


# What cannot be loaded


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*tools/export\.py"):
        SparseUNet.from_pretrained(tmp_path / "nothing")


@pytest.mark.usefixtures("no_network")
def test_mistyped_name_beside_a_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent.parent)
    with pytest.raises(FileNotFoundError, match="no such folder: made/exprt"):
        SparseUNet.from_pretrained("made/exprt")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}"):
        SparseUNet.from_pretrained(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pth", "a.ckpt"])
def test_pickle_in_place_of_safetensors(folder, name, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a pickle must not be loaded")

    torch.save(tiny().state_dict(), folder / name)
    monkeypatch.setattr(torch, "load", refuse)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=rf"{name} is a pickle.*refused"):
        SparseUNet.from_pretrained(folder)
    with pytest.raises(ValueError, match=rf"{name} is a pickle.*refused"):
        SparseUNet.from_pretrained(folder / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_named_safetensors(folder, zipped):
    torch.save(
        tiny().state_dict(),
        folder / "model.safetensors",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ValueError, match=r"model\.safetensors is a pickle.*refused"):
        SparseUNet.from_pretrained(folder)


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_begins_like_a_pickle(tmp_path, length):
    path = tmp_path / "model.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = length.to_bytes(8, "little") + header.ljust(length) + np.float32(3).tobytes()
    assert content[0] == 0x80 and content[1] in (2, 3, 4, 5)
    path.write_bytes(content)
    assert read_safetensors(path)["a"].tolist() == [3.0]


def test_every_truncation_is_found(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for size in (0, 1, 7, 8, 9, 100, header - 1, header, header + 1, len(whole) - 1):
        weights.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"model\.safetensors is truncated: it has {size} b"):
            SparseUNet.from_pretrained(folder)
    with pytest.raises(ValueError, match=f"its header announces {len(whole)}"):
        SparseUNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "is not a safetensors file: it begins with"),
        (b"\x05\0\0\0\0\0\0\0{'a'}", "header is broken"),
        (b"\x02\0\0\0\0\0\0\0[]", "it begins with"),
        (b"\x08\0\0\0\0\0\0\0" + b'{"a":1} ', "header is broken"),
    ],
)
def test_other_files_in_place_of_weights(folder, content, message):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        SparseUNet.from_pretrained(folder)


def test_bytes_behind_the_weights(folder):
    with open(folder / "model.safetensors", "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="longer than it should be"):
        SparseUNet.from_pretrained(folder)


def test_weights_of_another_architecture(folder):
    other = tiny(planes=[3] * 7 + [5]).state_dict()
    other["head.weight"] = torch.zeros(2)
    del other["stem.norm.bias"]
    write_safetensors(folder / "model.safetensors", other)
    with pytest.raises(ValueError) as caught:
        SparseUNet.from_pretrained(folder)
    message = str(caught.value)
    assert "missing (1): stem.norm.bias" in message
    assert "unexpected (" in message and "head.weight" in message
    assert "decoder.3.up.conv.weight is (8, 3, 5), expected (8, 3, 3)" in message


def test_unknown_key(folder):
    values = json.loads((folder / "config.json").read_text())["config"]
    edit_config(folder, config=values | {"voxel_sise": 0.1})
    with pytest.raises(ValueError, match=r"'voxel_sise'; did you mean 'voxel_size'"):
        SparseUNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version is 2, this pcpt reads 1 to 1; upgrade"),
        ({"format_version": None}, "format_version is None"),
        ({"student": "point_mae"}, "student is 'point_mae', but SparseUNet is 'sparse_unet'"),
        ({"config": []}, "no object 'config'"),
        ({"config": {"voxel_size": "0.1"}}, "voxel_size is '0.1', expected float such as"),
        ({"config": {"out_channels": True}}, "out_channels is True, expected int"),
        ({"config": {"voxel_size": -1.0}}, r"config\.json: config: student\.voxel_size is -1"),
    ],
)
def test_wrong_values(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        SparseUNet.from_pretrained(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"architectures": ["BertModel"]}', "\udcff"])
def test_other_json(folder, text):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"config\.json"):
        SparseUNet.from_pretrained(folder)


def test_keys_of_later_versions_take_their_defaults(folder):
    """An old export lacks keys that came later."""
    values = json.loads((folder / "config.json").read_text())["config"]
    del values["sync_bn"]
    edit_config(folder, config=values)
    assert SparseUNet.from_pretrained(folder).config.sync_bn is False


# The hub


def test_hub_id(folder, monkeypatch):
    asked = []

    def download(repo_id, filename, *, revision=None):
        asked.append((repo_id, filename, revision))
        return str(folder / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    model = SparseUNet.from_pretrained("someone/model", revision="v1")
    assert model.feature_channels == 3
    assert asked == [
        ("someone/model", "config.json", "v1"),
        ("someone/model", "model.safetensors", "v1"),
    ]


def test_hub_out_of_reach(monkeypatch):
    def download(*_args, **_options):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(FileNotFoundError, match=r"'someone/model' is no folder here.*no network"):
        SparseUNet.from_pretrained("someone/model")


def test_copied_folder_loads_anywhere(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    shutil.rmtree(folder)
    assert SparseUNet.from_pretrained(copy).out_channels == 4
