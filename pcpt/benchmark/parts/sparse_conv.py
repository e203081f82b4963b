"""Single sparse convolutions of a U-Net: against plain PyTorch, other libraries and their GEMMs."""

import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pcpt.benchmark.baselines.gemms import ConvShape, Gemms
from pcpt.benchmark.baselines.layers import LIBRARIES, Layer, LayerTask, Library
from pcpt.benchmark.baselines.plain_conv import gather_multiply_scatter, tap_pairs
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.compare import TOLERANCE, compare_all
from pcpt.benchmark.inputs import room_voxels
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.sparse import Conv3d, ConvTranspose3d, KernelMaps, SparseTensor

GEMMS, PLAIN = "its GEMMs alone", "plain PyTorch"
# kind, C_in, C_out, level of the finer side: layers of res16unet34c
LAYERS = (
    ("submanifold", 32, 32, 0),
    ("submanifold", 96, 96, 0),
    ("submanifold", 128, 128, 1),
    ("submanifold", 256, 256, 2),
    ("strided", 32, 32, 0),
    ("transposed", 96, 96, 0),
)


class Problem:
    """One layer with its voxels, input and gradient, in pcpt's row order."""

    def __init__(
        self, voxels: Tensor, kind: str, width_in: int, width_out: int, dtype: torch.dtype
    ) -> None:
        self.maps = KernelMaps(voxels)
        fine, coarse = voxels, voxels
        module: nn.Module
        if kind == "submanifold":
            module = Conv3d(width_in, width_out, 3)
            kernel_map = self.maps.get(1, 1, 3)
        else:
            stride = Conv3d if kind == "strided" else ConvTranspose3d
            module = stride(width_in, width_out, 2, stride=2)
            kernel_map = self.maps.get(1, 2, 2)
            coarse = self.maps.coordinates(2)
        self.module = module.to(voxels.device, dtype)
        self.weight: Tensor = self.module.get_parameter("weight")
        self.neighbors = kernel_map.inverse if kind == "transposed" else kernel_map.neighbors
        self.stride_in = 2 if kind == "transposed" else 1
        num_in = len(coarse if kind == "transposed" else fine)
        options = {"device": voxels.device, "dtype": dtype}
        self.features = torch.randn(num_in, width_in, **options).requires_grad_()  # type: ignore[call-overload]
        self.grad = torch.randn(self.neighbors.shape[1], width_out, **options)  # type: ignore[call-overload]
        cells = coarse.clone()
        if kind != "submanifold":
            cells[:, 1:] //= 2
        self.task = LayerTask(kind, fine, cells, module.kernel_size, width_in, width_out)  # type: ignore[arg-type]
        pairs = tuple((self.neighbors >= 0).sum(1).tolist())
        self.shape = ConvShape(pairs, width_in, width_out)

    def own(self, features: Tensor, weight: Tensor, ordered: bool) -> Tensor:
        """pcpt's layer; its weight is a parameter already."""
        coordinates = self.maps.coordinates(self.stride_in)
        x = SparseTensor(features, coordinates, self.stride_in, self.maps)
        return self.module(x).features

    def plain(self) -> Layer:
        """The same in plain PyTorch, on pairs made beforehand."""
        pairs, num_out = tap_pairs(self.neighbors), self.neighbors.shape[1]

        def run(features: Tensor, weight: Tensor, ordered: bool) -> Tensor:
            return gather_multiply_scatter(features, weight, pairs, num_out)

        return run

    def call(self, layer: Layer, backward: bool, ordered: bool = True) -> tuple[Tensor, ...]:
        """Output, and both gradients if asked for."""
        if not backward:
            with torch.no_grad():
                return (layer(self.features, self.weight, ordered),)
        out = layer(self.features, self.weight, ordered)
        return (out.detach(), *torch.autograd.grad(out, (self.features, self.weight), self.grad))


def cases(settings: Settings) -> Iterator[Case]:
    """Layers on generated rooms, forward, and with backward."""
    voxels = room_voxels(*settings.room()).to(settings.device)
    voxels[:, 1:] -= voxels[:, 1:].amin(0) // 16 * 16  # other libraries want them from 0
    levels = KernelMaps(voxels)
    torch.manual_seed(0)
    for kind, width_in, width_out, level in LAYERS:
        stride = 2**level
        at_level = levels.coordinates(stride).clone()
        at_level[:, 1:] //= stride
        problem = Problem(at_level, kind, width_in, width_out, settings.conv_dtype)
        for backward in (False, True):
            yield _case(problem, backward, settings)


def _case(problem: Problem, backward: bool, settings: Settings) -> Case:
    shape, dtype = problem.shape, settings.conv_dtype
    per_voxel = sum(shape.pairs) / max(1, problem.neighbors.shape[1])
    name = (
        f"{problem.task.kind} {shape.in_channels} -> {shape.out_channels}, "
        f"{len(problem.features):,} -> {problem.neighbors.shape[1]:,} voxels, {per_voxel:.1f} taps "
        f"a voxel, {str(dtype).removeprefix('torch.')}, forward{' and backward' * backward}"
    )
    expected = problem.call(problem.own, backward)

    def entry(layer: Layer) -> Callable[[int], object]:
        return lambda number: problem.call(layer, backward, ordered=False)

    case = Case(
        name,
        [Alternative("pcpt", entry(problem.own))],
        floor=GEMMS,
        units=shape.flops * (3 if backward else 1) / 1e9,
        unit="GFLOP",
        goals=[Goal("share of its GEMMs' rate", 0.75, lambda result: result.share())],
    )

    def add(name: str, layer: Layer) -> None:
        case.agreements[name] = compare_all(
            problem.call(layer, backward), expected, TOLERANCE[dtype]
        )
        case.alternatives.append(Alternative(name, entry(layer)))

    add(PLAIN, problem.plain())
    gemms = Gemms([shape], dtype, settings.device, backward=backward)
    case.alternatives.append(Alternative(GEMMS, gemms))
    case.agreements[GEMMS] = Agreement("the same products, nothing gathered or summed")
    for library in LIBRARIES:
        reason = _absence(library, settings, backward)
        if not reason:
            try:
                add(library.name, library.layer(problem.task))
            except Exception as error:  # a row of its own, whatever another library raises
                reason = f"failed: {type(error).__name__}: {str(error).splitlines()[:1]}"
        if reason:
            case.absent.append((library.name, reason))
    return case


def _absence(library: Library, settings: Settings, backward: bool) -> str:
    reason = library.absence(settings.device, backward)
    if not reason and library.name == "spconv" and not settings.on_gpu:
        single = torch.get_num_threads() == 1 and os.environ.get("OMP_NUM_THREADS") == "1"
        if not single:
            return "has a data race with several threads: set OMP_NUM_THREADS=1 and --threads 1"
    return reason


PART = Part("sparse-conv", "single layers, against plain PyTorch and other libraries", cases)
