"""Predictions in the formats of ScanNet's benchmark, and the way back, which checks them.

Semantic labels are ``NAME.txt``, the id of a class for each vertex of ``NAME_vh_clean_2.ply``, one
a line. Instances are ``NAME.txt``, a line ``predicted_masks/NAME_000.txt ID CONFIDENCE`` for each
object, and these masks, 0 or 1 for each vertex. The two go into folders of their own, because both
have a ``NAME.txt``. Formats are those of the benchmark's documentation and of
BenchmarkScripts/3d_evaluation in github.com/ScanNet/ScanNet.
"""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from pcpt.data.label_set import IGNORE, LabelSet
from pcpt.data.predicted_instances import PredictedInstances
from pcpt.data.scan_list import NAME
from pcpt.data.scannet_classes import LABEL_SETS

MASK_FOLDER = "predicted_masks"
UNANNOTATED = 0
# No scene has more objects by far; without a bound an index file asks for any amount of memory.
MAX_OBJECTS = 10000
_LINE_BYTES = 200  # of an index file
_DIGITS = 6  # of a number in a file of ids or a mask


def check_scannet_labels(label_set: LabelSet) -> None:
    """Raises ``ValueError`` unless the ids of the label set are ScanNet's."""
    if LABEL_SETS.get(label_set.name) != label_set:
        raise ValueError(
            f"label set {label_set.name} has ids of its own, the benchmark's files hold ScanNet's; "
            f"export a run whose data has a label_set of {', '.join(LABEL_SETS)}"
        )


def write_semantic(folder: str | Path, name: str, labels: Tensor, label_set: LabelSet) -> Path:
    """Writes ``folder/NAME.txt``: the id of each point's class, 0 for none.

    Args:
        folder: made if need be.
        name: of the scene, ``sceneXXXX_YY``.
        labels: (N,) int64, class of each vertex in the order of the mesh, or -1.
        label_set: one of ScanNet's.

    Raises:
        ValueError: a name that is no plain word, a label outside the set, or another label set.
    """
    check_scannet_labels(label_set)
    _check_name(name)
    values = labels.cpu().numpy()
    if len(values) and not IGNORE <= values.min() <= values.max() < len(label_set):
        raise ValueError(
            f"scene {name}: labels reach from {values.min()} to {values.max()}, expected -1 to "
            f"{len(label_set) - 1}"
        )
    ids = np.array([*label_set.ids, UNANNOTATED])[values]  # -1 finds the last
    path = Path(folder) / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, "".join(f"{one}\n" for one in ids.tolist()).encode())
    return path


def read_semantic(path: str | Path, num_points: int, label_set: LabelSet) -> Tensor:
    """What ``write_semantic`` wrote: (N,) int64 class of each vertex, -1 for id 0.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not one id a vertex, something else than whole numbers, or an id that is neither
            0 nor of the label set.
    """
    check_scannet_labels(label_set)
    path = Path(path)
    ids = _numbers(path, num_points)
    labels = label_set.indices(ids)
    odd = (labels == IGNORE) & (ids != UNANNOTATED)
    if odd.any():
        line = int(odd.argmax())
        raise ValueError(
            f"{path} line {line + 1}: id {ids[line]} is no class of {label_set.name}; its ids are "
            f"{', '.join(map(str, label_set.ids[:25]))}"
        )
    return torch.from_numpy(labels)


def write_instances(
    folder: str | Path, name: str, predicted: PredictedInstances, label_set: LabelSet
) -> Path:
    """Writes ``folder/NAME.txt`` and its masks; objects without a point are left out.

    Args:
        folder: made if need be.
        name: of the scene, ``sceneXXXX_YY``.
        predicted: on the vertices in the order of the mesh.
        label_set: one of ScanNet's.

    Returns:
        The path of the index.

    Raises:
        ValueError: as ``write_semantic``, or more than 10,000 objects.
    """
    check_scannet_labels(label_set)
    _check_name(name)
    if len(predicted) > MAX_OBJECTS:
        raise ValueError(f"scene {name}: {len(predicted)} objects, at most {MAX_OBJECTS}")
    if len(predicted) and int(predicted.labels.max()) >= len(label_set):
        raise ValueError(
            f"scene {name}: label {int(predicted.labels.max())}, expected below {len(label_set)}"
        )
    path = Path(folder) / f"{name}.txt"
    (path.parent / MASK_FOLDER).mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    masks = predicted.masks.cpu().numpy()
    for mask, label, score in zip(masks, predicted.labels.tolist(), predicted.scores.tolist()):
        if not mask.any():
            continue
        relative = f"{MASK_FOLDER}/{name}_{len(lines):03d}.txt"
        digits = np.full((len(mask), 2), ord("\n"), dtype=np.uint8)
        digits[:, 0] = mask + np.uint8(ord("0"))
        _write(path.parent / relative, digits.tobytes())
        # nine digits tell any two float32 apart
        lines.append(f"{relative} {label_set.ids[label]} {score:.9g}\n")
    _write(path, "".join(lines).encode())
    return path


