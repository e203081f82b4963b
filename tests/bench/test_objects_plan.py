"""The objects' plan: every command is one that pcpt understands, and rows are treated alike."""

from pathlib import Path
from typing import Any

import pytest

from pcpt import cli
from pcpt.bench.plan import Plan, fill
from pcpt.bench.plans.objects import (
    DISTILLATIONS,
    DISTILLED,
    NETWORKS,
    PRETRAININGS,
    SCRATCH,
    SEEDS,
    TAKEN_BACK,
    TRANSFORMER,
    TUNED,
    objects_plan,
)
from pcpt.config import changed_keys, load_config, to_tree
from tests.bench.plan_checks import check_splits
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def plan() -> Plan:
    return objects_plan()


def _tree(plan: Plan, name: str) -> dict[str, Any]:
    """The config of a cell's training run."""
    places = {"data": "/data", "here": "/here", "out": "/out"}
    words = [
        fill(word, places, lambda cell: f"/cells/{cell}", {"lr": "3e-3"})
        for word in plan.by_name[name].commands[0]
    ]
    assert words[0] == "train" and words[-2:] == ["--resume", "auto"]
    return to_tree(load_config([REPOSITORY / words[1]], words[2:-2]))


def test_every_config_is_valid(plan: Plan) -> None:
    """One seed of every kind: all keys are known to the components that they configure."""
    kinds = {cell.name.rpartition("/")[0]: cell for cell in plan.cells}
    for cell in kinds.values():
        tree = _tree(plan, cell.name)
        assert tree["device"] == "cpu" and tree["train"]["threads"] == 1, cell.name
        assert tree["data"]["source"]["root"] == "/data"
        assert tree["data"]["val_fraction"] == 0.1 and tree["data"]["val_seed"] == 0
    assert len(kinds) == 68


def test_rows_differ_in_what_they_say_and_nothing_else(plan: Plan) -> None:
    for limit in ("1", "10", "100"):
        scratch = _tree(plan, f"point_mae_{limit}/{SCRATCH}/seed1")
        for row in PRETRAININGS:
            own = _tree(plan, f"point_mae_{limit}/{row}/seed1")
            assert changed_keys(scratch, own) == [f"init:  -> /cells/pretrain/{row}/seed1/run"], row
        for net in DISTILLED:
            alone = _tree(plan, f"{net.name}_{limit}/{SCRATCH}/seed1")
            assert "teacher" not in alone and alone["method"]["distill_unlabelled"] == 0
            for row in DISTILLATIONS:
                own = _tree(plan, f"{net.name}_{limit}/{row}/seed1")
                teacher = own.pop("teacher")
                names = {"mcd": "view_codewords", "mcd_random": "lite0"}
                assert teacher["name"] == names[row]
                assert (teacher["weights"] == "random") == (row == "mcd_random")
                keys = {line.partition(":")[0] for line in changed_keys(alone, own)}
                few = {"method.distill_unlabelled", "train.batch_size"} if limit != "100" else set()
                assert keys == {"method.cache", "method.distill_weight"} | few, row
                labelled = own["train"]["batch_size"] * (1 - own["method"]["distill_unlabelled"])
                assert labelled == alone["train"]["batch_size"]
    mended = _tree(plan, "pretrain/i2p/seed2")
    for row in (*PRETRAININGS, *TAKEN_BACK):
        own = _tree(plan, f"pretrain/{row}/seed2")
        keys = {line.split(".")[0] for line in changed_keys(mended, own)}
        assert keys <= {"method", "teacher"} and own["method"]["name"] == "i2p_mae"
        assert own["seed"] == own["train"]["threads"] + 1 == 2
    rows = (*PRETRAININGS, *TAKEN_BACK)
    assert len({str(_tree(plan, f"pretrain/{row}/seed0")) for row in rows}) == 9


def test_what_is_taken_back_is_a_released_setting(plan: Plan) -> None:
    """Each row differs from mended I2P-MAE in what the fidelity ``paper`` sets, or as a control."""
    mended = _tree(plan, "pretrain/i2p/seed1")
    released = _tree(plan, "pretrain/i2p_paper/seed1")
    for row, overrides in TAKEN_BACK.items():
        own = _tree(plan, f"pretrain/{row}/seed1")
        assert len(changed_keys(mended, own)) == len(overrides), row
        if row not in ("i2p_masks_alone", "i2p_raw_targets"):
            keys = [line.partition(":")[0] for line in changed_keys(released, own)]
            assert not set(keys) & {key.partition("=")[0] for key in overrides}, row
        svm = _tree(plan, f"point_mae_svm/{row}/seed1")
        of_mended = _tree(plan, "point_mae_svm/i2p/seed1")
        assert [line.partition(":")[0] for line in changed_keys(of_mended, svm)] == ["init"]


def test_a_teacher_has_seen_no_label_that_its_student_has_not(plan: Plan) -> None:
    for net in DISTILLED:
        for cell in plan.cells:
            if cell.column.startswith(f"{net.name}_") and cell.row == "mcd":
                if cell.column.endswith("_svm"):
                    continue
                (teacher,) = (name for name in cell.needs() if name.startswith("view_teacher"))
                data, own = _tree(plan, teacher)["data"], _tree(plan, cell.name)["data"]
                assert data["limit"] == own["limit"]
                assert data["limit_seed"] == own["limit_seed"] == cell.seed


def test_every_cell_is_scored_on_test_and_every_choice_on_val(plan: Plan) -> None:
    check_splits(plan, TUNED, SEEDS)


def test_every_row_has_as_many_seeds_as_the_others(plan: Plan) -> None:
    for net in NETWORKS:
        for column in (f"{net.name}_{kind}" for kind in ("svm", "1", "10", "100")):
            cells = {(c.row, c.seed) for c in plan.cells if c.column == column}
            rows = (*net.rows, *TAKEN_BACK) if column == "point_mae_svm" else net.rows
            assert cells == {(row, seed) for row in rows for seed in SEEDS}
    rows = {*TRANSFORMER.rows, *TAKEN_BACK, *DISTILLED[0].rows}
    assert rows == {row.name for row in plan.rows}


def test_it_fits_the_budget(plan: Plan) -> None:
    hours = sum(cell.minutes for cell in plan.cells) / 60
    assert hours < 12, "six hours of two cores"


def test_data_that_is_not_there_is_missed_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "proof", "--plan", "objects", "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--data", str(tmp_path)]) == 2
    assert "train.npz, which does not exist; give --data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
