"""Fewer labels: some scenes of a training split, and some labelled points of each, from published
lists or drawn by a seed (Hou et al., CVPR 2021, arXiv 2012.09165, and PPKT, arXiv 2104.04687)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pcpt.choices import check_minimum, did_you_mean
from pcpt.data.point_list import read_point_list
from pcpt.data.scan_list import read_scan_list


@dataclass
class LimitConfig:
    """Keys of the ``data.limit`` section; the defaults keep every label.

    What is drawn is plain random, not balanced over classes or rooms, and nested: with one seed,
    1% of the scenes are among the 5%, and 20 points of a scene among the 50.

    Attributes:
        scenes: a fraction of the training scenes with a decimal point (0.05, 1.0), rounded down but
            at least one scene; or a whole number of scenes (12).
        scene_list: text file of training scenes, one name a line, such as those of the ScanNet
            data-efficient benchmark, limited reconstructions; in place of ``scenes``.
        points: labelled points of each scene, drawn among those with a label; 0 keeps all.
        point_list: file of the labelled points of each scene, see
            :func:`pcpt.data.point_list.read_point_list`; in place of ``points``.
        seed: of scenes and points drawn.

    Raises:
        ValueError: a fraction outside (0, 1], a negative number, or a list and a number together.
    """

    scenes: float | int = 1.0
    scene_list: str = ""
    points: int = 0
    point_list: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        check_minimum("data.limit.points", self.points, 0)
        check_minimum("data.limit.seed", self.seed, 0)
        if isinstance(self.scenes, int):
            check_minimum("data.limit.scenes", self.scenes, 1)
        elif not 0 < self.scenes <= 1:
            raise ValueError(
                f"data.limit.scenes is {self.scenes}, expected a fraction above 0 and up to 1.0, "
                "or a whole number of scenes without a decimal point"
            )
        drawn = isinstance(self.scenes, int) or self.scenes < 1
        if self.scene_list and drawn:
            raise ValueError("data.limit.scenes and data.limit.scene_list: give one of the two")
        if self.point_list and self.points:
            raise ValueError("data.limit.points and data.limit.point_list: give one of the two")


def limit_scenes(names: Sequence[str], config: LimitConfig) -> list[str]:
    """The scenes whose labels may be used, in the order of ``names``.

    Args:
        names: of all scenes of the training split.

    Raises:
        FileNotFoundError: no such ``scene_list``.
        ValueError: a list that names a scene not among ``names``, or more scenes than there are.
    """
    if config.scene_list:
        return _listed(names, Path(config.scene_list))
    if isinstance(config.scenes, int):
        count = config.scenes
        if count > len(names):
            raise ValueError(
                f"data.limit.scenes is {count}, but the training split has {len(names)} scenes; "
                "a fraction of them has a decimal point"
            )
    else:
        # a hair more: 0.29 of 100 is 28.999999999999996 in floating point
        count = max(1, math.floor(config.scenes * len(names) + 1e-9))
    # by a key of its own for each name: other scenes, or another order, change nothing
    chosen = set(sorted(names, key=lambda name: _digest("scenes", config.seed, name))[:count])
    return [name for name in names if name in chosen]


def limit_points(scene_name: str, semantic: Tensor, config: LimitConfig) -> Tensor:
    """The labels that may be used of a scene; -1 elsewhere.

    Args:
        scene_name: of the scene.
        semantic: (N,) int64 labels of its points, in the order of its file; -1 is none.

    Returns:
        (N,) int64; ``semantic`` itself where nothing is limited.

    Raises:
        FileNotFoundError: no such ``point_list``.
        ValueError: a broken ``point_list``, or one that lacks the scene or holds an index beyond
            its points.
    """
    if not (config.points or config.point_list):
        return semantic
    if config.point_list:
        index = torch.from_numpy(_points_of(scene_name, len(semantic), config.point_list))
    else:
        labelled = torch.nonzero(semantic >= 0).flatten()
        # RandomState: the one stream that NumPy promises never to change
        draw = np.random.RandomState(
            np.frombuffer(_digest("points", config.seed, scene_name), "<u4")
        )
        index = labelled[torch.from_numpy(draw.permutation(len(labelled))[: config.points])]
    index = index.to(semantic.device)
    limited = torch.full_like(semantic, -1)
    limited[index] = semantic[index]
    return limited


def labelled_hash(names: Sequence[str], config: LimitConfig) -> str:
    """16 hex digits that tell which labels a run may use: names of the scenes, whatever their
    order, and which of their points.

    Args:
        names: of the scenes that are left, from ``limit_scenes``.

    Raises:
        FileNotFoundError, ValueError: as ``limit_points``, of the list itself.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\n".encode())
        if config.point_list:
            index = _scene_entry(name, config.point_list)
            digest.update(np.unique(index).astype("<i8").tobytes())
    if config.points:  # the seed and the names tell the rest
        digest.update(f"{config.points} points, seed {config.seed}\n".encode())
    return digest.hexdigest()[:16]


def _listed(names: Sequence[str], path: Path) -> list[str]:
    listed = read_scan_list(path)
    missing = [name for name in listed if name not in set(names)]
    if missing:
        raise ValueError(
            f"{path} names {missing[0]}, which is not in the training split of {len(names)} scenes"
            f"{did_you_mean(missing[0], names)} ({len(missing)} of {len(listed)} names are not)"
        )
    chosen = set(listed)
    return [name for name in names if name in chosen]


def _scene_entry(scene_name: str, path: str) -> np.ndarray:
    entries = read_point_list(path)
    if scene_name not in entries:
        raise ValueError(
            f"{path} has no points for scene {scene_name}{did_you_mean(scene_name, entries)}; it "
            f"lists {len(entries)} scenes. Limit the scenes to these by data.limit.scene_list"
        )
    return entries[scene_name]


def _points_of(scene_name: str, num_points: int, path: str) -> np.ndarray:
    index = _scene_entry(scene_name, path)
    if len(index) and int(index.max()) >= num_points:
        raise ValueError(
            f"{path}: scene {scene_name} has {num_points} points, the list holds index "
            f"{int(index.max())}; it was made for another version of the scene's file"
        )
    return index


def _digest(what: str, seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{what} {seed} {name}".encode()).digest()
