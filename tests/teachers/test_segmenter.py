"""The teacher made from an exported image network."""

from pathlib import Path

import pytest
import torch

from pcpt.students.image_pyramid import ImagePyramid
from pcpt.teachers.lite0 import Lite0
from pcpt.teachers.random import Random
from pcpt.teachers.segmenter import Segmenter
from tests.teachers.test_base import centroid


@pytest.fixture(scope="module")
def network() -> ImagePyramid:
    torch.manual_seed(0)
    network = ImagePyramid(ImagePyramid.Config(out_channels=24))
    network.load_trunk("")
    network.train()
    network(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))  # moves the statistics
    return network.eval().requires_grad_(False)


def test_features_are_those_of_the_export(network, tmp_path: Path) -> None:
    folder = network.save_pretrained(tmp_path / "export")
    card = (folder / "README.md").read_text()
    assert "image-segmentation" in card and "Segmenter.Config" in card and "point" not in card
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    teacher = Segmenter(Segmenter.Config(weights=str(folder)))
    assert torch.equal(torch.rand(2), expected)  # loading draws nothing
    assert (teacher.channels, teacher.stride, teacher.needs_calibration) == (24, 8, False)
    for height, width in ((64, 96), (61, 83)):
        images = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        features = teacher(images)
        assert features.shape == (2, 24, -(-height // 8), -(-width // 8))
        torch.testing.assert_close(features, network(images), atol=2e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in teacher.parameters()) and not teacher.training


def test_trunk_is_lite0(network) -> None:
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    fresh = ImagePyramid(ImagePyramid.Config())
    fresh.load_trunk("")
    maps = fresh.eval().trunk(images)
    assert len(maps) == 7
    torch.testing.assert_close(maps[4], Lite0(Lite0.Config(stage=5))(images), atol=1e-4, rtol=1e-4)


def test_odd_sizes_keep_cells_where_they_are(network) -> None:
    """What a smaller image shows of a larger one has the same cells, away from the border."""
    image = torch.randint(0, 256, (1, 3, 480, 480), dtype=torch.uint8)
    whole = network(image)
    part = network(image[:, :, :475, :469])
    assert part.shape[2:] == (60, 59)
    # the receptive field is large and reaches the border faintly
    near = torch.nn.functional.cosine_similarity(whole[:, :, :20, :20], part[:, :, :20, :20])
    assert near.min() > 0.99


def test_random_cells_lie_where_declared() -> None:
    teacher = Segmenter(Segmenter.Config(weights="random", channels=16))
    assert teacher.needs_calibration and teacher.channels == 16
    teacher.calibrate([torch.randint(0, 256, (2, 3, 75, 101), dtype=torch.uint8)])
    found = centroid(teacher, 320, cells=9)
    assert (found - teacher.offset).abs().max() < 0.25 * teacher.stride, found


def test_as_the_random_teacher() -> None:
    teacher = Random(Random.Config(of="segmenter", options={"channels": 8}))
    assert (teacher.channels, teacher.stride) == (8, 8)


def test_weights_that_are_not_there(network, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"pcpt export RUN FOLDER"):
        Segmenter(Segmenter.Config())
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Segmenter(Segmenter.Config(weights=str(tmp_path / "absent")))
    folder = network.save_pretrained(tmp_path / "export")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"image_pyramid"', '"sparse_unet"'))
    with pytest.raises(ValueError, match="student is 'sparse_unet'"):
        Segmenter(Segmenter.Config(weights=str(folder)))
    (folder / "config.json").write_text(config.replace("24", "25"))
    with pytest.raises(ValueError, match="does not fit this network"):
        Segmenter(Segmenter.Config(weights=str(folder)))
