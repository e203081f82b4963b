"""A 2D teacher from label images, through the commands: train, test, export, load."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pcpt.cli import main
from pcpt.config import make_config
from pcpt.data.image_dataset import ImageBatch
from pcpt.engine.export import export_student
from pcpt.engine.run import build, dry_run, train
from pcpt.engine.task_evaluation import evaluate_task
from pcpt.students.image_pyramid import ImagePyramid
from pcpt.tasks.image_segmentation import ImageSegmentation
from pcpt.teachers.segmenter import Segmenter
from tests.data.labelled_images import HEIGHT, WIDTH, write_labelled_scan, write_png


def tree(root: Path, **sections: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "run": str(root / "run"),
        "device": "cpu",
        "task": {"name": "image_segmentation", "pixels": 400, "dropout": 0.0},
        "student": {"name": "image_pyramid", "out_channels": 16},
        "data": {
            "source": {"name": "scannet_images", "roots": [str(root / "scans")]},
            "splits": {"train": {}, "val": {"every": 2}},
            "image_size": [HEIGHT, WIDTH],
            "augment": {"resize": [1.0, 1.0]},
        },
        "optim": {"name": "adamw", "lr": 4e-3},
        "train": {"steps": 60, "batch_size": 4, "log_every": 20, "checkpoint_every": 60},
    }
    return {
        name: {**values[name], **sections[name]} if name in sections else values[name]
        for name in values
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of eight pixels in three colours that say what they are; trained until it knows."""
    root = tmp_path_factory.mktemp("teacher2d")
    write_labelled_scan(root / "scans", "scene0000_00", frames=4)
    assert train(make_config(tree(root))).step == 60
    return root


