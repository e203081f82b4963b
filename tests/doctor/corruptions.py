"""Healthy scans made ill, one fault at a time, by seed: what the doctor is rated on."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pcpt.data.frame import Frame, LostPose, Scan
from pcpt.geometry.camera import Camera

FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


class Altered(Scan):
    """A part of a scan with every frame passed through ``change(place, frame) -> frame``."""

    def __init__(
        self, scan: Scan, names: list[str], change: Callable[[int, Frame], Frame] | None = None
    ) -> None:
        self.name, self.names, self.up = scan.name, names, scan.up
        self._scan, self._change = scan, change

    def load(self, name: str) -> Frame:
        frame = self._scan.load(name)
        return self._change(self.names.index(name), frame) if self._change else frame


class Cached(Scan):
    """A scan that is decoded once."""

    def __init__(self, scan: Scan) -> None:
        self.name, self.names, self.up = scan.name, list(scan.names), scan.up
        self._frames = {name: scan.load(name) for name in self.names}

    def load(self, name: str) -> Frame:
        return self._frames[name]


def posed(frame: Frame, pose: Tensor) -> Frame:
    """The frame with its depth camera at another pose, the colour camera mounted as before."""
    mounted = torch.linalg.solve(
        frame.depth_camera.camera_to_world, frame.color_camera.camera_to_world
    )
    depth = replace(frame.depth_camera, camera_to_world=pose)
    return replace(
        frame,
        depth_camera=depth,
        color_camera=replace(frame.color_camera, camera_to_world=pose @ mounted),
    )


def part(scan: Scan, rng: random.Random, least: float) -> list[str]:
    """Consecutive frames, at least such a share of all."""
    count = rng.randint(math.ceil(least * len(scan.names)), len(scan.names))
    start = rng.randint(0, len(scan.names) - count)
    return list(scan.names[start : start + count])


def poses_inverted(scan: Scan, rng: random.Random) -> Scan:
    return Altered(
        scan,
        part(scan, rng, 0.6),
        lambda _, f: posed(f, torch.linalg.inv(f.depth_camera.camera_to_world)),
    )


def axes_opengl(scan: Scan, rng: random.Random) -> Scan:
    return Altered(
        scan, part(scan, rng, 0.6), lambda _, f: posed(f, f.depth_camera.camera_to_world @ FLIP)
    )


def depth_scale(scan: Scan, rng: random.Random) -> Scan:
    factor = rng.choice([1000.0, 1e-3, 10.0, 5.0, 0.2, 4.0, 0.25, 2.0, 0.5, 1.5])
    return Altered(scan, part(scan, rng, 0.6), lambda _, f: replace(f, depth=f.depth * factor))


def intrinsics_size(scan: Scan, rng: random.Random) -> Scan:
    factor = rng.choice([2.0, 0.5, 1296 / 640, 640 / 1296, 1.5, 0.75, 1.25, 3.0, 0.8])

    def scaled(camera: Camera) -> Camera:
        return replace(
            camera, intrinsics=camera.intrinsics * torch.tensor([[factor], [factor], [1.0]])
        )

    def change(_: int, frame: Frame) -> Frame:
        return replace(
            frame,
            color_camera=scaled(frame.color_camera),
            depth_camera=scaled(frame.depth_camera),
        )

    return Altered(scan, part(scan, rng, 0.6), change)


def color_unregistered(scan: Scan, rng: random.Random) -> Scan:
    """Colour read as if taken by the depth camera (where they differ), or by a camera that zooms
    and looks elsewhere."""
    apart = not torch.equal(
        scan.load(scan.names[0]).color_camera.intrinsics,
        scan.load(scan.names[0]).depth_camera.intrinsics,
    )
    if apart:
        return Altered(
            scan, part(scan, rng, 0.5), lambda _, f: replace(f, color_camera=f.depth_camera)
        )
    zoom = rng.choice([-1, 1]) * rng.uniform(0.05, 0.15)
    shift = [rng.choice([-1, 1]) * rng.uniform(5, 20) for _ in range(2)]

    def change(_: int, frame: Frame) -> Frame:
        k = frame.color_camera.intrinsics.clone()
        k[0, 0] *= 1 + zoom
        k[1, 1] *= 1 + zoom
        k[:2, 2] += torch.tensor(shift, dtype=torch.float64)
        return replace(frame, color_camera=replace(frame.color_camera, intrinsics=k))

    return Altered(scan, part(scan, rng, 0.6), change)


def time_shift(scan: Scan, rng: random.Random) -> Scan:
    """Poses, or colour images, of frames somewhat earlier or later."""
    names = part(scan, rng, 0.6)
    shift = rng.choice([-1, 1]) * rng.choice([1, 1, 2, 3, 5, 8])
    of_color = rng.random() < 0.3
    shift = max(-4, min(4, shift)) if of_color else shift

    def change(place: int, frame: Frame) -> Frame:
        other = scan.load(names[min(max(place + shift, 0), len(names) - 1)])
        if of_color:
            return replace(frame, image=other.image)
        return posed(frame, other.depth_camera.camera_to_world)

    return Altered(scan, names, change)


def tracking_lost(scan: Scan, rng: random.Random) -> Scan:
    """A stretch of the recording without poses, with frozen ones, or somewhere else."""
    names = part(scan, rng, 0.7)
    length = round(len(names) * rng.uniform(0.08, 0.4))
    start = rng.randint(1, len(names) - length)
    kind = rng.choice(["none", "frozen", "random"])

    def change(place: int, frame: Frame) -> Frame:
        if not start <= place < start + length:
            return frame
        if kind == "none":
            raise LostPose(f"pose of {frame.name}: -inf")
        if kind == "frozen":
            return posed(frame, scan.load(names[start - 1]).depth_camera.camera_to_world)
        noise = torch.Generator().manual_seed(place)
        axis, _ = torch.linalg.qr(torch.randn(3, 3, generator=noise, dtype=torch.float64))
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = axis * torch.linalg.det(axis).sign()
        pose[:3, 3] = torch.randn(3, generator=noise, dtype=torch.float64) * 2
        return posed(frame, pose)

    return Altered(scan, names, change)


FAULTS: dict[str, Callable[[Scan, random.Random], Scan]] = {
    "poses_inverted": poses_inverted,
    "axes_opengl": axes_opengl,
    "depth_scale": depth_scale,
    "intrinsics_size": intrinsics_size,
    "color_unregistered": color_unregistered,
    "time_shift": time_shift,
    "tracking_lost": tracking_lost,
    "healthy": lambda scan, rng: Altered(scan, part(scan, rng, 0.5)),
}
