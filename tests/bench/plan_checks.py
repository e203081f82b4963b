"""What every plan must keep to."""

from collections.abc import Mapping, Sequence

from pcpt.bench.plan import Plan


def check_splits(plan: Plan, tuned: Mapping[str, str], seeds: Sequence[int]) -> None:
    """Figures are of test, choices of val, by labels that the table does not use.

    Args:
        plan: any.
        tuned: row by row, the row whose tuning it takes.
        seeds: of the table.
    """
    for cell in plan.cells:
        splits = [c[c.index("--split") + 1] for c in cell.commands if "--split" in c]
        if cell.column:
            assert splits == (["val"] if cell.column in plan.tuning else ["test"]), cell.name
        for choice in cell.choices:
            for names in choice.cells.values():
                assert all(plan.by_name[name].column in plan.tuning for name in names)
                assert all(plan.by_name[name].row == tuned[cell.row] for name in names)
                assert all(plan.by_name[name].seed not in seeds for name in names)
