"""One scan, one diagnosis: cheap and certain signs first, then what the images say."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pcpt.data.files import WrongIntrinsics
from pcpt.data.frame import Scan
from pcpt.data.images import WrongSize
from pcpt.doctor.color import SHIFTS as COLOR_SHIFTS
from pcpt.doctor.color import (
    ColorCamera,
    Correspondence,
    Photometry,
    correspond,
    displacement,
    sees_depth,
)
from pcpt.doctor.diagnosis import Diagnosis
from pcpt.doctor.geometry import Geometry
from pcpt.doctor.observations import Observations, Unreadable, observe
from pcpt.doctor.tracking import LOST_SHARE, find_lost_tracking

# Another colour camera lowers the disagreement by a share, on pairs of frames that it was not
# estimated on, and moves half of the points by some pixels, at 640 pixels of width. Colour is
# called unregistered if that share, and its product with the pixels, are above these. Healthy scans
# reach 0.19 and 0.7: calibrations are never perfect.
COLOR_SHARE, COLOR_PIXELS = 0.12, 1.0
# Focal length and principal point off by one factor, to so much (logarithm), and by at least so
# much: intrinsics for another size.
SAME_FACTOR, OTHER_SIZE = 0.07, 0.2
SHIFT_MARGIN = 0.2  # the same share for colour of another frame
# Frames whose intrinsics differ by more were not taken by one camera, which could be estimated.
ONE_CAMERA = 0.01


@dataclass(frozen=True, eq=False)
class Examination:
    """Attributes:
    diagnosis: the verdict with its evidence and remedy.
    observations: what it rests on; None where the images could not be read.
    mended: the same with the remedy applied, where it can be.
    """

    diagnosis: Diagnosis
    observations: Observations | None = None
    mended: Observations | None = None


def examine(scan: Callable[[], Scan] | Scan) -> Examination:
    """Looks at a scan and says what is wrong with it, or that nothing is.

    Args:
        scan: an open scan, or what opens it: some faults show in opening.

    Raises:
        ValueError: fewer than two frames can be read, and not for a fault that the doctor knows.
    """
    try:
        observations = observe(scan() if callable(scan) else scan)
    except WrongIntrinsics as error:
        return Examination(_wrong_intrinsics(error))
    except Unreadable as error:
        return Examination(_unreadable(error))
    return _examine(observations)


def _examine(observations: Observations) -> Examination:
    lost, tracking = find_lost_tracking(observations)
    evidence: dict[str, Any] = {"frames": len(observations.names), "tracking": tracking}
    if observations.without_depth:
        evidence["frames_without_depth"] = len(observations.without_depth)
        evidence["frames_without_depth_names"] = observations.without_depth[:20]
    if observations.damaged:
        evidence["damaged_frames"] = observations.damaged[:20]
    if len(observations.wrong_size) > 0.5 * observations.num_looked_at:
        return Examination(_wrong_size(observations.wrong_size), observations)
    if len(observations.lost) > LOST_SHARE * observations.num_looked_at:
        return _lost(observations, evidence)

    geometry = Geometry(observations)
    reading, mended = geometry.best()
    evidence["depth_agreement"] = geometry.own
    if reading.verdict != "healthy":
        evidence |= {"depth_agreement_mended": mended, **reading.evidence}
        diagnosis = Diagnosis(reading.verdict, evidence, reading.remedy)
        return Examination(diagnosis, observations, reading.applied_to(observations))
    if lost:
        return _lost(observations, evidence)
    return _examine_color(observations, evidence)


def _examine_color(observations: Observations, evidence: dict[str, Any]) -> Examination:
    if not sees_depth(observations):
        evidence["color"] = "no depth pixel is seen by the colour camera"
        remedy: dict[str, Any] = {"correct_color_camera_or_depth_to_color": True}
        return Examination(Diagnosis("color_unregistered", evidence, remedy), observations)
    generator = torch.Generator().manual_seed(0)
    pairs = correspond(observations, generator)
    rows = torch.arange(len(pairs.first))
    fit, check = pairs.take(rows[::2]), pairs.take(rows[1::2])
    photometry, unchanged = Photometry(observations), ColorCamera.unchanged()
    now = photometry.mean(check, unchanged)
    if len(rows) < 4 or now != now:
        evidence["color"] = "no two frames see the same place, so colour could not be judged"
        return Examination(Diagnosis("healthy", evidence), observations)
    camera = photometry.estimate(fit)
    mended = photometry.mean(check, camera)
    moved, moved_most = displacement(observations, pairs, camera)
    shifts = _color_shifts(photometry, pairs)
    shift = min(shifts, key=lambda key: shifts[key])
    evidence["color"] = {
        "disagreement": now,
        "disagreement_mended": mended,
        "moved_pixels_median": moved,
        "moved_pixels_most": moved_most,
        "disagreement_by_shift": {str(key): value for key, value in shifts.items()},
        "pairs": len(rows),
    }
    if shift != 0 and shifts[shift] < (1 - SHIFT_MARGIN) * shifts[0] and shifts[shift] < mended:
        remedy = {"shift_color_by_frames": shift}
        return Examination(Diagnosis("time_shift", evidence, remedy), observations)
    spread = observations.color_intrinsics_spread
    if spread > ONE_CAMERA:
        evidence["color"]["camera"] = (
            f"not judged: intrinsics of frames differ by up to {spread:.1%}, so that one camera "
            "cannot be estimated for all"
        )
        return Examination(Diagnosis("healthy", evidence), observations)
    pixels = moved / observations.color_camera.width * 640
    share = 1 - mended / max(now, 1e-6)
    if share > COLOR_SHARE and share * pixels > COLOR_PIXELS:
        diagnosis = _color_fault(observations, camera, evidence)
        return Examination(diagnosis, observations, camera.applied_to(observations))
    return Examination(Diagnosis("healthy", evidence), observations)


def _color_shifts(photometry: Photometry, pairs: Correspondence) -> dict[int, float]:
    """Disagreement when each frame takes the colour of the frame so many rows later."""
    unchanged = ColorCamera.unchanged()
    means = {
        shift: photometry.mean(pairs, unchanged, shift=shift)
        for shift in range(-COLOR_SHIFTS, COLOR_SHIFTS + 1)
    }
    return {shift: mean for shift, mean in means.items() if mean == mean}


def _color_fault(
    observations: Observations, estimate: ColorCamera, evidence: dict[str, Any]
) -> Diagnosis:
    camera, depth_to_color = estimate.camera(observations)
    remedy: dict[str, Any] = {
        "color_camera": {
            "width": camera.width,
            "height": camera.height,
            "fx": float(camera.intrinsics[0, 0]),
            "fy": float(camera.intrinsics[1, 1]),
            "cx": float(camera.intrinsics[0, 2]),
            "cy": float(camera.intrinsics[1, 2]),
            "tx": float(depth_to_color[0, 3]),
            "ty": float(depth_to_color[1, 3]),
            "tz": float(depth_to_color[2, 3]),
        },
        "depth_to_color": depth_to_color.tolist(),
    }
    factors = (camera.intrinsics / observations.color_camera.intrinsics)[[0, 0, 1], [0, 2, 2]]
    factor = float(factors.mean())
    same = float((factors / factor).log().abs().max()) < SAME_FACTOR
    if same and abs(math.log(factor)) > OTHER_SIZE:
        remedy["multiply_color_intrinsics_by"] = factor
        return Diagnosis("intrinsics_size", evidence, remedy)
    return Diagnosis("color_unregistered", evidence, remedy)


def _lost(observations: Observations, evidence: dict[str, Any]) -> Examination:
    remedy: dict[str, Any] = {"record_again_or_leave_out": True}
    if observations.lost:
        remedy["frames_without_pose_are_skipped"] = True
    return Examination(Diagnosis("tracking_lost", evidence, remedy), observations)


def _wrong_intrinsics(error: WrongIntrinsics) -> Diagnosis:
    height, width = error.size
    k = error.intrinsics
    factor = (width / (2 * float(k[0, 2])), height / (2 * float(k[1, 2])))
    scaled = k.clone()
    scaled[0] *= factor[0]
    scaled[1] *= factor[1]
    evidence = {
        "principal_point": [float(k[0, 2]), float(k[1, 2])],
        "image_size": [height, width],
        "message": str(error),
    }
    return Diagnosis("intrinsics_size", evidence, {"intrinsics": scaled.tolist()})


def _wrong_size(refused: list[WrongSize]) -> Diagnosis:
    first = refused[0]
    factor = [first.found[i] / first.expected[i] for i in (0, 1)]
    evidence = {
        "image_size": list(first.found),
        "camera_size": list(first.expected),
        "frames": len(refused),
        "message": str(first),
    }
    remedy = {"multiply_intrinsics_by": [factor[1], factor[0]], "size": list(first.found)}
    return Diagnosis("intrinsics_size", evidence, remedy)


def _unreadable(error: Unreadable) -> Diagnosis:
    if error.wrong_size:
        return _wrong_size(error.wrong_size)
    if error.lost:
        evidence = {
            "frames_without_pose": len(error.lost),
            "frames_without_pose_names": error.lost[:20],
        }
        return Diagnosis("tracking_lost", evidence, {"record_again_or_leave_out": True})
    reasons = "; ".join(error.damaged[:3]) or "it lists fewer than two"
    raise ValueError(f"no two frames of the scan can be read: {reasons}")
