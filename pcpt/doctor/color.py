"""Whether colour lies where the scan says: the same place seen from two frames should have the same
grey, and the colour camera under which it does best is estimated from that.

The measure is 1 - correlation of grey values at corresponding points, mean over pairs of frames
whose depth agrees; correlation, because exposure changes from frame to frame.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pcpt.doctor.agreement import TOLERANCE, agreement, carry, frame_pairs, relative_poses
from pcpt.doctor.observations import Observations
from pcpt.geometry.camera import Camera

GAPS = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80)
OVERLAP = 0.35  # least agreement of depth of a pair that colours are compared on
PAIRS = 64
POINTS = 500  # of each pair
SHIFTS = 6  # frames that colour may be early or late
BLURS = (6.0, 2.5, 1.0)  # pixels of the reduced image, coarse to fine


@dataclass(frozen=True, eq=False)
class ColorCamera:
    """What may be wrong about the colour camera.

    Attributes:
        values: (5,) float64: logarithm of the focal length's factor; shift of the principal point
            right and down, pixels of the reduced image; shift of the camera right and down, metres.
    """

    values: Tensor

    @classmethod
    def unchanged(cls) -> "ColorCamera":
        return cls(torch.zeros(5, dtype=torch.float64))

    def project(self, observations: Observations, rows: Tensor, points: Tensor) -> Tensor:
        """(M, P, 2) pixels of the reduced images of frames ``rows`` (M,), of (M, P, 3) points of
        their depth cameras."""
        k = observations.color_intrinsics[rows].float()
        log_focal, right, down, x, y = self.values.float().unbind()
        pose = observations.depth_to_color.float()
        seen = points @ pose[:3, :3].T + pose[:3, 3] - torch.stack((x, y, torch.zeros_like(x)))
        z = seen[..., 2].clamp(min=1e-3)
        factor = log_focal.exp()
        u = seen[..., 0] / z * k[:, 0, 0, None] * factor + k[:, 0, 2, None] + right
        v = seen[..., 1] / z * k[:, 1, 1, None] * factor + k[:, 1, 2, None] + down
        return torch.stack((u, v), dim=-1)

    def camera(self, observations: Observations) -> tuple[Camera, Tensor]:
        """In full size: the camera with its pose left at identity, and depth_to_color (4, 4)."""
        old = observations.color_camera
        full = old.width / observations.grey.shape[2]
        log_focal, right, down, x, y = self.values.tolist()
        k = old.intrinsics.clone()
        k[0, 0] *= torch.tensor(log_focal).exp()
        k[1, 1] *= torch.tensor(log_focal).exp()
        k[0, 2] += right * full
        k[1, 2] += down * full
        pose = observations.depth_to_color.clone()
        pose[:2, 3] -= torch.tensor([x, y], dtype=torch.float64)
        identity = torch.eye(4, dtype=torch.float64)
        return replace(old, intrinsics=k, camera_to_world=identity), pose

    def applied_to(self, observations: Observations) -> Observations:
        """The observations of a scan with this colour camera."""
        camera, pose = self.camera(observations)
        grey = observations.color_intrinsics.clone()
        grey[:, :2, :2] *= self.values[0].exp()
        grey[:, :2, 2] += self.values[1:3]
        return replace(
            observations, color_camera=camera, color_intrinsics=grey, depth_to_color=pose
        )


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Points seen in both frames of every pair: (M, P, 3) in either depth camera, (M, P) valid."""

    first: Tensor
    second: Tensor
    here: Tensor
    there: Tensor
    valid: Tensor

    def take(self, rows: Tensor) -> "Correspondence":
        return Correspondence(
            self.first[rows], self.second[rows], self.here[rows], self.there[rows], self.valid[rows]
        )


def sees_depth(observations: Observations) -> bool:
    """Whether any measured pixel of depth falls into the colour image."""
    rows = torch.arange(len(observations.names))
    still = torch.eye(4).expand(len(rows), 4, 4)
    points, _, _, present, _ = carry(observations, rows, rows, still)
    pose = observations.depth_to_color.float()
    front = points @ pose[2, :3] + pose[2, 3] > 0
    pixel = ColorCamera.unchanged().project(observations, rows, points)
    return bool((present & front & _within(observations.grey, pixel)).any())


