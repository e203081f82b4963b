"""Faults of poses, depth unit and intrinsics: each is a way of reading the scan, and the reading
under which neighbouring depth images agree best is the true one."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pcpt.doctor.agreement import agreement, frame_pairs
from pcpt.doctor.observations import Observations

GAPS = (1, 2, 4, 8, 16)  # how fast the camera moves is not known
SHIFTS = 12  # frames that poses may be early or late
PROBE = 4  # every so many pairs decide which readings are worth all pairs
FINALISTS = 4
# A reading beats the scan's own only if its agreement is higher by this share of itself, and by so
# many standard errors over the pairs of frames.
MARGIN, SIGNIFICANT = 0.08, 3.5
# Depth noise makes agreement flat in the unit and the focal length near their true values.
LEAST_FACTOR = 1.12
COMMON_FACTORS = (5000.0, 1000.0, 256.0, 100.0, 39.37, 10.0, 5.0, 4.0, 3.2808, 2.0)


@dataclass(frozen=True, eq=False)
class Reading:
    """One way of reading the scan.

    Attributes:
        verdict: the fault that it would mend; "healthy" is the scan's own reading.
        remedy, evidence: what to say if it is the true one.
        changes: arguments of ``agreement`` that put it into effect.
        rows: (F,) row of the frame whose pose each frame takes, -1 for none; None: its own.
    """

    verdict: str
    remedy: dict[str, Any] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    rows: Tensor | None = None

    def applied_to(self, observations: Observations) -> Observations:
        """The observations of a scan mended so; frames left without a pose keep their own."""
        poses = self.changes.get("camera_to_world", observations.camera_to_world)
        if self.rows is not None:
            poses = torch.where((self.rows >= 0)[:, None, None], poses[self.rows], poses)
        scale = torch.ones(3, 1, dtype=torch.float64)
        scale[:2] = self.changes.get("focal_factor", 1.0)
        return replace(
            observations,
            camera_to_world=poses,
            depth=observations.depth * self.changes.get("depth_factor", 1.0),
            intrinsics=observations.intrinsics * scale,
            color_intrinsics=observations.color_intrinsics * scale,
        )


class Geometry:
    """Tries every reading on one set of frame pairs.

    Attributes:
        own: mean agreement of the scan as it is.
    """

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self.first, self.second = frame_pairs(observations, GAPS)
        self._own_scores = self._scores(Reading("healthy"))
        self.own = float(self._own_scores.mean()) if len(self.first) else 0.0

    def best(self) -> tuple[Reading, float]:
        """The scan's own reading unless another is clearly better, and its mean agreement."""
        if len(self.first) == 0:
            return Reading("healthy"), 0.0
        readings = [*self._axes(), *self._shifts(), *self._orders()]
        readings += [*self._depth_factor(), *self._focal_factor()]
        readings.sort(key=self._probe, reverse=True)
        best, score = Reading("healthy"), self.own
        for reading in readings[:FINALISTS]:
            scores = self._scores(reading)
            if self._beats_own(scores) and float(scores.nanmean()) > score:
                best, score = reading, float(scores.nanmean())
        return best, score

    def _scores(self, reading: Reading, step: int = 1) -> Tensor:
        """(M,) agreement of every step-th pair, nan where the reading says nothing of it."""
        first, second = self.first[::step], self.second[::step]
        if reading.rows is None:
            return agreement(self.observations, first, second, **reading.changes)
        known = (reading.rows[first] >= 0) & (reading.rows[second] >= 0)
        scores = torch.full((len(first),), math.nan)
        poses = self.observations.camera_to_world[reading.rows]
        scores[known] = agreement(
            self.observations, first[known], second[known], camera_to_world=poses
        )
        return scores

    def _probe(self, reading: Reading) -> float:
        """Mean gain over the scan's own reading on some of the pairs."""
        gain = self._scores(reading, PROBE) - self._own_scores[::PROBE]
        return float(gain.nanmean()) if int((~gain.isnan()).sum()) >= 4 else -1.0

    def _beats_own(self, scores: Tensor) -> bool:
        known = ~scores.isnan()
        gain = (scores - self._own_scores)[known]
        if len(gain) < 8:
            return False
        error = float(gain.std()) / math.sqrt(len(gain))
        mean = float(gain.mean())
        return mean > MARGIN * float(scores[known].mean()) and mean > SIGNIFICANT * error

    def _axes(self) -> Iterator[Reading]:
        poses = self.observations.camera_to_world
        flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
        inverse = torch.linalg.inv(poses)
        invert: dict[str, Any] = {"invert_poses": True}
        turn: dict[str, Any] = {"multiply_poses_on_the_right_by": flip.tolist()}
        both = {"also": "axes_opengl"}
        for verdict, remedy, evidence, read in (
            ("poses_inverted", invert, {}, inverse),
            ("axes_opengl", turn, {}, poses @ flip),
            ("poses_inverted", invert | turn, both, inverse @ flip),
        ):
            yield Reading(verdict, remedy, evidence, {"camera_to_world": read})

    def _shifts(self) -> Iterator[Reading]:
        """Poses of the frame so many places later."""
        places = list(
            zip(self.observations.window.tolist(), self.observations.place.tolist(), strict=True)
        )
        row = {place: i for i, place in enumerate(places)}
        for shift in range(-SHIFTS, SHIFTS + 1):
            if shift != 0:
                rows = torch.tensor([row.get((w, p + shift), -1) for w, p in places])
                remedy = {"shift_poses_by_frames": shift}
                note = {"shift": shift, "means": "frame i has the pose listed for frame i + shift"}
                yield Reading("time_shift", remedy, note, rows=rows)

    def _orders(self) -> Iterator[Reading]:
        """Poses that were listed in another order than the frames."""
        names, window = self.observations.names, self.observations.window
        if len(names) < 8 or int(window[-1]) > 0:
            return  # a part of a long recording does not hold the poses to look for
        yield self._in_order("reversed", torch.arange(len(names)).flip(0))
        as_text = sorted(range(len(names)), key=lambda i: names[i])
        as_number = sorted(range(len(names)), key=lambda i: _number(names[i]))
        if as_text != as_number:
            rows = torch.empty(len(names), dtype=torch.int64)
            rows[torch.tensor(as_number)] = torch.tensor(as_text)
            yield self._in_order("names sorted as text, not as numbers", rows)
            yield self._in_order("names sorted as numbers, not as text", rows.argsort())

    def _in_order(self, order: str, rows: Tensor) -> Reading:
        return Reading("time_shift", {"order_of_poses": order}, {"order": order}, rows=rows)

    def _depth_factor(self) -> Iterator[Reading]:
        coarse = [10 ** (step / 8) for step in range(-30, 31)]  # 1/5,600 to 5,600
        factor = _near_common(self._climb("depth_factor", coarse))
        if max(factor, 1 / factor) >= LEAST_FACTOR:
            yield Reading(
                "depth_scale",
                {"multiply_depth_by": factor, "multiply_depth_scale_by": 1 / factor},
                {"depth_is_off_by_factor": 1 / factor},
                {"depth_factor": factor},
            )

    def _focal_factor(self) -> Iterator[Reading]:
        coarse = [2 ** (step / 4) for step in range(-10, 11)]  # 1/5.6 to 5.6
        factor = self._climb("focal_factor", coarse)
        height, width = self.observations.depth_size
        if max(factor, 1 / factor) >= LEAST_FACTOR:
            yield Reading(
                "intrinsics_size",
                {
                    "multiply_intrinsics_by": factor,
                    "intrinsics_are_of_size": [round(height / factor), round(width / factor)],
                },
                {"intrinsics_are_off_by_factor": 1 / factor},
                {"focal_factor": factor},
            )

    def _climb(self, name: str, coarse: list[float]) -> float:
        """The factor of the best agreement: the coarse grid on some pairs, then ever finer."""

        def score(factor: float, step: int = 1) -> float:
            return float(self._scores(Reading("", changes={name: factor}), step).mean())

        best = max(coarse, key=lambda factor: score(factor, PROBE))
        ratio = math.sqrt(coarse[1] / coarse[0])
        for _ in range(4):
            best = _best(score, (best / ratio, best, best * ratio))
            ratio = math.sqrt(ratio)
        return best


def _best(score: Callable[[float], float], factors: tuple[float, ...]) -> float:
    return max(factors, key=score)


def _near_common(factor: float) -> float:
    """The factor itself, or that of a common mistake that it cannot be told from."""
    for common in COMMON_FACTORS:
        for candidate in (common, 1 / common):
            if abs(math.log(factor / candidate)) < math.log(1.1):
                return candidate
    return factor


def _number(name: str) -> tuple[int, str]:
    digits = "".join(character for character in name if character.isdigit())
    return (int(digits) if digits else -1, name)
