"""Rows of many scenes, side by side as (scenes, most rows): what the point operators take."""

import torch
from torch import Tensor


class Padding:
    """Where rows that are sorted by scene lie in a padded tensor.

    Args:
        batch_index: (N,) int64, ascending.
        num_scenes: B.

    Attributes:
        lengths: (B,) int64, rows of each scene.
        starts: (B,) int64, the first row of each scene.
    """

    def __init__(self, batch_index: Tensor, num_scenes: int) -> None:
        self.lengths = torch.bincount(batch_index, minlength=num_scenes)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self._batch_index = batch_index

    def pad(self, rows: Tensor) -> Tensor:
        """(N, C) -> (B, longest, C), zeros behind each scene's rows."""
        longest = int(self.lengths.max()) if len(self.lengths) else 0
        padded = rows.new_zeros(len(self.lengths), longest, rows.shape[1])
        place = torch.arange(len(rows), device=rows.device) - self.starts[self._batch_index]
        return padded.index_put((self._batch_index, place), rows)

    def rows(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that (B, S) indices into each scene mean, those of -1 left out: (K,) int64 rows
        of the whole, scene by scene, and (K,) int64 scenes."""
        scene, place = (index >= 0).nonzero().unbind(1)
        return self.starts[scene] + index[scene, place], scene
