"""How much of a label colour alone, or height and normal alone, gives away: linear classifiers on
5 cm voxels, trained on the train rooms and scored on the val rooms. Needs scikit-learn.

python -m pcpt.data.rooms.baselines ROOMS
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcpt.data.scannet_classes import LABEL_SETS
from pcpt.data.sources.scannet_scenes import ScanNetScenes

VOXEL = 0.05
PER_CLASS = 4000  # voxels of each class to train on, so that a fit takes seconds


@dataclass(frozen=True)
class Voxels:
    """Voxels of several rooms.

    Attributes:
        colors: (N, 6) float32 in [0, 1]: RGB, and its mean over blocks of 20 cm.
        shape: (N, 7) float32: height in metres and its square and cube, normal, |normal z|.
        labels: (N,) int64 places in ScanNet-20.
        per_room: number of voxels in each room, those without a label included.
    """

    colors: np.ndarray
    shape: np.ndarray
    labels: np.ndarray
    per_room: list[int]


def read_voxels(root: Path, split: str) -> Voxels:
    """The labelled voxels of a split: each has the labels of its first vertex, the mean colour."""
    source = ScanNetScenes(
        ScanNetScenes.Config(
            root=str(root / "scans"), split_file=str(root / "splits" / f"{split}.txt")
        )
    ).open()
    parts = []
    for name in source.names:
        scene = source.load(name)
        assert scene.colors is not None and scene.normals is not None
        points = scene.points.numpy()
        first, fine = _groups(points, VOXEL)
        _, coarse = _groups(points, 4 * VOXEL)
        colors = scene.colors.numpy().astype(np.float64) / 255
        near, around = _mean(colors, fine), _mean(colors, coarse)[coarse[first]]
        height, normal = points[first, 2:], scene.normals.numpy()[first]
        shape = np.concatenate(
            [height, height**2, height**3, normal, np.abs(normal[:, 2:])], axis=1
        )
        parts.append((np.concatenate([near, around], axis=1), shape, scene.semantic.numpy()[first]))
    keep = [labels >= 0 for _, _, labels in parts]
    return Voxels(
        colors=np.concatenate([c[k] for (c, _, _), k in zip(parts, keep)]).astype(np.float32),
        shape=np.concatenate([s[k] for (_, s, _), k in zip(parts, keep)]).astype(np.float32),
        labels=np.concatenate([y[k] for (_, _, y), k in zip(parts, keep)]),
        per_room=[len(labels) for _, _, labels in parts],
    )


def _groups(points: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    cell = np.floor(points / size).astype(np.int64) + (1 << 15)
    key = (cell[:, 0] << 40) | (cell[:, 1] << 20) | cell[:, 2]
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, group


def _mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    counts = np.bincount(group)
    return np.stack(
        [np.bincount(group, values[:, i]) / counts for i in range(values.shape[1])], axis=1
    )


def mean_iou(predicted: np.ndarray, labels: np.ndarray) -> tuple[float, dict[int, float]]:
    """Mean over the classes among the labels, and each class's IoU."""
    each = {}
    for label in np.unique(labels).tolist():
        both = ((predicted == label) & (labels == label)).sum()
        each[label] = float(both / ((predicted == label) | (labels == label)).sum())
    return float(np.mean(list(each.values()))), each


def linear_miou(
    train: Voxels, test: Voxels, features: str, balanced: bool
) -> tuple[float, dict[int, float]]:
    """Mean IoU of logistic regression on ``features``, "colors" or "shape", of another split."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ValueError("the baselines need pip install scikit-learn") from error

    rng = np.random.default_rng(0)
    if balanced:
        picks = [np.flatnonzero(train.labels == label) for label in np.unique(train.labels)]
        index = np.concatenate([rng.permutation(pick)[:PER_CLASS] for pick in picks])
    else:
        index = rng.permutation(len(train.labels))[: 20 * PER_CLASS]
    weights = "balanced" if balanced else None
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, class_weight=weights))
    model.fit(getattr(train, features)[index], train.labels[index])
    return mean_iou(model.predict(getattr(test, features)), test.labels)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command above: prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m pcpt.data.rooms.baselines", description=__doc__
    )
    parser.add_argument("rooms", type=Path)
    root = parser.parse_args(arguments).rooms
    train, test = read_voxels(root, "train"), read_voxels(root, "val")
    names = LABEL_SETS["scannet20"].names
    rooms = np.array(train.per_room + test.per_room)
    print(f"voxels of 5 cm a room: median {int(np.median(rooms))}, {rooms.min()} to {rooms.max()}")
    rows = {}
    for features in ("colors", "shape"):
        for balanced in (False, True):
            score, each = linear_miou(train, test, features, balanced)
            rows[features, balanced] = each
            kind = "balanced" if balanced else "plain"
            print(f"{features:6} {kind:8} {100 * score:5.1f}% mIoU over {len(each)} classes")
    share = np.bincount(np.concatenate([train.labels, test.labels]), minlength=len(names))
    print(f"{'class':16} share % | colors IoU % | shape IoU % (the balanced fits)")
    for label, name in enumerate(names):
        color, shape = (100 * rows[f, True].get(label, 0) for f in ("colors", "shape"))
        print(f"{name:16} {100 * share[label] / share.sum():7.2f} | {color:12.1f} | {shape:11.1f}")


if __name__ == "__main__":
    main()
