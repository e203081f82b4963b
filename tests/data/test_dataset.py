"""Samples are a function of seed and number; splits, broken frames, fused clouds, batches."""

import pytest
import torch

from pcpt.data.batch import Batch, collate
from pcpt.data.dataset import DataConfig, PosedFrames, lift, split_names
from pcpt.data.skips import SkipLog
from pcpt.data.transforms import AugmentConfig
from tests.data.recordings import HEIGHT, WIDTH, MemoryScan, MemorySource

TENSORS = ("images", "points", "world", "colors", "point_index", "view_index", "pixel", "number")


def dataset(split="train", seed=0, *, lengths=(6,), broken=(), held_out=0.0, **changes):
    source = MemorySource.Config(lengths=list(lengths), broken=list(broken))
    config = DataConfig(source=source, image_size=[HEIGHT, WIDTH], held_out=held_out, **changes)
    return PosedFrames(config, split, seed)


def equal(a: Batch, b: Batch) -> bool:
    return a.names == b.names and all(torch.equal(getattr(a, n), getattr(b, n)) for n in TENSORS)


def test_a_sample_depends_on_seed_and_number_alone():
    first, second = dataset(), dataset()
    assert equal(first[13], second[13])
    _ = [second[n] for n in (0, 40, 7)]
    assert equal(first[13], second[13])
    assert not equal(first[13], dataset(seed=1)[13])


def test_every_epoch_visits_every_frame_once_in_another_order():
    data = dataset(lengths=(5, 4))
    epochs = [[data[n].names[0] for n in range(e * 9, e * 9 + 9)] for e in range(4)]
    assert all(len(set(names)) == 9 for names in epochs)
    assert len({tuple(names) for names in epochs}) == 4


def test_held_out_samples_are_in_order_and_never_augmented():
    data = dataset("held_out", held_out=0.5)
    assert [data[n].names[0] for n in range(len(data))] == [f"room0/{i:04d}" for i in (3, 4, 5)]
    assert equal(data[1], dataset("held_out", seed=9, held_out=0.5)[1])
    frame = data.scans[0].load("0004")
    assert torch.equal(data[1].images[0], frame.image)


@pytest.mark.parametrize("fraction, expected", [(0.0, 0), (0.25, 2), (1.0, 10)])
def test_the_last_part_is_held_out_where_the_source_marks_none(fraction, expected):
    scan = MemoryScan("s", 10, [], [])
    held_out = split_names(scan, "held_out", fraction)
    assert held_out == scan.names[10 - expected :]
    assert split_names(scan, "train", fraction) == scan.names[: 10 - expected]
    assert split_names(scan, "all", fraction) == scan.names


def test_marks_of_the_source_come_first():
    scan = MemoryScan("s", 6, [], [1, 4])
    assert split_names(scan, "held_out", 0.5) == ["0001", "0004"]
    assert split_names(scan, "train", 0.5) == ["0000", "0002", "0003", "0005"]


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        dataset("valid")


def test_an_empty_split_is_refused_with_the_keys_to_look_at():
    with pytest.raises(ValueError, match=r"data\.held_out"):
        dataset("held_out", held_out=0.0)


def test_a_broken_frame_is_replaced_by_the_next_and_named():
    data = dataset(broken=[2, 3])
    names = {}
    for number in range(6):
        sample = data[number]
        assert sample.names[0] not in ("room0/0002", "room0/0003")
        names.update({reason[:4]: (scan, reason) for scan, reason in sample.skipped})
    assert set(names) == {"0002", "0003"}
    assert names["0002"] == ("room0", "0002.png is cut short")


def test_no_whole_frame_left_is_an_error():
    data = dataset(lengths=(3,), broken=[0, 1, 2])
    with pytest.raises(ValueError, match="scan room0: none of the 3 frames"):
        data[0]
    with pytest.raises(ValueError, match="room0: none of its 3 frames"):
        data.check(SkipLog())


