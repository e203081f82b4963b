"""Reports of pretraining runs on frames: what they claim of which split, and methods of which there
is little to show."""

import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from pcpt import cli
from pcpt.config import load_config
from pcpt.data.skips import SkipLog
from pcpt.engine import visualization
from pcpt.engine.evaluation import evaluate_run, held_out_batches
from pcpt.engine.loggers import read_records
from pcpt.engine.run import build
from pcpt.viz import loss_curve
from tests.conftest import REPOSITORY
from tests.data.recordings import HEIGHT, WIDTH

EXTEND = REPOSITORY / "docs" / "extend.md"
STUDENT = {
    "name": "sparse_unet", "variant": "small", "planes": [4] * 8, "blocks": [1] * 8,
    "stem_channels": 4, "out_channels": 8, "voxel_size": 0.1,
}  # fmt: skip


def write_config(folder: Path, **sections: Any) -> Path:
    tree = {
        "run": str(folder / "run"),
        "imports": ["tests.data.recordings"],
        "device": "cpu",
        "method": {"name": "ppkt", "pairs": 64, "calibration_batches": 1},
        "student": STUDENT,
        "teacher": {"name": "lite0", "weights": "random"},
        "data": {
            "source": {"name": "memory", "lengths": [6]}, "image_size": [HEIGHT, WIDTH],
            "held_out": 0.5, "max_points": 1500,
        },
        "train": {"steps": 2, "batch_size": 1, "log_every": 1, "threads": 1},
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**tree, **sections}))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of PPKT."""
    folder = tmp_path_factory.mktemp("runs")
    assert cli.main(["train", str(write_config(folder))]) == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a frame, which tests/e2e has drawn, take most of a report's time."""
    monkeypatch.setattr(visualization, "figures", lambda *_: {})


def page_of(run: Path) -> str:
    return (run / "report" / "index.html").read_text()


def test_training_frames_are_scored_in_order_and_as_they_are(run: Path) -> None:
    config = load_config([run / "config.yaml"])
    method = build(config).method
    train, whole = (list(held_out_batches(config, method, SkipLog(), s)) for s in ("train", "all"))
    assert [batch.names for batch in train] == [batch.names for batch in whole[:3]]
    for one, same in zip(train, whole):
        assert torch.equal(one.images, same.images) and torch.equal(one.colors, same.colors)


def test_a_frame_is_found_again_whatever_slashes_names_hold() -> None:
    names = {"room/a": ["0", "left/0"], "room": ["a/1"]}
    scans = [SimpleNamespace(name=name, load=lambda frame, of=name: (of, frame)) for name in names]
    frames = SimpleNamespace(scans=scans, names=list(names.values()))
    for name, listed in names.items():
        for frame in listed:
            sample: Any = SimpleNamespace(names=[f"{name}/{frame}"])
            scan, found = visualization._frame_of(frames, sample)
            assert scan.name == name and found == (name, frame)


def test_figures_stand_under_the_split_they_are_of(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["test", str(run), "--split", "train"]) == 0
    printed = capsys.readouterr().out
    assert "3 training frames, " in printed and "held-out" not in printed

    assert cli.main(["visualize", str(run)]) == 0  # of the frames held out, which nobody scored
    page = page_of(run)
    assert "held-out frames, which it was not trained on" in page
    assert "recall@1" not in page
    assert "3 training frames" in capsys.readouterr().out  # what is known, under its own name

    assert cli.main(["visualize", str(run), "--split", "train"]) == 0
    page = page_of(run)
    assert "training frames, which it has seen" in page and "not trained on" not in page
    assert "<h2>Training frames</h2>" in page and "recall@1" in page

    assert cli.main(["test", str(run), "--split", "all"]) == 0
    assert "6 frames, those of training among them, " in capsys.readouterr().out
    assert cli.main(["visualize", str(run), "--split", "all"]) == 0
    page = page_of(run)
    assert "not trained on" not in page and "those of training among them" in page

    assert cli.main(["test", str(run)]) == 0
    assert "3 held-out frames, " in capsys.readouterr().out
    assert cli.main(["visualize", str(run)]) == 0
    assert "<h2>Held-out frames</h2>" in page_of(run) and "recall@1" in page_of(run)


