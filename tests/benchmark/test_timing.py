"""Turns, rounds and medians, with clocks that are told what to say."""

import pytest
import torch

from pcpt.benchmark.memory import available_bytes, peak_bytes
from pcpt.benchmark.phases import Stopwatch
from pcpt.benchmark.timing import Alternative, HostClock, Timing, time_alternately


class FakeClock:
    """A call that takes 3 s in the first round takes 6 s in the second: the machine slows down."""

    def __init__(self, seconds: dict[str, float], slower: float = 1.0) -> None:
        self.seconds_of = seconds
        self.slower = slower
        self.turns: list[tuple[str, int, int]] = []

    def seconds(self, call, first: int, loops: int) -> float:
        name = call(first)
        self.turns.append((name, first, loops))
        timed = [turn for turn in self.turns if turn[0] == name]
        return self.seconds_of[name] * self.slower ** len(timed)


def alternatives(**most: int) -> list[Alternative]:
    return [Alternative(name, lambda number, name=name: name, n) for name, n in most.items()]


def test_everyone_takes_a_turn_each_round_and_the_order_rotates() -> None:
    clock = FakeClock({"a": 1.0, "b": 2.0, "c": 4.0})
    timings = time_alternately(alternatives(a=0, b=0, c=0), clock, repeats=3)
    names = [name for name, _, _ in clock.turns]
    assert names[:6] == ["a", "a", "b", "b", "c", "c"]  # warm-up and probe
    assert names[6:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert {name: t.median for name, t in timings.items()} == {"a": 1.0, "b": 2.0, "c": 4.0}
    assert [t.over(timings["a"]) for t in timings.values()] == [1.0, 2.0, 4.0]


def test_ratios_are_taken_within_rounds_so_a_slowing_machine_does_not_matter() -> None:
    clock = FakeClock({"a": 1.0, "b": 3.0}, slower=2.0)
    timings = time_alternately(alternatives(a=0, b=0), clock, repeats=5)
    assert timings["b"].over(timings["a"]) == 3.0
    assert timings["a"].samples == (8.0, 16.0, 32.0, 64.0, 128.0)
    assert timings["a"].median == 32.0 and timings["a"].best == 8.0


def test_slow_alternatives_join_the_first_rounds_without_warming_up() -> None:
    clock = FakeClock({"a": 1.0, "slow": 50.0})
    timings = time_alternately(alternatives(a=0, slow=2), clock, repeats=4)
    assert len(timings["slow"].samples) == 2 and len(timings["a"].samples) == 4
    assert [turn for turn in clock.turns if turn[0] == "slow"] == [("slow", 0, 1), ("slow", 1, 1)]
    assert timings["slow"].over(timings["a"]) == 50.0


def test_short_calls_loop_and_every_call_has_its_own_number() -> None:
    clock = FakeClock({"a": 0.001})
    time_alternately(alternatives(a=0), clock, repeats=3, sample_seconds=0.01)
    assert clock.turns[2:] == [("a", 0, 10), ("a", 10, 10), ("a", 20, 10)]


def test_an_alternative_may_ask_for_longer_samples_of_its_own() -> None:
    clock = FakeClock({"a": 0.001, "row": 0.001})
    both = [*alternatives(a=0), Alternative("row", lambda number: "row", sample_seconds=0.05)]
    time_alternately(both, clock, repeats=1, sample_seconds=0.01)
    assert clock.turns[4:] == [("a", 0, 10), ("row", 0, 50)]


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        time_alternately(alternatives(a=0), FakeClock({"a": 1.0}), repeats=0)
    twice = [*alternatives(a=0), *alternatives(a=0)]
    with pytest.raises(ValueError, match="share a name"):
        time_alternately(twice, FakeClock({"a": 1.0}), repeats=1)


def test_spread_is_between_quartiles_and_zero_for_one_sample() -> None:
    assert Timing((1.0, 2.0, 3.0, 4.0, 5.0)).spread == pytest.approx(2 / 3)
    assert Timing((7.0,)).spread == 0.0


def test_host_clock_counts_every_loop() -> None:
    seen: list[int] = []
    assert HostClock().seconds(seen.append, 5, 3) > 0
    assert seen == [5, 6, 7]


def test_peak_memory_sees_what_is_freed_again() -> None:
    cpu = torch.device("cpu")
    if peak_bytes(lambda: None, cpu) is None:
        pytest.skip("this system does not tell peak memory")
    big = peak_bytes(lambda: torch.ones(16 * 2**20).sum(), cpu)  # 64 MiB, gone when it returns
    assert big is not None and 60 * 2**20 < big < 100 * 2**20
    again = peak_bytes(lambda: torch.ones(16 * 2**20).sum(), cpu)
    assert again is not None and again > 60 * 2**20  # not hidden in what malloc kept
    small = peak_bytes(lambda: torch.ones(2**10).sum(), cpu)
    assert small is not None and small < 8 * 2**20
    free = available_bytes(cpu)
    assert free is not None and free > 0


def test_stopwatch_charges_the_innermost_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("pcpt.benchmark.phases.time.perf_counter", lambda: now[0])

    class Work:
        def inner(self) -> str:
            now[0] += 2.0
            return "done"

        def outer(self) -> str:
            now[0] += 1.0
            result = self.inner()
            now[0] += 4.0
            return result

    before = Work.outer
    watch = Stopwatch(torch.device("cpu"))
    with watch.around((Work, "outer", "out"), (Work, "inner", "in")):
        assert Work().outer() == "done"
        now[0] += 100.0  # in no phase
    assert dict(watch.seconds) == {"out": 5.0, "in": 2.0}
    assert Work.outer is before