def test_pairs_are_exact_in_every_view_of_a_fused_cloud():
    data = dataset(views=3, augment=AugmentConfig(elastic=1.0), absolute_tolerance=0.01)
    sample = data[4]
    assert sample.images.shape[0] == 3
    counts = torch.bincount(sample.view_index, minlength=3)
    one = HEIGHT * WIDTH
    assert (counts > 1.3 * one).all(), "most points of one frame are seen by the others too"
    keys = sample.point_index * 3 + sample.view_index
    assert keys.unique().numel() == keys.numel()


def test_a_point_hidden_from_a_view_is_not_paired_with_it():
    """The other frames' depth is replaced by a near screen: nothing of theirs sees the wall."""
    data = dataset(views=2, augment=AugmentConfig(flip=0.0, resize=[1.0, 1.0]))
    scan = data.scans[0]
    whole = scan.load

    def load(name):
        frame = whole(name)
        if name == "0001":
            frame.depth[:] = 0.5
        return frame

    scan.load = load
    number = next(n for n in range(6) if data[n].names[0] == "room0/0000")
    sample = data[number]
    wall = sample.world[:, 2] > 1
    assert wall.any() and (~wall).any()
    assert (sample.view_index[wall[sample.point_index]] == 0).all()


def test_lift_limits_depth_and_points():
    frame = MemoryScan("s", 1, [], []).load("0000")
    generator = torch.Generator().manual_seed(0)
    near, _ = lift(frame, DataConfig(max_depth=2.5), 0, generator)
    assert 0 < len(near) < HEIGHT * WIDTH and near[:, 2].max() <= 2.5
    some, colors = lift(frame, DataConfig(), 100, generator)
    assert some.shape == colors.shape and 70 < len(some) < 130
    assert colors.min() >= 0 and colors.max() <= 1


def test_collate_shifts_indices():
    samples = [dataset(views=2)[n] for n in range(3)]
    batch = collate(samples)
    assert batch.num_samples == 3 and batch.images.shape[0] == 6
    assert batch.num_pairs == sum(s.num_pairs for s in samples)
    start = 0
    for i, sample in enumerate(samples):
        part = slice(start, start + sample.num_pairs)
        start += sample.num_pairs
        point = batch.point_index[part]
        assert torch.equal(batch.points[point], sample.points[sample.point_index])
        assert (batch.batch_index[point] == i).all()
        view = batch.view_index[part]
        assert torch.equal(batch.images[view.unique()], sample.images[sample.view_index.unique()])
        assert (batch.view_batch[view] == i).all()


def test_collate_refuses_images_of_different_sizes():
    sample = dataset()[0]
    other = dataset()[1]
    other.images = other.images[:, :, :-1]
    with pytest.raises(ValueError, match=r"data\.image_size"):
        collate([sample, other])
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_to_moves_every_tensor(device):
    batch = dataset()[0].to(device)
    assert all(getattr(batch, name).device.type == device.type for name in TENSORS)


def test_a_cache_changes_nothing_but_the_number_of_reads():
    plain, cached = dataset(lengths=(4,)), dataset(lengths=(4,), cache=3)
    reads = []
    load = cached.scans[0].load
    cached.scans[0].load = lambda name: reads.append(name) or load(name)
    for number in (0, 1, 2, 0, 1, 2, 3, 0):
        assert equal(plain[number], cached[number])
    assert len(reads) == 5, (
        "three fit; the fourth displaces the one unused for longest, which returns"
    )


def test_a_broken_image_that_is_a_scan_of_its_own_is_passed_over() -> None:
    config = DataConfig(source=MemorySource.Config(lengths=[1, 1, 1]), held_out=0)
    dataset = PosedFrames(config, "all", seed=0)
    dataset.scans[1].broken = {"0000"}  # type: ignore[attr-defined]
    skips = SkipLog()
    dataset.check(skips)
    assert skips.count == 1
    sample = dataset[1]
    assert sample.names == ["room2/0000"] and sample.skipped[0][0] == "room1"
    for scan in dataset.scans:
        scan.broken = {"0000"}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="none of the 1 frames"):
        dataset[1]
    with pytest.raises(ValueError, match="none of its 1 frames"):
        dataset.check(skips)
