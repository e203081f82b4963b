"""Label images in ScanNet's layouts, as samples, and what is wrong with them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pcpt.data.dataset import DataConfig, PosedFrames
from pcpt.data.frame import BrokenFrame
from pcpt.data.image_dataset import (
    ImageAugmentConfig,
    ImageDataConfig,
    LabelledImages,
    augment_image,
    collate_images,
    resize_labels,
)
from pcpt.data.labelled_image import LabelledImage
from pcpt.data.skips import SkipLog
from pcpt.data.sources.scannet_images import ScanNetImages
from pcpt.data.sources.scannet_sens import ScanNetSens
from tests.data.labelled_images import (
    HEIGHT,
    PLACES,
    WIDTH,
    picture,
    write_labelled_scan,
    write_png,
)
from tests.data.sens_bytes import COLOR_HEIGHT, COLOR_WIDTH, Sens

Config = ScanNetImages.Config


def places(ids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.vectorize(lambda one: PLACES.get(one, -1))(ids))


def test_colour_and_labels_of_exported_frames(tmp_path: Path) -> None:
    for seed, name in enumerate(("scene0000_00", "scene0001_00")):
        write_labelled_scan(tmp_path, name, frames=11, seed=100 * seed)
    images = ScanNetImages(Config(roots=[str(tmp_path)], every=5)).open()
    assert images.names[:3] == ["scene0000_00/0", "scene0000_00/5", "scene0000_00/10"]
    assert len(images) == 6
    assert images.scan_folders() == {
        name: tmp_path / name for name in ("scene0000_00", "scene0001_00")
    }
    found = images.load("scene0001_00/10")
    image, ids = picture(110)
    assert torch.equal(found.image.permute(1, 2, 0), torch.from_numpy(image))
    assert torch.equal(found.labels, places(ids))
    with pytest.raises(ValueError, match="has no image 'scene0001_00/99'"):
        images.load("scene0001_00/99")


def test_colour_from_the_recording(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "scene0002_00"
    write_labelled_scan(tmp_path, "scene0002_00")  # makes the table, one folder up
    folder.mkdir(parents=True)
    (folder / "scene0002_00.sens").write_bytes(Sens(color_code=1).bytes())
    ids = np.full((COLOR_HEIGHT, COLOR_WIDTH), 10, np.uint16)  # an office chair is a chair
    for index in range(3):
        write_png(folder / "label-filt" / f"{index}.png", ids)
    images = ScanNetImages(Config(roots=[str(folder)])).open()
    assert images.names == [f"scene0002_00/{i}" for i in range(3)]
    found = images.load("scene0002_00/1")
    assert np.array_equal(found.image.permute(1, 2, 0).numpy(), Sens().color(1))
    assert (found.labels == 4).all()


def test_rooms_number_their_names_themselves(tmp_path: Path) -> None:
    folder = write_labelled_scan(tmp_path, "scene0000_00", frames=1)
    lines = [
        "id\traw_category\tnyu40id\troom_id",
        "\tchair\t5\t1",
        "3\tfloor\t2\t3",
        "1\tsofa\t6\t2",
    ]
    (tmp_path / "scannetv2-labels.combined.tsv").write_text("\n".join(lines))
    labels = ScanNetImages(Config(roots=[str(folder)])).open().load("scene0000_00/0").labels
    _, ids = picture(0)
    assert (labels[torch.from_numpy(ids == 1)] == 4).all()  # chair, not the table's id 1
    assert (labels[torch.from_numpy(ids == 2)] == 5).all()


def test_release_of_25k_frames(tmp_path: Path) -> None:
    folder = tmp_path / "scene0000_00"
    image, ids = picture(3)
    write_png(folder / "color" / "000100.jpg", image)
    write_png(folder / "label" / "000100.png", ids.astype(np.uint8))
    config = Config(roots=[str(tmp_path)], label_folder="label", id_column="none")
    found = ScanNetImages(config).open().load("scene0000_00/000100")
    assert torch.equal(found.labels, torch.from_numpy(ids.astype(np.int64)) - 1)  # NYU40 1 to 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda path: write_png(path, np.ones((8, 8), np.uint16)),
            "is 8x8, its camera is for 32x24",
        ),
        (
            lambda path: path.write_bytes(path.read_bytes()[:60]),
            "0.png .*is damaged|not a readable",
        ),
    ],
)
def test_one_broken_label_image_is_skipped(tmp_path: Path, change, match: str) -> None:
    change(write_labelled_scan(tmp_path, "scene0000_00") / "label-filt" / "0.png")
    config = ImageDataConfig(
        source=Config(roots=[str(tmp_path)]), splits={"val": {}}, image_size=[HEIGHT, WIDTH]
    )
    with pytest.raises(BrokenFrame, match=match):
        LabelledImages(config, "val", 0).images.load("scene0000_00/0")
    dataset = LabelledImages(config, "val", 0)
    sample = dataset[0]
    assert sample.names == ["scene0000_00/1"]
    assert sample.skipped[0][0] == "scene0000_00"
    skips = SkipLog()
    dataset.check(skips)
    assert skips.count == 1


def test_frames_without_a_label_image_are_left_out(tmp_path: Path) -> None:
    folder = write_labelled_scan(tmp_path, "scene0000_00")
    frames = len(list((folder / "color").iterdir()))
    (folder / "label-filt" / "0.png").unlink()
    images = ScanNetImages(Config(roots=[str(tmp_path)])).open()
    assert "scene0000_00/0" not in images.names and len(images.names) == frames - 1
    for path in (folder / "label-filt").iterdir():
        path.unlink()
    with pytest.raises(
        ValueError, match=r"no label image of any of the \d+ frames of scene0000_00"
    ):
        ScanNetImages(Config(roots=[str(tmp_path)])).open()


def test_wrong_labels_stop_the_run(tmp_path: Path) -> None:
    folder = write_labelled_scan(tmp_path, "scene0000_00")
    path = folder / "label-filt" / "0.png"
    images = ScanNetImages(Config(roots=[str(tmp_path)])).open()
    write_png(path, np.full((HEIGHT, WIDTH), 4711, np.uint16))
    with pytest.raises(ValueError, match=r"0\.png holds id 4711.*data\.source\.id_column"):
        images.load("scene0000_00/0")
    write_png(path, picture(0)[0])
    with pytest.raises(ValueError, match="holds RGB pixels, expected 8- or 16-bit greyscale"):
        images.load("scene0000_00/0")


def test_what_is_not_there(tmp_path: Path) -> None:
    folder = write_labelled_scan(tmp_path, "scene0000_00")
    listed = tmp_path / "train.txt"
    listed.write_text("scene0000_00\nscene0007_00\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 scans.*scene0007_00.*2d-label-filt"):
        ScanNetImages(Config(roots=[str(tmp_path)], scan_list=str(listed))).open()
    with pytest.raises(FileNotFoundError, match="no folder label/"):
        ScanNetImages(Config(roots=[str(tmp_path)], label_folder="label")).open()
    with pytest.raises(ValueError, match="has no column 'nyu13'"):
        ScanNetImages(Config(roots=[str(tmp_path)], id_column="nyu13")).open()
    with pytest.raises(ValueError, match=r"label_set is 'scannet21'.*did you mean"):
        ScanNetImages(Config(label_set="scannet21"))
    for path in (folder / "color").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"neither color/ nor scene0000_00\.sens"):
        ScanNetImages(Config(roots=[str(tmp_path)])).open()
    (tmp_path / "scannetv2-labels.combined.tsv").unlink()
    with pytest.raises(FileNotFoundError, match="label_map"):
        ScanNetImages(Config(roots=[str(tmp_path)])).open()


def test_a_list_cannot_name_one_of_two_scans(tmp_path: Path) -> None:
    roots = [str(tmp_path / name) for name in "ab"]
    for root in roots:
        Path(root).mkdir()
        write_labelled_scan(Path(root), "scene0000_00")
    listed = tmp_path / "train.txt"
    listed.write_text("scene0000_00\n")
    assert len(ScanNetImages(Config(roots=roots))._scans()) == 2
    with pytest.raises(ValueError, match=r"a/scene0000_00 and .*b/scene0000_00 are of one name"):
        ScanNetImages(Config(roots=roots, scan_list=str(listed))).open()
    ScanNetImages(Config(roots=roots[:1], scan_list=str(listed))).open()


def test_samples_depend_on_seed_and_number_alone(tmp_path: Path) -> None:
    write_labelled_scan(tmp_path, "scene0000_00", frames=5)
    config = ImageDataConfig(
        source=Config(roots=[str(tmp_path)]), splits={"train": {}, "val": {"every": 2}},
        image_size=[16, 16],
    )  # fmt: skip
    first, second = (LabelledImages(config, "train", 3) for _ in range(2))
    for number in (7, 0, 3):
        one, other = first[number], second[number]
        assert one.names == other.names and torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels) and one.images.shape == (1, 3, 16, 16)
    assert {first[n].names[0] for n in range(5)} == set(first.names)
    assert len(LabelledImages(config, "val", 0)) == 3
    batch = collate_images([first[0], first[1]])
    assert batch.num_samples == 2 and batch.to("cpu").labels.shape == (2, 16, 16)
    with pytest.raises(ValueError, match="names no 'test'"):
        LabelledImages(config, "test", 0)
    with pytest.raises(ValueError, match=r"data\.splits\.val\.evry; did you mean 'every'"):
        LabelledImages(replace(config, splits={"val": {"evry": 2}}), "val", 0)


def test_labels_move_with_the_image() -> None:
    """Pixels of a thing keep its colour and its label through enlargement, crop and flip."""
    image, ids = picture(1)
    config = ImageAugmentConfig(flip=0.5, resize=[1.0, 2.0], color_jitter=0.0)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        moved, labels = augment_image(
            torch.from_numpy(image).permute(2, 0, 1), places(ids), (16, 24), config, generator
        )
        assert moved.shape == (3, 16, 24) and labels.shape == (16, 24)
        pure = (moved == 200).any(0) & ((moved == 40).sum(0) == 2) & (labels >= 0)
        assert pure.sum() > 100
        strongest = torch.tensor([0, 1, 4])[moved.argmax(0)]
        # where bilinear enlargement leaves a pixel's colour as it was
        assert (strongest == labels)[pure].float().mean() > 0.97


def test_resizing_labels_takes_centres() -> None:
    labels = torch.arange(12).view(3, 4)
    assert torch.equal(resize_labels(labels, 3, 4), labels)
    assert resize_labels(labels, 1, 2).tolist() == [[5, 7]]
    assert resize_labels(labels, 6, 8)[::2, ::2].equal(labels)


def test_kinds_of_sources_are_told_apart(tmp_path: Path) -> None:
    write_labelled_scan(tmp_path, "scene0000_00")
    with pytest.raises(ValueError, match="holds labelled images, not posed frames"):
        PosedFrames(DataConfig(source=Config(roots=[str(tmp_path)])), "train", 0)
    with pytest.raises(ValueError, match="'scannet_sens' holds no label images"):
        LabelledImages(ImageDataConfig(ScanNetSens.Config(), {"train": {}}), "train", 0)


def test_labelled_image_checks_its_fields() -> None:
    with pytest.raises(ValueError, match=r"labels is torch\.int32"):
        LabelledImage("a", torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2).int())


def test_opencv_wrote_sixteen_bits(tmp_path: Path) -> None:
    folder = write_labelled_scan(tmp_path, "scene0000_00", frames=1)
    assert cv2.imread(str(folder / "label-filt/0.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
