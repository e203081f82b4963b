"""Average precision of instance segmentation, as ScanNet's benchmark takes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from pcpt.data.predicted_instances import PredictedInstances

# Of BenchmarkScripts/3d_evaluation/evaluate_semantic_instance.py in github.com/ScanNet/ScanNet. The
# benchmark's page writes [0.5:0.95:0.05]; its script ends before 0.95, and published figures are
# the script's.
SCANNET_OVERLAPS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
MIN_POINTS = 100


@dataclass
class _Scores:
    """What one class at one overlap has gathered so far.

    Attributes:
        hits: score of the prediction that found an object, for each object found.
        misses: scores of false positives.
    """

    hits: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)


class InstanceAP:
    """AP, AP50 and AP25 over the scenes that ``add`` is given, in ScanNet's protocol:

    - An *object* is the points of one class and one instance number, if they are at least
      ``min_points``. All else is to be ignored: points without a class or an instance, points of
      classes that are not evaluated (in ScanNet walls and floors) and smaller objects of the class.
    - Predictions of fewer than ``min_points`` points, or of a class that is not evaluated, are left
      out.
    - A prediction finds an object of its class if their IoU *exceeds* the overlap. Objects are gone
      through by number and take the prediction of the highest score that no other object took;
      further ones that found it are false positives.
    - A prediction that finds nothing is a false positive unless the share of its points that are to
      be ignored exceeds the overlap.
    - Predictions of all scenes together, by falling score, give the curve of precision over recall;
      those of equal score count as one step. AP is the area under it by trapezoids, from precision
      1 at recall 0; precision is not made monotonous as in VOC or COCO.
    - A class without an object in any scene has no AP (nan) and is left out of means; one without
      a prediction has AP 0. AP is the mean over ``overlaps``, 0.5, 0.55 ... 0.9 as in ScanNet's
      script.

    Where predictions overlap each other and the overlap is below a half, ScanNet's script depends
    on the order of the submission; here it is that of falling score, which is also what
    ``pcpt.data.scannet_export`` writes.

    Args:
        num_classes: C.
        classes: indices of those that are evaluated; all by default.
        min_points: see above; ScanNet's is 100 vertices.
        overlaps: of which AP is the mean; 0.5 and 0.25 are evaluated in any case.

    Raises:
        ValueError: a class outside 0..C-1, an overlap outside [0, 1), none at all.
    """

    def __init__(
        self,
        num_classes: int,
        classes: Iterable[int] | None = None,
        *,
        min_points: int = MIN_POINTS,
        overlaps: Sequence[float] = SCANNET_OVERLAPS,
    ) -> None:
        self.num_classes = num_classes
        self.classes = sorted(range(num_classes) if classes is None else set(classes))
        if any(not 0 <= each < num_classes for each in self.classes):
            raise ValueError(f"classes are {self.classes}, expected indices below {num_classes}")
        if not overlaps or any(not 0 <= overlap < 1 for overlap in overlaps):
            raise ValueError(f"overlaps are {list(overlaps)}, expected numbers in [0, 1)")
        self.min_points = max(1, min_points)
        self.overlaps = tuple(overlaps)
        wanted = sorted({*overlaps, 0.5, 0.25})
        self._scores = {c: {overlap: _Scores() for overlap in wanted} for c in self.classes}
        self._num_objects = dict.fromkeys(self.classes, 0)

    def add(self, predicted: PredictedInstances, semantic: Tensor, instances: Tensor) -> None:
        """Counts one scene in.

        Args:
            predicted: on the N points of the scene.
            semantic: (N,) int64, class of each point, -1 for none.
            instances: (N,) int64, 0 to I - 1, or -1 for none.

        Raises:
            ValueError: shapes that differ, or a predicted class outside 0..C-1.
        """
        num_points = predicted.masks.shape[1]
        for name, tensor in (("semantic", semantic), ("instances", instances)):
            if tuple(tensor.shape) != (num_points,):
                raise ValueError(
                    f"{name} is {tuple(tensor.shape)}, but predictions have {num_points} points"
                )
        labels = predicted.labels.cpu().numpy()
        if len(labels) and labels.max() >= self.num_classes:
            raise ValueError(
                f"a predicted label is {labels.max()}, expected below {self.num_classes}"
            )
        object_of_point, object_class = self._objects(semantic, instances)
        num_objects = len(object_class)
        sizes = np.bincount(object_of_point, minlength=num_objects + 1)[:num_objects]
        masks = predicted.masks.cpu().numpy()
        # (P, objects + 1) points in common; the last column is what is to be ignored
        common = np.array(
            [np.bincount(object_of_point[mask], minlength=num_objects + 1) for mask in masks]
        ).reshape(len(masks), num_objects + 1)
        lengths = common.sum(axis=1)
        scores = predicted.scores.cpu().numpy().astype(np.float64)
        for each in self.classes:
            rows = (labels == each) & (lengths >= self.min_points)
            columns = np.flatnonzero(object_class == each)
            large = sizes[columns] >= self.min_points
            self._num_objects[each] += int(large.sum())
            shared = common[np.ix_(rows, columns)]
            union = lengths[rows, None] + sizes[None, columns] - shared
            small = shared[:, ~large].sum(axis=1)
            ignored = (common[rows, -1] + small) / lengths[rows]
            for overlap, sums in self._scores[each].items():
                _match(sums, shared / union > overlap, large, ignored > overlap, scores[rows])

    def _objects(self, semantic: Tensor, instances: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The object of each point (N,), the number of objects where there is none, and the class
        of each object, sorted by class and then by instance."""
        label, number = semantic.cpu().numpy(), instances.cpu().numpy()
        belongs = np.isin(label, self.classes) & (number >= 0)
        width = int(number.max(initial=0)) + 1
        keys, place = np.unique(label[belongs] * width + number[belongs], return_inverse=True)
        object_of_point = np.full(len(label), len(keys), dtype=np.int64)
        object_of_point[belongs] = place
        return object_of_point, keys // width

    def table(self) -> dict[int, dict[float, float]]:
        """AP by class and overlap; nan for a class without an object."""
        return {
            each: {
                overlap: average_precision(sums.hits, sums.misses, self._num_objects[each])
                for overlap, sums in by_overlap.items()
            }
            for each, by_overlap in self._scores.items()
        }

    def figures(self, names: Sequence[str]) -> dict[str, float]:
        """``mAP``, ``AP50``, ``AP25``, in 0..1, and ``mAP/NAME`` and so on for each class that has
        an object; the means are nan where no class has one.

        Args:
            names: of all C classes.
        """
        kinds = {"mAP": self.overlaps, "AP50": (0.5,), "AP25": (0.25,)}
        rows = {each: row for each, row in self.table().items() if self._num_objects[each]}
        found: dict[str, float] = {}
        details: dict[str, float] = {}
        for kind, overlaps in kinds.items():
            values = [
                float(np.mean([row[overlap] for overlap in overlaps])) for row in rows.values()
            ]
            found[kind] = float(np.mean(values)) if values else float("nan")
            details |= {f"{kind}/{names[each]}": value for each, value in zip(rows, values)}
        return found | {"num_objects": sum(self._num_objects.values())} | details


