"""JSON files: what is not finite, and what is there when writing fails."""

import json
import math
from pathlib import Path

import pytest

from pcpt.data.write_json import write_json
from pcpt.engine.evaluation import read_metrics


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    value = {"a": float("nan"), "b": [1.5, float("inf"), {"c": -float("inf")}], "d": (2, "x")}
    write_json(tmp_path / "x.json", value)
    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=no_constant)
    assert read == {"a": None, "b": [1.5, None, {"c": None}], "d": [2, "x"]}


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_figures_without_value_are_nan_again(tmp_path: Path) -> None:
    figures = {"points/miou": 0.5, "points/iou/door": float("nan")}
    write_json(tmp_path / "metrics.json", {"figures": figures, "split_hash": None})
    read = read_metrics(tmp_path)
    assert read["figures"]["points/miou"] == 0.5 and math.isnan(read["figures"]["points/iou/door"])
    assert read["split_hash"] is None
