"""Kernel maps: one of 3 x 3 x 3, and all of a U-Net, kernel against reference."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.case import Case, Goal
from pcpt.benchmark.compare import compare_exact
from pcpt.benchmark.inputs import room_voxels
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative, kernel_seconds
from pcpt.ops import kernel_map
from pcpt.ops.kernel_map import kernel_offsets
from pcpt.sparse import KernelMap, KernelMaps
from pcpt.students.sparse_unet import NUM_LEVELS

REFERENCE = "pcpt, PyTorch reference"
GPU_SECONDS = 0.3e-3  # for 110k voxels


def one_map(coordinates: Tensor, offsets: Tensor) -> list[Tensor]:
    """The submanifold map of some taps."""
    return [kernel_map(coordinates, coordinates, offsets)]


def all_maps(coordinates: Tensor) -> list[Tensor]:
    """Both directions of every map of a U-Net."""
    return [side for found in unet_maps(coordinates) for side in (found.neighbors, found.inverse)]


def unet_maps(coordinates: Tensor) -> list[KernelMap]:
    """Every kernel map that a forward and backward pass of the sparse U-Net uses."""
    maps = KernelMaps(coordinates)
    found = []
    for level in range(NUM_LEVELS + 1):
        stride = 2**level
        found.append(maps.get(stride, stride, 3))
        if level < NUM_LEVELS:
            found.append(maps.get(stride, 2 * stride, 2))
    return found


def cases(settings: Settings) -> Iterator[Case]:
    """Generated rooms of 110k voxels at 2 cm and 32k at 5 cm."""
    for voxel_size, count in ((0.02, 110_000), (0.05, 32_000)):
        voxels = room_voxels(voxel_size, settings.size(count, 400)).to(settings.device)
        name = f"{len(voxels):,} voxels of {voxel_size} m"
        offsets = kernel_offsets(3).to(settings.device)
        out = kernel_map(voxels, voxels, offsets)
        yield _case(
            f"3 x 3 x 3, {name}, {float((out >= 0).sum()) / len(voxels):.1f} taps a voxel",
            partial(one_map, offsets=offsets),
            voxels,
            voxels.numel() * 4 + out.numel() * 4,
            settings,
        )
        maps = unet_maps(voxels)
        moved = 4 * sum(m.neighbors.numel() for m in maps) + 2 * voxels.numel() * 4
        yield _case(
            f"all maps of a U-Net, {name}",
            all_maps,
            voxels,
            moved,
            settings,
        )


def _case(
    name: str,
    make: Callable[[Tensor], list[Tensor]],
    voxels: Tensor,
    moved: int,
    settings: Settings,
) -> Case:
    copies = 4 if settings.on_gpu else 1
    inputs = [voxels.clone() for _ in range(copies)]
    for number, shifted in enumerate(inputs):
        shifted[:, 1] += 16 * number  # by whole cells of every level

    def reference(number: int) -> list[Tensor]:
        with references_only():
            return make(inputs[number % copies])

    goals = [Goal("times the reference's time", 2.2, lambda result: result.ratio(REFERENCE))]
    if settings.on_gpu and name.startswith("3 x 3 x 3") and len(voxels) > 100_000:
        per_map = Goal("maps a second", 1 / GPU_SECONDS, lambda result: result.rate("pcpt"))
        goals.append(per_map)
    notes = ["limit: coordinates read once, every map written once in one direction"]
    if settings.on_gpu:
        make(voxels)
        spent = 1e3 * kernel_seconds(lambda number: make(inputs[number % copies]))
        notes.append(f"kernels only, by the profiler: {spent:.3f} ms a call")
    return Case(
        name,
        [
            Alternative("pcpt", lambda number: make(inputs[number % copies])),
            Alternative(REFERENCE, reference),
        ],
        {REFERENCE: compare_exact(*zip(reference(0), make(voxels)))},
        moved_bytes=moved,
        units=1.0,
        unit="maps" if name.startswith("3") else "U-Nets",
        goals=goals,
        notes=notes,
    )


PART = Part("kernel-map", "neighbour tables of sparse convolutions, against the reference", cases)
