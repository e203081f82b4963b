"""The order of an epoch: a permutation, with locality where asked for, and the same every time."""

import pytest
import torch

from pcpt.data.dataset import DataConfig, PosedFrames, generator_for
from pcpt.data.order import WINDOW, epoch_order
from tests.data.recordings import HEIGHT, WIDTH, MemorySource


@pytest.mark.parametrize("count", [0, 1, 7, 33, 1023])
@pytest.mark.parametrize("block", [0, 1, 3, 16, 5000])
def test_a_permutation_that_follows_from_the_generator(count: int, block: int) -> None:
    order = epoch_order(count, block, generator_for(3, 1))
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(count))
    assert torch.equal(order, epoch_order(count, block, generator_for(3, 1)))
    if count > 7:
        assert not torch.equal(order, epoch_order(count, block, generator_for(4, 1)))


def test_a_window_comes_from_few_places() -> None:
    count, block = 4000, 10
    order = epoch_order(count, block, generator_for(0, 0))
    span = block * WINDOW
    for start in range(0, count, span):
        window = order[start : start + span]
        assert len((window // block).unique()) == WINDOW
    first = order[:span]
    assert len((first[: 2 * WINDOW] // block).unique()) > 3, "and several of them take turns"
    free = epoch_order(count, 0, generator_for(0, 0))
    assert len((free[:span] // block).unique()) > 5 * WINDOW


def names(block: int, numbers: range, seed: int = 0) -> list[str]:
    source = MemorySource.Config(lengths=[20, 13])
    config = DataConfig(
        source=source, image_size=[HEIGHT, WIDTH], held_out=0.0, shuffle_block=block
    )
    data = PosedFrames(config, "train", seed)
    return [data[number].names[0] for number in numbers]


def test_a_resumed_run_sees_the_same_order() -> None:
    """Samples are asked for by number, so one that begins anywhere goes on as the first did."""
    whole = names(4, range(80))
    assert names(4, range(45, 80)) == whole[45:]
    assert sorted(whole[:33]) == sorted(whole[33:66]) and whole[:33] != whole[33:66]
    assert names(4, range(33), seed=1) != whole[:33]
    assert names(0, range(33)) != whole[:33]


def test_blocks_are_no_negative_number() -> None:
    with pytest.raises(ValueError, match=r"data\.shuffle_block"):
        DataConfig(shuffle_block=-1)
