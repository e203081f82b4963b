"""Every part runs on tiny input and gives well-formed JSON. How long it takes is not judged."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from pcpt import cli
from pcpt.benchmark import inputs, run
from pcpt.benchmark.case import Agreement, Case, Goal, measure
from pcpt.benchmark.inputs import default_scan, real_views, room_points, room_voxels, source_of
from pcpt.benchmark.machine import commit, describe
from pcpt.benchmark.parts import Part, all_parts
from pcpt.benchmark.report import heading, table, to_tree
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.ops import voxelize

PARTS = (
    "correspondence",
    "kernel-map",
    "objects",
    "ppkt-step",
    "sparse-conv",
    "unet-step",
    "upl",
    "voxelize",
)
ROW_KEYS = {
    "name", "median_seconds", "best_seconds", "spread", "samples_seconds", "times_pcpt",
    "share_of_limit", "peak_bytes", "per_second", "note",
}  # fmt: skip


def test_all_parts_are_found() -> None:
    assert set(PARTS) <= set(all_parts())


@pytest.mark.parametrize("name", PARTS)
def test_a_part_runs_and_writes_json(name: str, office: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "figures.json"
    arguments = ["benchmark", name, "--quick", "--scan", str(office), "--json", str(path)]
    assert cli.main([*arguments, "--threads", "1", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "QUICK RUN" in printed and f"== {name}" in printed
    report = json.loads(path.read_text())
    machine = report["machine"]
    assert machine["torch"] == torch.__version__ and machine["threads"] == 1
    assert machine["quick"] is True and machine["device"] == "cpu"
    (part,) = report["parts"]
    assert part["part"] == name and part["results"]
    for result in part["results"]:
        assert result["case"] in printed
        own, *others = result["rows"]
        assert own["name"] == "pcpt" and own["median_seconds"] > 0 and own["times_pcpt"] == 1
        assert len(own["samples_seconds"]) == 1
        assert others, "nothing to compare with"
        for row in result["rows"]:
            assert set(row) == ROW_KEYS
            assert row["median_seconds"] is not None or row["note"], row
            assert not row["note"].startswith(("failed", "not timed")), row
        assert all(goal["met"] is None for goal in result["goals"])  # a quick run judges nothing


def test_json_can_go_to_stdout_and_tables_then_do_not(capsys) -> None:
    assert cli.main(["benchmark", "upl", "--quick", "--json", "-", "--repeats", "1"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["parts"][0]["part"] == "upl"
    assert "== upl" in captured.err


def test_mistakes_are_told(capsys, tmp_path: Path) -> None:
    assert cli.main(["benchmark", "uppl"]) == 2
    assert "unknown part 'uppl' (known: correspondence" in capsys.readouterr().err
    absent = str(tmp_path / "absent")
    assert cli.main(["benchmark", "correspondence", "--quick", "--scan", absent]) == 2
    assert "absent is not a folder" in capsys.readouterr().err
    assert cli.main(["benchmark", "voxelize", "--quick", "--scan", str(tmp_path)]) == 2
    assert "neither a scan.json" in capsys.readouterr().err
    assert cli.main(["benchmark", "upl", "--quick", "--json", f"{absent}/figures.json"]) == 2
    assert "its folder does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["benchmark", "upl", "--repeats", "0"])
    if not torch.cuda.is_available():
        assert cli.main(["benchmark", "upl", "--device", "cuda"]) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("name", PARTS)
def test_a_part_runs_on_a_gpu(name: str, office: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    path = tmp_path / "figures.json"
    arguments = ["benchmark", name, "--quick", "--scan", str(office), "--json", str(path)]
    assert cli.main([*arguments, "--device", "cuda"]) == 0
    for result in json.loads(path.read_text())["parts"][0]["results"]:
        assert result["rows"][0]["median_seconds"] > 0


def test_what_disagrees_is_not_timed() -> None:
    calls: list[str] = []
    case = Case(
        "a case",
        [
            Alternative("pcpt", lambda number: calls.append("pcpt")),
            Alternative("wrong", lambda number: calls.append("wrong")),
            Alternative("right", lambda number: calls.append("right")),
        ],
        {"wrong": Agreement("3 values differ", False), "right": Agreement("equal")},
        [("other", "not installed")],
        moved_bytes=1000,
        flops=1000,
        goals=[
            Goal("a ratio", 1e-9, lambda result: result.ratio("right")),
            Goal("a share", 1e-9, lambda result: result.share(), at_most=True),
            Goal("of what did not run", 1, lambda result: result.ratio("wrong")),
        ],
        phases={"one": 1.0, "two": 3.0},
    )
    result = measure(case, Settings(quick=True, repeats=3))
    result.judged = True
    assert set(calls) == {"pcpt", "right"}
    tree = to_tree(result)
    assert [row["name"] for row in tree["rows"]] == ["pcpt", "wrong", "right", "other"]
    assert tree["limit"] == "roofline" and tree["rows"][0]["share_of_limit"] > 0
    assert [goal["met"] for goal in tree["goals"]] == [True, False, None]
    text = table(result)
    for words in (
        "not timed: 3 values differ",
        "not installed",
        "phase two: 3 s, 75.0%",
        "NOT MET",
    ):
        assert words in text, text


@pytest.mark.parametrize("agrees", [True, False])
def test_a_command_whose_rows_disagree_ends_with_1(
    agrees: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case(
        "a case",
        [Alternative("pcpt", lambda number: None), Alternative("other", lambda number: None)],
        {"other": Agreement("3 values differ", agrees)},
    )
    part = Part("toy", "one case", lambda settings: iter([case]))
    monkeypatch.setattr(run, "all_parts", lambda: {"toy": part})
    assert cli.main(["benchmark", "toy", "--quick"]) == (0 if agrees else 1)
    assert ("toy, a case: other" in capsys.readouterr().err) is not agrees


def test_rooms_have_the_voxels_asked_for_and_repeat() -> None:
    for voxel_size, count in ((0.02, 110_000), (0.05, 32_000), (0.05, 500)):
        found = len(room_voxels(voxel_size, count))
        assert abs(found - count) <= 0.05 * count
    assert torch.equal(room_points(3, 0.2), room_points(3, 0.2))
    two = room_voxels(0.05, 500, batch=2)
    assert two[:, 0].unique().tolist() == [0, 1]
    again = voxelize(two[:, 1:] * 0.05 + 0.025, 0.05, two[:, 0])[0]
    assert torch.equal(again, two)  # each voxel once


def test_default_scan_falls_back_on_the_one_that_ships(monkeypatch, office: Path) -> None:
    monkeypatch.setattr(inputs, "DEFAULT_SCANS", (office / "nowhere", office))
    assert default_scan() == office and source_of(office) == "folder"
    monkeypatch.setattr(inputs, "DEFAULT_SCANS", (office / "nowhere",))
    with pytest.raises(FileNotFoundError, match="pass --scan"):
        default_scan()


def test_real_views_are_resized_with_their_cameras(office: Path) -> None:
    views = real_views(office, 1000, 2, (90, 135))
    assert views.points.shape == (1000, 3) and views.depth.shape == (2, 90, 135)
    original = real_views(office, 1000, 2, (360, 540))
    ratio = original.intrinsics[:, 0, 0] / views.intrinsics[:, 0, 0]
    assert torch.allclose(ratio, torch.tensor(4.0, dtype=ratio.dtype))


def test_machine_is_described_and_the_commit_marked(tmp_path: Path) -> None:
    facts = describe(Settings())
    assert facts["cores"] and facts["cpu"] and isinstance(facts["csrc"], bool)
    json.dumps(facts, allow_nan=False)
    assert "torch" in heading(facts)
    assert commit(tmp_path) == "unknown"
    if shutil.which("git") is None:
        pytest.skip("no git")
    from pcpt.benchmark.machine import _git

    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    _git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    _git(tmp_path, "add", "file")
    _git(tmp_path, *identity, "commit", "-q", "-m", "one")
    clean = commit(tmp_path)
    assert len(clean) == 12 and not clean.endswith("+")
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == clean + "+"


@pytest.mark.parametrize("name", PARTS)
def test_the_gpu_s_cases_run_on_a_cpu_that_says_it_is_one(
    name: str, office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a part does differently on a GPU, short of events, pinned memory and the profiler."""
    monkeypatch.setattr(Settings, "on_gpu", property(lambda settings: True))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    for module in ("correspondence", "kernel_map"):
        profiled = f"pcpt.benchmark.parts.{module}.kernel_seconds"
        monkeypatch.setattr(profiled, lambda call: call(3) is None or 1e-6)
    settings = Settings(quick=True, scan=office)
    for number, case in enumerate(all_parts()[name].cases(settings)):
        assert case.alternatives[0].name == "pcpt"
        assert all(found.agrees for found in case.agreements.values()), case.agreements
        for alternative in case.alternatives:
            alternative.call(1)
        if number == 1:  # further cases differ in size alone
            break
