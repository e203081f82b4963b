"""Which samples a training step sees: a pure function of step and rank, so nothing has to be saved
to resume a run."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Global sample numbers of every batch of steps ``start`` to ``stop``, for one rank.

    Batch ``a`` of step ``s`` begins at ``((s * accumulate + a) * num_ranks + rank) * batch_size``.
    A step sees the same samples whether these come in one batch, several accumulated ones, or
    spread over ranks.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        accumulate: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
        start: int = 0,
        stop: int,
    ) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.num_ranks = num_ranks
        self.batches = range(start * accumulate, stop * accumulate)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            first = (batch * self.num_ranks + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return len(self.batches)