def average_precision(hits: Sequence[float], misses: Sequence[float], num_objects: int) -> float:
    """Area under precision over recall, by trapezoids from (recall 0, precision 1).

    Args:
        hits: scores of true positives, at most one for an object.
        misses: scores of false positives.
        num_objects: found or not.

    Returns:
        0..1; nan where there is no object.

    Example:
        >>> average_precision([0.8], [0.9], 1)  # a miss comes first: (0, 1), (0, 0), (1, 1/2)
        0.25
    """
    if num_objects == 0:
        return float("nan")
    scores = np.array([*hits, *misses], dtype=np.float64)
    true = np.arange(len(scores)) < len(hits)
    order = np.argsort(-scores, kind="stable")
    scores, true = scores[order], true[order]
    last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # of those of equal score
    found, seen = np.cumsum(true)[last], np.flatnonzero(last) + 1
    precision = np.concatenate([[1.0], found / seen])
    recall = np.concatenate([[0.0], found / num_objects])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def _match(
    sums: _Scores, finds: np.ndarray, large: np.ndarray, ignored: np.ndarray, scores: np.ndarray
) -> None:
    """Adds one class of a scene at one overlap.

    Args:
        sums: to add to.
        finds: (P, G) bool, whether the prediction, by falling score, finds the object.
        large: (G,) bool, objects that count.
        ignored: (P,) bool, predictions that are no false positives when they find nothing.
        scores: (P,)
    """
    taken = np.zeros(len(scores), dtype=bool)
    for column in np.flatnonzero(large):
        free = np.flatnonzero(finds[:, column] & ~taken)
        if len(free):
            taken[free[0]] = True
            sums.hits.append(float(scores[free[0]]))
            sums.misses.extend(scores[free[1:]].tolist())
    sums.misses.extend(scores[~finds.any(axis=1) & ~ignored].tolist())
