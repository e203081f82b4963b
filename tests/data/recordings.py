"""A recording that exists in memory only: a textured room corner seen by a moving camera. Frames
can be broken on purpose."""

from dataclasses import dataclass, field

import torch

from pcpt.data.frame import BrokenFrame, Frame, Scan
from pcpt.geometry.camera import Camera
from pcpt.registry import register

HEIGHT, WIDTH = 48, 64


class MemoryScan(Scan):
    """``length`` frames along a line; those listed in ``broken`` cannot be loaded."""

    def __init__(self, name: str, length: int, broken: list[int], held_out: list[int]) -> None:
        self.name = name
        self.names = [f"{i:04d}" for i in range(length)]
        self.broken = {f"{i:04d}" for i in broken}
        self.held_out = frozenset(f"{i:04d}" for i in held_out)
        self.up = torch.tensor([0.0, -1.0, 0.0])

    def load(self, name: str) -> Frame:
        if name in self.broken:
            raise BrokenFrame(f"{name}.png is cut short")
        pose = torch.eye(4)
        pose[0, 3] = 0.05 * int(name)
        camera = Camera([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]], HEIGHT, WIDTH, pose)
        v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
        # two walls that meet at x = 0.5, z = 3: z = 3 - |x - 0.5| solved along each ray
        ray = (u - 31.5) / 50
        start = pose[0, 3] - 0.5
        z = torch.where(
            start + ray * 3 > 0, (3 - start) / (1 + ray), (3 + start) / (1 - ray)
        ).float()
        x, y = start + ray * z, (v - 23.5) / 50 * z
        color = torch.stack([torch.sin(7 * x), torch.sin(11 * y), torch.sin(5 * (x + y))])
        image = ((color + 1) * 127).to(torch.uint8)
        return Frame(name, image, z, camera, camera)


@register("datasets", "memory")
class MemorySource:
    """Opens one ``MemoryScan`` for each of ``lengths``."""

    @dataclass
    class Config:
        name: str = "memory"
        lengths: list[int] = field(default_factory=lambda: [6])
        broken: list[int] = field(default_factory=list)
        held_out: list[int] = field(default_factory=list)

    def __init__(self, config: Config) -> None:
        self.config = config

    def open(self) -> list[Scan]:
        return [
            MemoryScan(f"room{i}", n, list(self.config.broken), list(self.config.held_out))
            for i, n in enumerate(self.config.lengths)
        ]