def correspond(observations: Observations, generator: torch.Generator) -> Correspondence:
    """The pairs of frames whose views differ most among those whose depth agrees well."""
    first, second = frame_pairs(observations, GAPS, per_gap=60)
    overlap = agreement(observations, first, second)
    poses = observations.camera_to_world
    relative = relative_poses(poses, first, second)
    cosine = (relative[:, :3, :3].diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    depth = observations.depth[observations.depth > 0].median()
    motion = cosine.clamp(-1, 1).arccos() + relative[:, :3, 3].norm(dim=1) / depth
    bar = min(OVERLAP, 0.8 * float(overlap.quantile(0.8))) if len(overlap) else 0.0
    chosen = torch.where(overlap >= bar, motion, -1.0).argsort(descending=True, stable=True)
    chosen = chosen[: min(PAIRS, int((overlap >= bar).sum()))]
    first, second, relative = first[chosen], second[chosen], relative[chosen]
    here, there, measured, present, _ = carry(observations, first, second, relative)
    valid = present & ((there[..., 2] - measured).abs() < TOLERANCE * measured)
    weight = valid.float() + 1e-6 * torch.rand(valid.shape, generator=generator)
    weight = weight * torch.rand(valid.shape, generator=generator)
    points = weight.topk(min(POINTS, weight.shape[1]), dim=1).indices
    index = points[..., None].expand(-1, -1, 3)
    return Correspondence(
        first, second, here.gather(1, index), there.gather(1, index), valid.gather(1, points)
    )


class Photometry:
    """Grey images of the frames, blurred once each way, and the disagreement of colours on them."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations
        self._blurred: dict[float, Tensor] = {}
        self._last: tuple[object, ...] = ()
        self._images: tuple[Tensor, Tensor] | None = None

    def disagreement(
        self,
        pairs: Correspondence,
        camera: ColorCamera,
        *,
        blur: float = 1.0,
        shift: int = 0,
    ) -> Tensor:
        """1 - correlation of each pair (M,), nan where too few points fall into both images."""
        count = len(self.observations.grey)
        images = self._images_of(pairs, blur, shift)
        greys, inside = [], pairs.valid
        for rows, points, image in zip(
            (pairs.first, pairs.second), (pairs.here, pairs.there), images
        ):
            pixel = camera.project(self.observations, rows, points)
            grey, within = _sample(image, pixel)
            greys.append(grey)
            exists = (rows + shift >= 0) & (rows + shift < count)
            inside = inside & within & exists[:, None]
        return 1 - _correlation(greys[0], greys[1], inside)

    def _images_of(self, pairs: Correspondence, blur: float, shift: int) -> tuple[Tensor, Tensor]:
        """(M, H, W) images of either frame; kept, as a search asks for the same ones each time."""
        wanted = (pairs, blur, shift)
        if self._images is None or self._last != wanted:
            blurred = self.blurred(blur)
            last = len(blurred) - 1
            first, second = ((rows + shift).clamp(0, last) for rows in (pairs.first, pairs.second))
            self._images, self._last = (blurred[first], blurred[second]), wanted
        return self._images

    def mean(self, *arguments: Any, **options: Any) -> float:
        return float(self.disagreement(*arguments, **options).nanmean())

    def blurred(self, sigma: float) -> Tensor:
        """(F, H, W) grey images, smoothed by a Gaussian."""
        if sigma not in self._blurred:
            reach = int(3 * sigma)
            taps = torch.arange(-reach, reach + 1, dtype=torch.float32)
            kernel = torch.exp(-(taps**2) / (2 * sigma**2))
            kernel = kernel / kernel.sum()
            blurred = torch.empty_like(self.observations.grey)
            for image, out in zip(self.observations.grey, blurred):  # one by one, for memory's sake
                padded = F.pad(image[None, None], [reach] * 4, mode="replicate")
                tall = F.conv2d(padded, kernel[None, None, :, None])
                out.copy_(F.conv2d(tall, kernel[None, None, None, :])[0, 0])
            self._blurred[sigma] = blurred
        return self._blurred[sigma]

    def estimate(self, pairs: Correspondence) -> ColorCamera:
        """The colour camera of least disagreement: a coarse search, then descent."""
        best = min(
            _coarse(self.observations.grey.shape[2]),
            key=lambda camera: _or_worst(self.mean(pairs, camera, blur=BLURS[0])),
        )
        candidates = [self._descend(pairs, start) for start in (ColorCamera.unchanged(), best)]
        return min(candidates, key=lambda camera: _or_worst(self.mean(pairs, camera)))

    def _descend(self, pairs: Correspondence, start: ColorCamera) -> ColorCamera:
        # Steps of about a pixel in each value: the focal length moves the image's edge by a pixel
        # at 1 / half its width, the camera by a pixel at a metre and more.
        unit = torch.tensor([0.01, 1.0, 1.0, 0.005, 0.005], dtype=torch.float64)
        steps = (start.values / unit).clone().requires_grad_()
        for blur, rate in zip(BLURS, (0.6, 0.3, 0.12)):
            optimizer = torch.optim.Adam([steps], lr=rate)
            for _ in range(50):
                optimizer.zero_grad()
                values = steps * unit
                error = self.disagreement(pairs, ColorCamera(values), blur=blur).nanmean()
                # Principal point and camera position are nearly one thing: prefer small of both.
                loss = error + 1e-5 * steps[1:].square().sum()
                loss.backward()
                if steps.grad is None or not bool(steps.grad.isfinite().all()):
                    break
                optimizer.step()
        return ColorCamera((steps * unit).detach())


def displacement(
    observations: Observations, pairs: Correspondence, camera: ColorCamera
) -> tuple[float, float]:
    """Median and 90th percentile by which the camera moves points, pixels of the full image."""
    if not bool(pairs.valid.any()):
        return 0.0, 0.0
    before, after = (
        each.project(observations, pairs.first, pairs.here)[pairs.valid]
        for each in (ColorCamera.unchanged(), camera)
    )
    moved = (after - before).norm(dim=1)
    moved = moved * observations.color_camera.width / observations.grey.shape[2]
    return float(moved.median()), float(moved.quantile(0.9))


def _coarse(width: int) -> list[ColorCamera]:
    shifts = [step * width / 320 for step in (-24, -16, -8, 0, 8, 16, 24)]
    focal = torch.tensor([0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 2.0]).log().tolist()
    return [
        ColorCamera(torch.tensor([f, right, down, 0.0, 0.0], dtype=torch.float64))
        for f in focal
        for right in shifts
        for down in shifts
    ]


def _or_worst(value: float) -> float:
    return value if value == value else 2.0


def _sample(images: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear values (M, P) of (M, H, W) images at (M, P, 2) pixels, and which are within."""
    height, width = images.shape[1:]
    size = torch.tensor([width, height], dtype=torch.float32)
    grid = (pixel + 0.5) / size * 2 - 1
    values = F.grid_sample(images[:, None], grid[:, None], align_corners=False)[:, 0, 0]
    return values, _within(images, pixel)


def _within(images: Tensor, pixel: Tensor) -> Tensor:
    height, width = images.shape[1:]
    return ((pixel >= 0) & (pixel <= torch.tensor([width - 1, height - 1]))).all(-1)


def _correlation(a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
    weight = valid.float()
    count = weight.sum(1)
    enough = (count >= 60) & (count >= 0.3 * weight.shape[1] * 0.3)
    safe = count.clamp(min=1)
    a = (a - ((a * weight).sum(1) / safe)[:, None]) * weight
    b = (b - ((b * weight).sum(1) / safe)[:, None]) * weight
    spread = (a.square().sum(1) * b.square().sum(1)).clamp(min=1e-12).sqrt()
    correlation = (a * b).sum(1) / spread
    return torch.where(enough, correlation, torch.full_like(correlation, float("nan")))
