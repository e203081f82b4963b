"""The part ``data``: its recording is one that both readers agree on."""

from pathlib import Path

import numpy as np

from pcpt.benchmark.baselines.sens_bytes import load_all, read_depth
from pcpt.benchmark.parts.data import PART, write_recording
from pcpt.benchmark.settings import Settings
from pcpt.data.sens import SensReader


def test_cases_run_and_agree() -> None:
    names = []
    for case in PART.cases(Settings(quick=True)):
        names.append(case.name)
        assert all(agreement.agrees for agreement in case.agreements.values())
        for alternative in case.alternatives:
            alternative.call(5)
    assert len(names) == 3 and "3 frames of 16 x 12" in names[0]


def test_the_published_way_finds_the_same(tmp_path: Path) -> None:
    path = tmp_path / "room.sens"
    write_recording(path, 4, (24, 32), (12, 16))
    reader = SensReader(path)
    frames = load_all(path)
    assert [frame.color for frame in frames] == [reader.color_bytes(i) for i in range(4)]
    for index in range(4):
        found = read_depth(path, reader.frame_offset(index), (12, 16))
        np.testing.assert_array_equal(found, reader.depth_units(index))