def test_what_is_broken_is_told_and_counts_once(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labelled_scan(tmp_path / "scans", "scene0000_00", frames=4)
    write_png(tmp_path / "scans" / "scene0000_00" / "label-filt" / "1.png", np.ones((8, 8)))
    config = tree(tmp_path, train={"steps": 1})
    config["data"]["splits"] = {"train": {}, "val": {}}
    train(make_config(config))
    record = evaluate_task(tmp_path / "run")
    assert record["figures"]["num_images"] == 3 and record["split_scans"] == 1
    assert len(record["skipped"]) == 1 and "is 8x8" in record["skipped"][0]
    assert "skipped 1 broken frame: 1 in scene0000_00" in capsys.readouterr().out
    assert "skipped" not in evaluate_task(trained / "run")


def test_scores_without_the_weights_that_it_began_with(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    before = evaluate_task(run)["figures"]["pixels/confusion"]

    def gone(self: Any, weights: str) -> None:
        raise FileNotFoundError(weights)

    monkeypatch.setattr(ImagePyramid, "load_trunk", gone)
    assert evaluate_task(run)["figures"]["pixels/confusion"] == before
    config = tree(trained, train={"steps": 61}) | {"run": str(run)}
    assert train(make_config(config), "auto").step == 61
    with pytest.raises(FileNotFoundError):
        train(make_config(tree(trained) | {"run": str(tmp_path / "other")}))


def test_a_dropout_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"task\.dropout is 1\.5, expected a share"):
        ImageSegmentation.Config(dropout=1.5)


def test_a_size_is_two_numbers(tmp_path: Path) -> None:
    values = tree(tmp_path, data={"image_size": [HEIGHT]})
    with pytest.raises(ValueError, match=r"data\.image_size is \[.*expected height and width"):
        make_config(values)


def test_learns_a_tiny_set(trained: Path) -> None:
    record = evaluate_task(trained / "run", split="val")
    figures = record["figures"]
    assert figures["num_images"] == 2 and "pixels" in record["protocol"]
    assert figures["pixels/miou"] > 0.6
    assert figures["pixels/accuracy"] > 0.75  # ImageNet weights untrained know nothing of it
    assert sum(map(sum, figures["pixels/confusion"])) == 2 * (HEIGHT * WIDTH - 4)
    written = json.loads((trained / "run" / "metrics.json").read_text())["figures"]
    assert written["pixels/miou"] == figures["pixels/miou"] and written.keys() == figures.keys()


def test_no_benchmark_format(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no benchmark format"):
        evaluate_task(trained / "run", split="val", export=tmp_path)


def test_untrained_knows_nothing(trained: Path) -> None:
    task = build(make_config(tree(trained))).method
    dataset = task.evaluation_set(make_config(tree(trained)).data, "val")
    figures = task.evaluate([task.collate([dataset[n]]) for n in range(len(dataset))])
    assert figures["pixels/miou"] < 0.3


def test_report(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained / "run", run)
    (run / "metrics.json").unlink(missing_ok=True)
    assert main(["visualize", str(run), "--split", "train"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert f"report: {run / 'report' / 'index.html'}" in capsys.readouterr().out
    assert "images of split train" in page and page.count("<img") == 2 and "miou" not in page
    assert {path.name for path in (run / "report").iterdir()} == {
        "images.png", "loss.png", "index.html",
    }  # fmt: skip
    evaluate_task(run, split="val")
    assert main(["visualize", str(run), "--scene", "1"]) == 0
    page = (run / "report" / "index.html").read_text()
    assert "pixels/miou" in page and "Split val, by class" in page and page.count("<img") == 3
    assert "scene0000_00/2" in page and "scene0000_00/0" not in page
    assert main(["visualize", str(run), "--scene", "scene0000_00/4"]) == 2
    assert "did you mean 'scene0000_00/" in capsys.readouterr().err


def test_export_is_a_teacher(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(trained / "run"), str(trained / "export")]) == 0
    teacher = Segmenter(Segmenter.Config(weights=str(trained / "export")))
    folder = export_student(trained / "run", trained / "again")
    other = Segmenter(Segmenter.Config(weights=str(folder)))
    images = torch.randint(0, 256, (1, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    assert teacher.channels == 16 and torch.equal(teacher(images), other(images))


def test_a_method_learns_from_it(trained: Path, office: Path) -> None:
    folder = export_student(trained / "run", trained / "for_ppkt")
    config = make_config(
        {
            "run": str(trained / "ppkt"),
            "device": "cpu",
            "method": {"name": "ppkt", "pairs": 64},
            "teacher": {"name": "segmenter", "weights": str(folder)},
            "student": {
                "name": "sparse_unet",
                "variant": "small",
                "planes": [4] * 8,
                "blocks": [1] * 8,
                "stem_channels": 4,
                "out_channels": 8,
                "voxel_size": 0.2,
            },
            "data": {
                "source": {"name": "folder", "roots": [str(office)]},
                "image_size": [60, 80],
                "max_points": 2000,
            },
            "train": {"steps": 2, "batch_size": 1},
        }
    )
    assert train(config).step == 2


def test_dry_run_and_same_run_twice(trained: Path, tmp_path: Path) -> None:
    assert "task image_segmentation" in dry_run(make_config(tree(trained)))
    losses = []
    for name in "ab":
        short = {**tree(trained, train={"steps": 2, "log_every": 1}), "run": str(tmp_path / name)}
        train(make_config(short))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == losses[1] and len(losses[0]) == 2


def test_images_without_labels_cost_nothing(trained: Path) -> None:
    task: Any = build(make_config(tree(trained))).method
    images = torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    labels = torch.full((2, HEIGHT, WIDTH), -1)
    output = task(ImageBatch(images, labels, torch.arange(2), ["a", "b"]))
    assert output.loss.item() == 0 and output.logs["num_pixels"] == 0
    output.loss.backward()
    figures = task.evaluate([ImageBatch(images, labels, torch.arange(2), ["a", "b"])])
    assert figures["pixels/miou"] != figures["pixels/miou"]  # NaN: nothing to be right about


def test_all_pixels_or_some(trained: Path) -> None:
    task: Any = build(make_config(tree(trained, task={"pixels": 0}))).method.eval()
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.int64)
    labels[:, :4] = -1
    images = torch.zeros(1, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    batch = ImageBatch(images, labels, torch.arange(1), ["a"])
    assert task(batch).logs["num_pixels"] == (HEIGHT - 4) * WIDTH
    task.config.pixels = 100
    assert 50 < task(batch).logs["num_pixels"] < 160


def test_what_does_not_fit(trained: Path, tmp_path: Path) -> None:
    unet = {"name": "sparse_unet", "variant": "small"}
    with pytest.raises(ValueError, match="needs a network on images such as image_pyramid"):
        build(make_config({**tree(trained), "student": unet}))
    scenes = {"source": {"name": "scannet_scenes"}}
    with pytest.raises(ValueError, match="'scannet_scenes' holds no label images"):
        build(make_config(tree(trained, data=scenes)))
    with pytest.raises(FileNotFoundError, match="no such file"):
        build(make_config(tree(trained, task={"weights": str(tmp_path / "absent.pth")})))
    folder = write_labelled_scan(tmp_path / "scans", "scene0000_00", frames=2)
    for index in range(2):
        write_png(folder / "label-filt" / f"{index}.png", torch.ones(4, 4).numpy().astype("uint16"))
    with pytest.raises(ValueError, match=r"none of the 2 images of split 'train'.*is 4x4"):
        train(make_config(tree(tmp_path)))


def test_splits_of_other_classes_are_refused(trained: Path) -> None:
    config = make_config(tree(trained, data={"splits": {"train": {}, "val": {}}}))
    task = build(config).method
    other = tree(trained, data={"splits": {"train": {}, "val": {"label_set": "nyu40"}}})
    with pytest.raises(ValueError, match=r"of split 'val' is .*, but that of split 'train' is"):
        task.evaluation_set(make_config(other).data, "val")
    taught = tree(trained, data={"splits": {"train": {"label_set": "nyu40"}, "val": {}}})
    assert build(make_config(taught)).method.label_set.name == "nyu40"