def read_instances(path: str | Path, num_points: int, label_set: LabelSet) -> PredictedInstances:
    """What ``write_instances`` wrote, or another's submission.

    Args:
        path: of the index, ``sceneXXXX_YY.txt``.
        num_points: N, vertices of the mesh.
        label_set: one of ScanNet's.

    Raises:
        FileNotFoundError: no such index, or a mask that is not there.
        ValueError: a line that is not ``MASK ID CONFIDENCE``, a mask outside the folder of the
            index or not of one number a vertex, an id that is no class, a confidence that is no
            finite number; names file and line.
    """
    check_scannet_labels(label_set)
    path = Path(path)
    text = _read(path, MAX_OBJECTS * _LINE_BYTES).decode("utf-8-sig", errors="replace")
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, words) for number, words in rows if words]
    if len(rows) > MAX_OBJECTS:
        raise ValueError(f"{path} lists {len(rows)} objects, at most {MAX_OBJECTS}")
    masks, labels, scores = [], [], []
    for number, words in rows:
        where = f"{path} line {number}"
        if len(words) != 3:
            raise ValueError(f"{where} has {len(words)} words, expected MASK ID CONFIDENCE")
        labels.append(_label(words[1], where, label_set))
        scores.append(_confidence(words[2], where))
        mask = _numbers(_mask_path(path, words[0], where), num_points) != 0
        masks.append(torch.from_numpy(mask))
    return PredictedInstances.sorted(
        torch.stack(masks) if masks else torch.zeros(0, num_points, dtype=torch.bool),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float32),
    )


def _label(word: str, where: str, label_set: LabelSet) -> int:
    if not word.isdecimal() or int(word[:9]) not in label_set.ids:
        raise ValueError(f"{where}: {word[:20]!r} is no class id of {label_set.name}")
    return label_set.ids.index(int(word[:9]))


def _confidence(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not abs(value) <= torch.finfo(torch.float32).max:
        raise ValueError(f"{where}: confidence {word[:20]!r} is no finite number")
    return value


def _mask_path(index: Path, word: str, where: str) -> Path:
    relative = PurePosixPath(word)
    folder = index.parent.resolve()
    path = (folder / relative).resolve()
    if relative.is_absolute() or len(relative.parts) < 2 or not path.is_relative_to(folder):
        raise ValueError(
            f"{where}: mask {word[:80]!r} must lie in a folder beside the index, such as "
            f"{MASK_FOLDER}/{index.stem}_000.txt"
        )
    return path


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"scene name {name[:40]!r} is no file name; expected sceneXXXX_YY")


def _numbers(path: Path, count: int) -> np.ndarray:
    """``count`` whole numbers, one a line: (count,) int64."""
    words = _read(path, (count + 1) * (_DIGITS + len("\r\n"))).split()
    if len(words) != count:
        raise ValueError(
            f"{path} has {len(words)} lines, but the mesh has {count} vertices; write one number "
            "for each vertex of NAME_vh_clean_2.ply, in its order"
        )
    # before they become an array, which gives all of them the room of the longest
    odd = next(
        (i for i, word in enumerate(words) if len(word) > _DIGITS or not word.isdigit()), None
    )
    if odd is not None:
        raise ValueError(
            f"{path} line {odd + 1} holds {words[odd][:20]!r}, expected whole numbers of at most "
            f"{_DIGITS} digits"
        )
    return np.array(words, dtype=f"S{_DIGITS}").astype(np.int64).reshape(count)


def _read(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"prediction file {path} does not exist")
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"prediction file {path} has {size} bytes, expected at most {limit}")
    return path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    """A file that appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)
