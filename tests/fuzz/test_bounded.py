"""What reads the damaged files notices each kind of fault."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import bounded


def misbehave(path: Path) -> object:
    """Does what the path's name says."""
    match path.name:
        case "read":
            return None
        case "refuse":
            raise ValueError(f"{path} is damaged")
        case "nameless":
            raise ValueError("damaged")
        case "crash":
            raise IndexError("list index out of range")
        case "slow":
            time.sleep(0.3)
        case "hang":
            while True:
                pass
        case "hold":
            return bytes(8 << 20)
        case "swallow":
            return np.ones(1 << 30)
    return None


def outcomes_of(*names: str) -> list[bounded.Outcome]:
    return bounded.read_all([Path(name) for name in names], misbehave, lambda path: 100)


def test_faults_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "SECONDS", 0.2)
    names = ["read", "refuse", "nameless", "crash", "slow", "hold", "swallow", "hang", "read"]
    faults = {each.name: each.fault for each in outcomes_of(*names)}
    assert faults["read"] == faults["refuse"] == ""
    assert "does not name the file" in faults["nameless"]
    assert faults["crash"].startswith("IndexError")
    assert "took" in faults["slow"] and "held" in faults["hold"]
    assert "MemoryError" in faults["swallow"]
    assert "ended with -14" in faults["hang"]  # the alarm


def test_all_must_pass_and_enough_be_refused() -> None:
    paths = [Path("read"), Path("refuse")]
    outcomes = outcomes_of("read", "refuse")
    bounded.assert_all_pass(outcomes, paths, refused=1)
    with pytest.raises(AssertionError):
        bounded.assert_all_pass(outcomes, paths, refused=2)
    with pytest.raises(AssertionError, match="crash: IndexError"):
        bounded.assert_all_pass(outcomes_of("crash"), [Path("crash")], refused=0)
