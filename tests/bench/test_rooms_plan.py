"""The rooms' plan: every command is one that pcpt understands, and rows are treated alike."""

import pytest

from pcpt.bench.plan import Plan, fill
from pcpt.bench.plans import all_plans, get_plan
from pcpt.bench.plans.rooms import SEEDS, TUNED, rooms_plan
from pcpt.config import load_config, to_tree
from tests.bench.plan_checks import check_splits
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def plan() -> Plan:
    return rooms_plan()


def _tree(plan: Plan, name: str) -> dict:
    """The config of a cell's training run."""
    words = [
        fill(
            word,
            {"rooms": "/rooms", "here": "/here"},
            lambda cell: f"/cells/{cell}",
            {"lr": "3e-3"},
        )
        for word in plan.by_name[name].commands[0]
    ]
    assert words[0] == "train" and words[-2:] == ["--resume", "auto"]
    paths = [REPOSITORY / word for word in words if word.endswith(".yaml")]
    return to_tree(load_config(paths, words[1 + len(paths) : -2]))


def test_every_config_is_valid(plan: Plan) -> None:
    """One seed of every kind: all keys are known to the components that they configure."""
    kinds = {cell.name.rpartition("/")[0]: cell for cell in plan.cells}
    for cell in kinds.values():
        if cell.commands[0][0] == "train":
            tree = _tree(plan, cell.name)
            assert tree["device"] == "cpu" and tree["train"]["threads"] == 1, cell.name
    assert len(kinds) > 40


def test_rows_of_a_column_differ_in_nothing_but_weights(plan: Plan) -> None:
    columns = {cell.column for cell in plan.cells if cell.column} - set(plan.tuning)
    for column in columns:
        scratch = _tree(plan, f"{column}/scratch/seed1")
        ppkt = _tree(plan, f"{column}/ppkt/seed1")
        assert scratch.pop("init") == ""
        assert ppkt.pop("init") == "/cells/pretrain/ppkt/seed1/run"
        norms = [tree["task"].pop("norm_scenes", None) for tree in (scratch, ppkt)]
        assert norms == ([16, 0] if column.startswith("probe") else [None, None])
        assert scratch == ppkt
        assert scratch["data"]["limit"]["seed"] == scratch["seed"] == 1


def test_every_cell_is_scored_on_test_and_every_choice_on_val(plan: Plan) -> None:
    check_splits(plan, TUNED, SEEDS)


def test_every_row_has_as_many_seeds_as_the_others(plan: Plan) -> None:
    for column in plan.columns:
        if column.name in plan.tuning:
            continue
        cells = [cell for cell in plan.cells if cell.column == column.name]
        rows = {cell.row for cell in cells}
        assert {(c.row, c.seed) for c in cells} == {(row, seed) for row in rows for seed in SEEDS}


def test_fingerprints_of_all_plans() -> None:
    for plan in all_plans():
        assert len(set(plan.fingerprints(REPOSITORY).values())) == len(plan.cells)
    with pytest.raises(ValueError, match="did you mean 'rooms'"):
        get_plan("room")
