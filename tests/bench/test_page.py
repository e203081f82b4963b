"""Tables and the page of results: worked by hand, and the committed page made again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pcpt import cli
from pcpt.bench import command
from pcpt.bench.cell_folder import State
from pcpt.bench.command import overview
from pcpt.bench.page import results_page
from pcpt.bench.plan import Cell, Column, Figure
from pcpt.bench.plans import all_plans
from pcpt.bench.results import collect, make_result, read_results, without_paths
from pcpt.bench.table import compared, gain, summarise, text_table
from tests.bench.toy_plan import MIOU, Pretender, toy_plan, toy_runner

NOWHERE = Path()  # the toy plan names no config
ROOT = Path(__file__).resolve().parents[2]


def record(row: str, seed: int, miou: float, **details: Any) -> dict[str, Any]:
    plan = toy_plan()
    fingerprint = plan.fingerprints(NOWHERE)[f"few/{row}/seed{seed}"]
    cell = plan.by_name[f"few/{row}/seed{seed}"]
    metrics = {"figures": {"points/miou": miou, "points/iou/none": float("nan")}, **details}
    made = make_result(plan.name, cell, fingerprint, {"lr": "1e-3"}, [["test", "x"]], metrics)
    return made | {"seconds": 90.0, "cpu_seconds": 60.0}


RECORDS = [
    record("scratch", 0, 0.20),
    record("scratch", 1, 0.24),
    record("learned", 0, 0.30),
    record("learned", 1, 0.38),
]


def test_mean_spread_and_paired_gain() -> None:
    one = summarise(RECORDS, "scratch", "few", MIOU)
    assert one is not None
    assert one.mean == pytest.approx(22.0)
    assert one.spread == pytest.approx(2 * 2**0.5)  # of a sample of two: difference / sqrt(2)
    assert one.text() == "22.0 ± 2.8 (2)"
    difference = gain(RECORDS, "learned", "scratch", "few", MIOU)
    assert difference is not None
    assert dict(difference.values) == pytest.approx({0: 10.0, 1: 14.0})
    only = gain(RECORDS[1:3], "learned", "scratch", "few", MIOU)
    assert only is None  # no seed in common
    alone = summarise(RECORDS[:1], "scratch", "few", MIOU)
    assert alone is not None and alone.text() == "20.0 (1)"
    assert summarise(RECORDS, "scratch", "many", MIOU) is None


def test_nan_is_no_figure() -> None:
    assert RECORDS[0]["figures"] == {"points/miou": 0.20}
    json.dumps(RECORDS[0], allow_nan=False)


def test_page_of_toys() -> None:
    page = results_page([toy_plan()], RECORDS, NOWHERE)
    assert "## Toys" in page and "What toys can do." in page
    assert "| scratch | 22.0 ± 2.8 (2) |" in page
    assert "| *learned* | 34.0 ± 5.7 (2) |" in page  # controls are in italics
    assert "| *learned* | +12.0 ± 2.8 (2) |" in page
    assert "4 cells, 4 core-minutes: `pcpt bench proof --plan toy --only 'few'`" in page
    assert "LEAK" not in page.partition("## Toys")[2] and "†" not in page.partition("## Toys")[2]
    with pytest.raises(ValueError, match="unknown plans toy"):
        results_page([], RECORDS, NOWHERE)


def test_figures_of_an_earlier_plan_are_marked() -> None:
    earlier = {**RECORDS[2], "fingerprint": "0123456789abcdef"}  # of learned, seed 0
    unknown = {key: value for key, value in RECORDS[3].items() if key != "fingerprint"}
    for old in ([earlier, RECORDS[3]], [RECORDS[2], unknown]):
        page = results_page([toy_plan()], [*RECORDS[:2], *old], NOWHERE)
        assert "`†` marks figures" in page.partition("## Toys")[0]
        assert "| scratch | 22.0 ± 2.8 (2) |" in page
        assert "| *learned* | 34.0 ± 5.7 (2) † |" in page
        assert "| *learned* | +12.0 ± 2.8 (2) † |" in page
        assert "\n† 1 of 4 cells are of an earlier version of the plan\n" in page
    gone = {**RECORDS[0], "cell": "few/scratch/seed7", "seed": 7}
    page = results_page([toy_plan()], [*RECORDS, gone], NOWHERE)
    assert "| scratch | 21.3 ± 2.3 (3) † |" in page
    assert "| *learned* | +12.0 ± 2.8 (2) |" in page  # no seed of these is of another plan


def test_a_gain_over_an_earlier_plan_is_marked_at_its_seeds_alone() -> None:
    earlier = compared([{**RECORDS[0], "fingerprint": "0"}, *RECORDS[1:]], _now())
    whole = gain(earlier, "learned", "scratch", "few", MIOU)
    assert whole is not None and whole.outdated == {0} and whole.signed().endswith(" †")
    second = gain([*earlier[:2], earlier[3]], "learned", "scratch", "few", MIOU)
    assert second is not None and second.signed() == "+14.0 (1)"


def _now() -> dict[str, str]:
    return toy_plan().fingerprints(NOWHERE)


def test_marks_in_the_terminal(tmp_path: Path) -> None:
    few = toy_plan().columns[1:]
    earlier = compared([{**RECORDS[0], "fingerprint": "0"}, *RECORDS[1:]], _now())
    lines = text_table(toy_plan(), earlier, few).splitlines()
    assert lines[1] == "scratch  22.0 ± 2.8 (2) †" and lines[2].endswith("34.0 ± 5.7 (2)")
    assert lines[3] == "† 1 of 4 cells are of an earlier version of the plan"
    plan, execute = toy_plan(), Pretender()
    toy_runner(plan, tmp_path, execute).run(plan.select(["few/scratch"]))
    words = ("train", "out={here}", "more=1")
    cells = (
        replace(c, commands=(words,)) if c.name.startswith("tune/scratch") else c
        for c in plan.cells
    )
    runner = toy_runner(toy_plan(cells=tuple(cells)), tmp_path, execute)
    assert runner.folder("few/scratch/seed0").state() is State.OUTDATED
    shown = overview(runner, plan.select(["few"]))
    assert "25.0 ± 7.1 (2) †" in shown and "† 2 of 2 cells are of an earlier" in shown


def test_every_tuning_column_shows_its_own_figures() -> None:
    boxes = Figure("mAP@.25", "mAP")
    tune = Column("tune", "tuning", (MIOU,)), Column("tune_boxes", "tuning", (boxes,))
    cell = Cell("tune_boxes/scratch/lr1", (("test", "x"),), row="scratch", column="tune_boxes")
    base = toy_plan()
    plan = replace(
        base,
        columns=(*tune, *base.columns[1:]),
        cells=(*base.cells, cell),
        tuning=("tune", "tune_boxes"),
    )
    now = plan.fingerprints(NOWHERE)
    tried = [
        make_result("toy", base.by_name["tune/scratch/lr1e-3"], "a", {}, [], _figures(MIOU, 0.3)),
        make_result("toy", cell, now[cell.name], {}, [], _figures(boxes, 0.25)),
    ]
    records = [*({**one, "cpu_seconds": 1.0} for one in tried), *RECORDS]
    page = results_page([plan], records, NOWHERE)
    assert "| cell | mIoU |\n|---|---:|\n| `tune/scratch/lr1e-3` | 30.0 † |" in page
    assert page.count("† 1 of 1 cells are of an earlier") == 1
    assert "| cell | mAP |\n|---|---:|\n| `tune_boxes/scratch/lr1` | 25.0 |" in page
    assert "- taken for scratch: lr 1e-3, in few" in page


def _figures(figure: Figure, value: float) -> dict[str, Any]:
    return {"figures": {figure.key: value}}


@pytest.mark.parametrize(
    ("verdict", "mark"), [("yes", "**LEAK**"), ("possible", "leak?"), ("unknown", "leak?")]
)
def test_leaks_are_printed(verdict: str, mark: str) -> None:
    pretraining = {"overlap": verdict, "overlapping": ["scene0001_00@1"]}
    leaky = record("learned", 1, 0.38, pretraining=pretraining)
    page = results_page([toy_plan()], [*RECORDS[:3], leaky], NOWHERE)
    assert f"| *learned* | 34.0 ± 5.7 (2) {mark} |" in page
    named = f"`few/learned/seed1`: overlap with the pretraining data {verdict}: scene0001_00@1"
    assert named in page
    assert f"| scratch | 22.0 ± 2.8 (2) {mark}" not in page


def test_text_table_is_aligned() -> None:
    lines = text_table(toy_plan(), RECORDS, toy_plan().columns[1:]).splitlines()
    assert lines[1] == "scratch  22.0 ± 2.8 (2)"
    assert len(lines) == 3 and lines[0].endswith("few labels")
    assert text_table(toy_plan(), [], toy_plan().columns) == "no cell is done yet"


def test_without_paths() -> None:
    places = {"rooms": "/data/rooms", "out": "/data/rooms/runs"}
    value = {"a": ["run=/data/rooms/runs/x", ("/data/rooms/y", 3)], "b": None}
    assert without_paths(value, places) == {"a": ["run=OUT/x", ["ROOMS/y", 3]], "b": None}


def test_collect_takes_finished_cells_and_leaves_outdated_ones(tmp_path: Path) -> None:
    plan = toy_plan()
    toy_runner(plan, tmp_path / "out", Pretender()).run(plan.select(["few"], [0]))
    aside = tmp_path / "out" / "cells" / "few" / "scratch" / "seed0" / "outdated-0"
    aside.mkdir()
    (aside / "result.json").write_text("{}")
    assert collect(tmp_path / "out", tmp_path / "results") == 7
    records = read_results(tmp_path / "results")
    assert {r["cell"] for r in records if r["column"] == "few"} == {
        "few/scratch/seed0",
        "few/learned/seed0",
    }
    assert "| scratch | 20.0 (1) |" in results_page([plan], records, tmp_path)
    (tmp_path / "results" / "other.json").write_text("[]")
    with pytest.raises(ValueError, match=r"other.json is no record"):
        read_results(tmp_path / "results")


def test_the_committed_page_is_what_the_records_make() -> None:
    """Figures are never typed: `pcpt bench table --write` after a change of records or plans."""
    page = results_page(all_plans(), read_results(ROOT / "docs" / "results"), ROOT)
    assert (ROOT / "docs" / "results.md").read_text() == page


def test_a_changed_config_marks_the_committed_page(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    records = read_results(ROOT / "docs" / "results")
    (plan,) = (plan for plan in all_plans() if plan.name == "rooms")
    config = tmp_path / "configs" / "proof" / "rooms" / "pretrain.yaml"
    config.write_text(config.read_text() + "\nseed: 1234\n")
    after = compared(records, plan.fingerprints(tmp_path))
    assert all(record["outdated"] for record in after if record["row"].startswith("ppkt"))
    page = results_page(all_plans(), records, tmp_path)
    assert all("†" in line for line in page.splitlines() if line.startswith("| PPKT"))


def test_the_checkout_is_the_working_directory_or_where_the_package_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "PACKAGE", ROOT / "pcpt")
    assert command.checkout() == ROOT
    monkeypatch.setattr(command, "PACKAGE", tmp_path / "site-packages" / "pcpt")
    with pytest.raises(FileNotFoundError, match="run pcpt bench in a checkout"):
        command.checkout()
    shutil.copytree(ROOT / "configs" / "proof", tmp_path / "configs" / "proof")
    assert command.checkout() == tmp_path
    assert cli.main(["bench", "proof", "--list"]) == 0


def test_a_table_of_no_records_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "proof").mkdir(parents=True)
    assert cli.main(["bench", "table"]) == 2
    captured = capsys.readouterr()
    assert "docs/results does not exist" in captured.err and captured.out == ""
    (tmp_path / "records").mkdir()
    for page in ("absent/results.md", str(tmp_path), ""):
        assert cli.main(["bench", "table", "--results", "records", "--write", page]) == 2
        assert "not a file in a folder that exists" in capsys.readouterr().err
    assert cli.main(["bench", "table", "--results", "records", "--write", "page.md"]) == 0
    assert "Not computed yet." in (tmp_path / "page.md").read_text()
