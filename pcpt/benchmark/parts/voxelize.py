"""Points to voxels: against the ways that NumPy and PyTorch offer."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.case import Agreement, Case
from pcpt.benchmark.compare import compare_exact
from pcpt.benchmark.inputs import default_scan, real_cloud, room_points
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.ops import voxelize
from pcpt.ops.kernel_map import pack_coordinates, unpack_coordinates

VOXEL_SIZES = (0.02, 0.05)


def unique_of_keys(points: Tensor, voxel_size: float) -> tuple[Tensor, Tensor]:
    """Voxels by ``torch.unique`` of their packed coordinates; see ``voxelize`` for the output."""
    unique, inverse = torch.unique(_keys(points, voxel_size), return_inverse=True)
    return unpack_coordinates(unique), inverse


def unique_of_keys_numpy(points: Tensor, voxel_size: float) -> tuple[Tensor, Tensor]:
    """The same by ``numpy.unique``."""
    unique, inverse = np.unique(_keys(points, voxel_size).numpy(), return_inverse=True)
    return unpack_coordinates(torch.from_numpy(unique)), torch.from_numpy(inverse)


def unique_of_rows(points: Tensor, voxel_size: float) -> tuple[Tensor, Tensor]:
    """The same by ``torch.unique`` of the rows, without packing."""
    unique, inverse = torch.unique(_cells(points, voxel_size), dim=0, return_inverse=True)
    return unique.int(), inverse


def _cells(points: Tensor, voxel_size: float) -> Tensor:
    grid = torch.floor(points / torch.full_like(points[:1], voxel_size)).long()
    return torch.cat((grid.new_zeros(len(grid), 1), grid), dim=1)


def _keys(points: Tensor, voxel_size: float) -> Tensor:
    return pack_coordinates(_cells(points, voxel_size))


def cases(settings: Settings) -> Iterator[Case]:
    """A room's points and a scan's points, at two sizes."""
    scan = settings.scan or default_scan()
    clouds = {
        "generated room": room_points(scale=0.1 if settings.quick else 0.7),
        f"scan {scan.name}": real_cloud(scan, settings.size(8, 1)),
    }
    for name, points in clouds.items():
        for voxel_size in VOXEL_SIZES:
            yield _case(name, points.to(settings.device), voxel_size, settings)


def _case(name: str, points: Tensor, voxel_size: float, settings: Settings) -> Case:
    # several inputs on a GPU, where one would lie in the cache: the same points in other orders
    copies = 4 if settings.on_gpu else 1
    inputs = [points, *(points[torch.randperm(len(points))] for _ in range(copies - 1))]

    def reference(number: int) -> tuple[Tensor, Tensor]:
        with references_only():
            return voxelize(inputs[number % copies], voxel_size)

    ways = {
        "torch.unique of packed keys": unique_of_keys,
        "torch.unique of rows": unique_of_rows,
    }
    if not settings.on_gpu:
        ways["numpy.unique of packed keys"] = unique_of_keys_numpy
    alternatives = [
        Alternative("pcpt", lambda number: voxelize(inputs[number % copies], voxel_size)),
        Alternative("pcpt, PyTorch reference", reference),
        *(
            Alternative(way, lambda number, call=call: call(inputs[number % copies], voxel_size))  # type: ignore[misc]
            for way, call in ways.items()
        ),
    ]
    coordinates, point_to_voxel = voxelize(points, voxel_size)
    agreements: dict[str, Agreement] = {}
    outputs = {"pcpt, PyTorch reference": reference(0)}
    outputs |= {way: call(points, voxel_size) for way, call in ways.items()}
    for way, (found, inverse) in outputs.items():
        agreements[way] = compare_exact((found, coordinates), (inverse, point_to_voxel))
    moved = sum(t.numel() * t.element_size() for t in (points, coordinates, point_to_voxel))
    return Case(
        f"{name}: {len(points):,} points to {len(coordinates):,} voxels of {voxel_size} m",
        alternatives,
        agreements,
        moved_bytes=moved,
        units=len(points) / 1e6,
        unit="M points",
    )


PART = Part("voxelize", "points to voxels, against unique of torch and NumPy", cases)
