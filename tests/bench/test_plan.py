"""Plans: order, selection, circles, and what changes a cell's fingerprint."""

from pathlib import Path

import pytest

from pcpt.bench.plan import Cell, Choice, fill
from tests.bench.toy_plan import toy_plan


def test_each_cell_comes_after_what_it_needs() -> None:
    plan = toy_plan()
    order = [cell.name for cell in plan.in_order(plan.select(["few/learned"], [1]))]
    tried = ["tune/learned/lr1e-3", "tune/learned/lr1e-2"]
    assert order == [*tried, "pretrain/seed0", "few/learned/seed1"]


def test_select() -> None:
    plan = toy_plan()
    assert len(plan.select()) == 8
    assert [c.name for c in plan.select(["few"], [0])] == ["few/scratch/seed0", "few/learned/seed0"]
    assert [c.name for c in plan.select(["f*/scr*"])] == ["few/scratch/seed0", "few/scratch/seed1"]
    with pytest.raises(ValueError, match=r"--only many fits no cell|--only many/\* fits no cell"):
        plan.select(["many"])
    with pytest.raises(ValueError, match=r"seeds there: \[0, 1, 100\]"):
        plan.select(seeds=[7])


def test_plans_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="a -> b -> a is a circle"):
        toy_plan(cells=(Cell("a", (("x", "{cell:b}"),)), Cell("b", (("x", "{cell:a}"),))))
    with pytest.raises(ValueError, match="a needs 'bb', which is no cell; did you mean 'b'"):
        toy_plan(cells=(Cell("a", (("x", "{cell:bb}"),)), Cell("b", ())))
    with pytest.raises(ValueError, match="more than one cell is called a"):
        toy_plan(cells=(Cell("a", ()), Cell("a", ())))
    with pytest.raises(ValueError, match="is no relative path"):
        toy_plan(cells=(Cell("../a", ()),))
    with pytest.raises(ValueError, match="does not list"):
        toy_plan(cells=(Cell("a", (), row="scratch", column="many"),))


def test_fill() -> None:
    word = "data.root={rooms}/a,{here},{cell:x/y},{choice:lr}"
    filled = fill(word, {"rooms": "/r", "here": "/h"}, lambda name: f"/c/{name}", {"lr": "1"})
    assert filled == "data.root=/r/a,/h,/c/x/y,1"
    with pytest.raises(ValueError, match=r"'a=\{roms\}' is unknown; known: rooms"):
        fill("a={roms}", {"rooms": "/r"}, str, {})


def test_fingerprints_follow_configs_choices_and_needs(tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("lr: 1  # a comment\n")
    cells = (
        Cell("base", (("train", "a.yaml"),)),
        Cell("above", (("train", "x={cell:base}"),)),
        Cell("apart", (("train", "y=1"),)),
        Cell("chooser", (), choices=(Choice("lr", {"1": ["apart"]}, "miou"),)),
    )
    plan = toy_plan(cells=cells)
    before = plan.fingerprints(tmp_path)
    assert len(set(before.values())) == 4
    config.write_text("lr: 1\n")
    assert plan.fingerprints(tmp_path) == before
    config.write_text("lr: 2\n")
    after = plan.fingerprints(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"base", "above"}
    changed = Cell("chooser", (), choices=(Choice("lr", {"2": ["apart"]}, "miou"),))
    assert (
        toy_plan(cells=(*cells[:3], changed)).fingerprints(tmp_path)["chooser"] != after["chooser"]
    )
    config.unlink()
    with pytest.raises(FileNotFoundError, match="run from a checkout"):
        plan.fingerprints(tmp_path)
