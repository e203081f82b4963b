"""The example of docs/pretrained.md, run as it stands."""

import re
import runpy
from pathlib import Path

import numpy as np

from pcpt.data.ply import write_ply
from pcpt.students import SparseUNet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pretrained.md"


def test_example_runs(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(example[1])
    random = np.random.default_rng(0)
    write_ply(tmp_path / "room.ply", random.random((200, 3)), random.random((200, 3)))
    sizes = {"planes": [3] * 8, "blocks": [1] * 8, "stem_channels": 2}
    SparseUNet(SparseUNet.Config(**sizes)).save_pretrained(tmp_path / "exported")
    monkeypatch.chdir(tmp_path)
    result = runpy.run_path("example.py")
    assert result["features"].shape == (200, 3)
