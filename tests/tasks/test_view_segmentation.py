"""The decoder of view_segmentation, on pictures of any shape."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pcpt.config import make_config
from pcpt.engine.run import build
from tests.tasks.test_view_tasks import VIEWS, tree


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (32, 64), (40, 72)])
def test_every_finer_scale_adds_to_the_coarser_one(tmp_path: Path, size: tuple[int, int]) -> None:
    views = {"views": {**VIEWS, "image_size": list(size)}}
    task: Any = build(make_config(tree(tmp_path, "view_segmentation", data=views))).method
    task.eval()
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.no_grad():
        found = task.logits(images)
        maps, codeword = task.student(images)
        joined = task.from_codeword(codeword)[..., None, None].expand(-1, -1, *maps[2].shape[2:])
        joined = joined + task.laterals[2](maps[2])
        for scale in (1, 0):
            height, width = maps[scale].shape[2:]
            doubled = F.interpolate(joined, scale_factor=2, mode="bilinear")[..., :height, :width]
            joined = doubled + task.laterals[scale](maps[scale])
        torch.testing.assert_close(found, task.head(joined))
    assert found.shape[2:] == tuple(-(-extent // 8) for extent in size)
