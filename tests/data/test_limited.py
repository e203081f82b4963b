"""Limited scenes and points: nested draws, published lists, hashes, and bad input."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from pcpt.data.limited import LimitConfig, labelled_hash, limit_points, limit_scenes

NAMES = [f"scene{number:04d}_00" for number in range(1201)]


def test_everything_by_default() -> None:
    semantic = torch.tensor([0, -1, 2])
    assert limit_scenes(NAMES, LimitConfig()) == NAMES
    assert limit_points("a", semantic, LimitConfig()) is semantic


@pytest.mark.parametrize(
    ("fraction", "count"), [(0.01, 12), (0.05, 60), (0.1, 120), (0.2, 240), (0.5, 600)]
)
def test_as_many_scenes_as_the_benchmark(fraction: float, count: int) -> None:
    assert len(limit_scenes(NAMES, LimitConfig(scenes=fraction))) == count


def test_rounding_down_is_of_the_written_fraction() -> None:
    assert 0.29 * 100 < 29
    assert len(limit_scenes(NAMES[:100], LimitConfig(scenes=0.29))) == 29


@pytest.mark.parametrize("seed", range(5))
def test_fewer_scenes_are_among_more(seed: int) -> None:
    fractions: list[float | int] = [1, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0]
    chosen = [limit_scenes(NAMES, LimitConfig(scenes=f, seed=seed)) for f in fractions]
    for few, many in pairwise(chosen):
        assert set(few) < set(many)
        assert few == [name for name in NAMES if name in set(few)]  # order kept


def test_seeds_draw_different_scenes_and_the_order_of_names_does_not_matter() -> None:
    draws = [frozenset(limit_scenes(NAMES, LimitConfig(scenes=12, seed=s))) for s in range(20)]
    assert len(set(draws)) == 20
    backwards = limit_scenes(NAMES[::-1], LimitConfig(scenes=12, seed=3))
    assert frozenset(backwards) == draws[3]


def test_every_scene_is_as_likely() -> None:
    names, draws = NAMES[:10], 2000
    count = dict.fromkeys(names, 0)
    for seed in range(draws):
        for name in limit_scenes(names, LimitConfig(scenes=3, seed=seed)):
            count[name] += 1
    # 600 each, standard deviation 20.5
    assert all(abs(number - 0.3 * draws) < 100 for number in count.values())


def test_at_least_one_scene() -> None:
    assert len(limit_scenes(NAMES[:20], LimitConfig(scenes=0.01))) == 1


def test_the_same_draw_on_every_machine() -> None:
    """Results of a seed are compared between machines and versions: it must never change."""
    assert limit_scenes(NAMES[:10], LimitConfig(scenes=3, seed=0)) == SCENES_OF_SEED_0
    limited = limit_points("room", torch.zeros(100, dtype=torch.int64), LimitConfig(points=4))
    assert torch.nonzero(limited == 0).flatten().tolist() == POINTS_OF_SEED_0


SCENES_OF_SEED_0 = ["scene0000_00", "scene0003_00", "scene0007_00"]
POINTS_OF_SEED_0 = [1, 36, 63, 85]


@pytest.mark.parametrize("seed", range(3))
def test_points_are_labelled_ones_and_nested(seed: int) -> None:
    semantic = torch.randint(-1, 20, (5000,), generator=torch.Generator().manual_seed(seed))
    before = torch.zeros(5000, dtype=torch.bool)
    for points in (20, 50, 100, 200):
        limited = limit_points("a", semantic, LimitConfig(points=points, seed=seed))
        kept = limited >= 0
        assert int(kept.sum()) == points
        assert torch.equal(limited[kept], semantic[kept])
        assert bool((kept | ~before).all())
        before = kept


def test_points_differ_between_scenes_and_seeds() -> None:
    semantic = torch.zeros(5000, dtype=torch.int64)
    first, second = (limit_points(name, semantic, LimitConfig(points=20)) for name in "ab")
    third = limit_points("a", semantic, LimitConfig(points=20, seed=1))
    assert not torch.equal(first, second)
    assert not torch.equal(first, third)


def test_scenes_with_few_or_no_labels() -> None:
    semantic = torch.tensor([-1, 3, -1, 4])
    assert torch.equal(limit_points("a", semantic, LimitConfig(points=20)), semantic)
    none = torch.full((5,), -1)
    assert torch.equal(limit_points("a", none, LimitConfig(points=20)), none)
    empty = torch.zeros(0, dtype=torch.int64)
    assert limit_points("a", empty, LimitConfig(points=20)).shape == (0,)


def test_listed_scenes(tmp_path: Path) -> None:
    path = tmp_path / "10.txt"
    path.write_text("scene0005_00\nscene0002_00\n")
    assert limit_scenes(NAMES, LimitConfig(scene_list=str(path))) == [NAMES[2], NAMES[5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("scene0002_00\nscene9999_00\n", r"names scene9999_00, which is not in .*\(1 of 2"),
        ("scene0002_00\nscene0002_00\n", "is on line 1 already"),
        ("../secret\n", "is no scan name"),
    ],
)
def test_bad_scene_lists(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        limit_scenes(NAMES, LimitConfig(scene_list=str(path)))


def test_missing_lists() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist"):
        limit_scenes(NAMES, LimitConfig(scene_list="nowhere.txt"))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt does not exist"):
        limit_points("a", torch.zeros(3, dtype=torch.int64), LimitConfig(point_list="nowhere.txt"))


def test_listed_points(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("a 3 0 3\nb\n")
    config = LimitConfig(point_list=str(path))
    semantic = torch.tensor([5, 6, 7, -1])
    assert limit_points("a", semantic, config).tolist() == [5, -1, -1, -1]
    assert limit_points("b", semantic, config).tolist() == [-1, -1, -1, -1]
    with pytest.raises(ValueError, match="has 3 points, the list holds index 3"):
        limit_points("a", semantic[:3], config)
    with pytest.raises(ValueError, match="no points for scene c"):
        limit_points("c", semantic, config)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scenes": 1.5}, "scenes is 1.5, expected a fraction"),
        ({"scenes": 0.0}, "scenes is 0.0, expected a fraction"),
        ({"scenes": float("nan")}, "scenes is nan, expected a fraction"),
        ({"scenes": 0}, "scenes is 0, expected at least 1"),
        ({"scenes": -0.1}, "scenes is -0.1, expected a fraction"),
        ({"points": -1}, "points is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"scenes": 0.1, "scene_list": "a.txt"}, "one of the two"),
        ({"scenes": 1, "scene_list": "a.txt"}, "one of the two"),
        ({"points": 20, "point_list": "a.txt"}, "one of the two"),
    ],
)
def test_bad_keys(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LimitConfig(**keys)


def test_more_scenes_than_there_are() -> None:
    with pytest.raises(ValueError, match="scenes is 15, but the training split has 10"):
        limit_scenes(NAMES[:10], LimitConfig(scenes=15))


def test_hash_tells_the_labels_apart(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("a 1 2 2\nb 3\n")
    other.write_text("a 1 3\nb 3\n")
    configs = [
        LimitConfig(),
        LimitConfig(points=20),
        LimitConfig(points=50),
        LimitConfig(points=20, seed=1),
        LimitConfig(point_list=str(path)),
        LimitConfig(point_list=str(other)),
    ]
    hashes = [labelled_hash(["a", "b"], config) for config in configs]
    assert len(set(hashes)) == len(configs)
    assert labelled_hash(["b", "a"], LimitConfig()) == hashes[0]
    assert labelled_hash(["a"], LimitConfig()) != hashes[0]
    # the same labels are the same labels, however they were asked for
    assert labelled_hash(["a", "b"], LimitConfig(scenes=2, seed=7)) == hashes[0]
    path.write_text("a 2 1\nb 3\nc 9\n")
    assert labelled_hash(["a", "b"], configs[4]) == hashes[4]


def test_fractions_and_counts_survive_the_config() -> None:
    @dataclass
    class Data:
        limit: LimitConfig = field(default_factory=LimitConfig)

    for value in (1, 1.0, 0.05, 12):
        schema = OmegaConf.structured(Data)
        OmegaConf.update(schema, "limit.scenes", value, merge=False)
        again = OmegaConf.create(OmegaConf.to_yaml(schema))
        read = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Data), again))
        assert isinstance(read, Data)
        assert type(read.limit.scenes) is type(value)
        assert read.limit.scenes == value