def drawn_level(run: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Where the report of a run draws the loss of a guess."""
    levels: dict[str, float] = {}

    def noted(records: Any, **options: Any) -> Any:
        levels.update(options["levels"])
        return loss_curve(records, **options)

    monkeypatch.setattr(visualization, "loss_curve", noted)
    assert cli.main(["visualize", str(run)]) == 0
    return levels["guessing"]


def test_a_guess_is_among_the_candidates_of_one_pass(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = {"steps": 1, "batch_size": 2, "accumulate": 3, "threads": 1}
    assert cli.main(["train", str(write_config(tmp_path, train=train))]) == 0
    of_three = tmp_path / "run"
    assert read_records(of_three / "metrics.jsonl")[-1]["num_pairs"] == 3 * 64
    assert drawn_level(of_three, monkeypatch) == pytest.approx(math.log(64))
    assert read_records(run / "metrics.jsonl")[-1]["num_pairs"] == 64
    assert drawn_level(run, monkeypatch) == pytest.approx(math.log(64))


@pytest.mark.parametrize(("gathered", "candidates"), [(False, 64), (True, 128)])
def test_a_guess_of_several_processes(tmp_path: Path, gathered: bool, candidates: int) -> None:
    """Two processes, three passes each with two samples and 64 pairs."""
    train = {"steps": 1, "batch_size": 2, "accumulate": 3}
    method = {"name": "ppkt", "pairs": 64, "gather_negatives": gathered}
    config = load_config([write_config(tmp_path, train=train, method=method)])
    record = {"step": 1, "num_samples": 12.0, "num_pairs": 6 * 64.0}
    guess = visualization._guessing(config, [record])
    assert guess == {"guessing": pytest.approx(math.log(candidates))}


def example(name: str) -> str:
    """The example under a heading of docs/extend.md."""
    section = EXTEND.read_text().partition(f"## {name}\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def cosine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the method of docs/extend.md with the teacher of that page."""
    folder = tmp_path_factory.mktemp("cosine")
    files = []
    for name in ("A teacher", "A method"):
        files.append(folder / f"extend_{name.split()[1]}.py")
        files[-1].write_text(example(name))
    imports = ["tests.data.recordings", *map(str, files)]
    config = write_config(
        folder, imports=imports, method={"name": "cosine"}, teacher={"name": "edges"}
    )
    assert cli.main(["train", str(config)]) == 0
    return folder / "run"


def test_a_method_of_your_own_is_reported(cosine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", str(cosine)]) == 0
    printed = capsys.readouterr().out
    assert "no figures: evaluate(batches) of its method returns none" in printed
    assert "candidates" not in printed and "frames" not in printed and "percent" not in printed

    assert cli.main(["visualize", str(cosine)]) == 0
    printed = capsys.readouterr().out
    assert "no figures" in printed and "report: " in printed
    page = page_of(cosine)
    assert "method cosine, which gives no embeddings" in page and "name: cosine" in page
    assert page.count("<img") == 1 and "<table" not in page
    assert (cosine / "report" / "loss.png").is_file()

    assert cli.main(["visualize", str(cosine), "--frame", "0"]) == 2
    assert "leave out --frame" in capsys.readouterr().err


def test_runs_with_and_without_figures_side_by_side(
    run: Path, cosine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["test", str(cosine), str(run)]) == 0
    printed = capsys.readouterr().out
    assert "no figures" in printed and "3 held-out frames" in printed and "untrained" in printed


def test_figures_of_a_method_of_your_own(cosine: Path, tmp_path: Path) -> None:
    """Figures that ``evaluate`` gives stand in the report, whatever they are."""
    copied = tmp_path / "run"
    shutil.copytree(cosine, copied)
    evaluate_run(copied)
    metrics = json.loads((copied / "metrics.json").read_text())
    assert metrics["trained"] == {}
    metrics |= {"in_percent": False, "trained": {"error": 0.5}, "untrained": {"error": 2.0}}
    (copied / "metrics.json").write_text(json.dumps(metrics))
    assert cli.main(["visualize", str(copied)]) == 0
    page = page_of(copied)
    assert "<h2>Held-out frames</h2>" in page and "error" in page and "Recall@k" not in page
