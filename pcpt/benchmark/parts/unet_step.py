"""A U-Net's training step, maps included: against the plain PyTorch reference, spconv-triton and
the GEMMs of all its convolutions alone; then its largest layers against the roofline."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pcpt.benchmark.baselines.gemms import Gemms
from pcpt.benchmark.baselines.layers import LIBRARIES
from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.baselines.spconv_unet import SpconvUNet
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.compare import compare_all
from pcpt.benchmark.inputs import room_voxels
from pcpt.benchmark.parts import Part
from pcpt.benchmark.phases import MAPS, Stopwatch
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.benchmark.unet_layers import LayerRecord, record_layers
from pcpt.sparse import SparseTensor
from pcpt.students import SparseUNet

REFERENCE, GEMMS = "pcpt, PyTorch reference", "GEMMs of its convolutions alone"
LARGEST = 4
# In fp32, relative, after dozens of layers and their batch norms. In bf16 rounding alone moves
# single features that far that only their root mean square tells anything.
TOLERANCE = 1e-2
HALF_TOLERANCE = 0.5


class Step:
    """Forward and backward pass of a student in training on one set of voxels."""

    def __init__(self, settings: Settings) -> None:
        device = settings.device
        self.device = device
        self.dtype = self.arithmetic = settings.conv_dtype
        voxel_size, count, clouds = settings.room()
        voxels = room_voxels(voxel_size, count, clouds)
        voxels[:, 1:] -= voxels[:, 1:].amin(0) // 16 * 16  # other libraries want them from 0
        self.voxels = voxels.to(device)
        torch.manual_seed(0)
        variant = settings.student or "res16unet34c"
        small = {"planes": [8] * 8, "stem_channels": 8} if settings.quick else {}
        config = SparseUNet.Config(variant=variant, out_channels=0, **small)  # type: ignore[arg-type]
        self.student = SparseUNet(config).to(device).train()
        self.features = torch.randn(len(voxels), 3).to(device)
        self.grad = torch.randn(len(voxels), self.student.feature_channels).to(device)
        self.name = (
            f"{variant}, {clouds} cloud{'s' * (clouds > 1)}, {len(voxels):,} voxels of "
            f"{voxel_size} m, {str(self.dtype).removeprefix('torch.')}"
        )

    def autocast(self) -> Any:
        """Mixed precision where half precision was asked for, as the trainer has it."""
        if self.arithmetic == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.arithmetic)

    def compare(self, call: Callable[[int], tuple[Tensor, Tensor]]) -> Agreement:
        """Whether another way to take the step gives pcpt's features and gradient."""
        try:
            self.arithmetic = torch.float32
            agreement = compare_all(call(0), self.own(), TOLERANCE)
        finally:
            self.arithmetic = self.dtype
        if self.dtype == torch.float32:
            return agreement
        found, expected = call(0)[0].float(), self.own()[0].float()
        apart = float((found - expected).norm() / expected.norm())
        text = f"in fp32 {agreement.text}; here {apart:.1e} root mean square"
        return Agreement(text, agreement.agrees and apart < HALF_TOLERANCE, agreement.difference)

    def pcpt(self) -> Tensor:
        """(N, C) features; kernel maps are made anew."""
        return self.student(SparseTensor(self.features, self.voxels)).features

    def run(self, network: nn.Module, forward: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """One step: features, and the first convolution's gradient with its values sorted, since
        libraries lay weights out in different orders."""
        network.zero_grad(set_to_none=True)
        with self.autocast():
            out = forward()
        out.backward(self.grad.to(out.dtype))
        first = next(network.parameters()).grad
        assert first is not None
        return out.detach(), first.flatten().sort().values

    def own(self, number: int = 0) -> tuple[Tensor, Tensor]:
        """A step of pcpt."""
        return self.run(self.student, self.pcpt)

    def reference(self, number: int = 0) -> tuple[Tensor, Tensor]:
        """A step of pcpt without its kernels."""
        with references_only():
            return self.own()

    def phases(self, repeats: int) -> dict[str, float]:
        """Median seconds of kernel maps, forward and backward pass."""
        watch = Stopwatch(self.device)
        samples: dict[str, list[float]] = {"maps": [], "forward": [], "backward": []}
        for _ in range(repeats):
            watch.seconds.clear()
            forwards = (SparseUNet, "forward", "forward")
            with watch.around(*MAPS, forwards, (torch.Tensor, "backward", "backward")):
                self.own()
            for name, values in samples.items():
                values.append(watch.seconds[name])
        return {name: sorted(values)[repeats // 2] for name, values in samples.items()}


def cases(settings: Settings) -> Iterator[Case]:
    """The whole step, then its largest layers."""
    step = Step(settings)
    with torch.no_grad(), step.autocast():
        layers = record_layers(step.student, SparseTensor(step.features, step.voxels))
    yield _step_case(step, layers, settings)
    largest: dict[tuple[Any, ...], LayerRecord] = {}
    for layer in sorted(layers, key=lambda layer: -layer.shape.flops):
        largest.setdefault(layer.shape[:3], layer)
    for layer in list(largest.values())[:LARGEST]:
        yield _layer_case(layer, step, settings)


def _step_case(step: Step, layers: list[LayerRecord], settings: Settings) -> Case:
    shapes = [layer.shape for layer in layers]
    gemms = Gemms(shapes, step.dtype, step.device, backward=True)
    flops = 3 * sum(shape.flops for shape in shapes)
    case = Case(
        f"{step.name}, forward + backward with maps",
        [
            Alternative("pcpt", step.own),
            Alternative(REFERENCE, step.reference),
            Alternative(GEMMS, gemms),
        ],
        {
            REFERENCE: step.compare(step.reference),
            GEMMS: Agreement(f"{len(shapes)} convolutions, {flops / 1e9:.0f} GFLOP"),
        },
        floor=GEMMS,
        units=flops / 1e9,
        unit="GFLOP",
        phases=step.phases(settings.rounds(3)),
        repeats=10 if settings.on_gpu else 5,
    )
    rivals = [REFERENCE]
    for library in LIBRARIES:
        if not library.module.startswith("spconv"):
            continue
        reason = library.absence(step.device, backward=True)
        if not reason:
            try:
                _add_library(case, step, library.name, library.module)
                rivals.append(library.name)
            except Exception as error:  # a row of its own, whatever another library raises
                reason = f"failed: {type(error).__name__}: {str(error).splitlines()[:1]}"
        if reason:
            case.absent.append((library.name, reason))
    case.goals = _goals(rivals, settings)
    return case


def _add_library(case: Case, step: Step, name: str, module: str) -> None:
    """Its U-Net under the same autocast; it may choose another half precision for itself."""
    network = SpconvUNet(importlib.import_module(module), step.student).to(step.device).train()

    def run(number: int) -> tuple[Tensor, Tensor]:
        return step.run(network, lambda: network(step.features, step.voxels))

    case.agreements[name] = step.compare(run)
    case.alternatives.append(Alternative(name, run))


def _goals(rivals: list[str], settings: Settings) -> list[Goal]:
    if not settings.on_gpu:
        return [
            Goal("times the reference's time", 2.2, lambda result: result.ratio(REFERENCE)),
            Goal("share of its GEMMs' rate", 0.75, lambda result: result.share()),
        ]

    def best(result: Any) -> float | None:
        ratios = [result.ratio(name) for name in rivals]
        return min((ratio for ratio in ratios if ratio is not None), default=None)

    return [Goal(f"times the time of the best of {', '.join(rivals)}", 1.2, best)]


def _layer_case(layer: LayerRecord, step: Step, settings: Settings) -> Case:
    shape = layer.shape
    gemms = Gemms([shape], step.dtype, step.device, backward=True)
    features = layer.random_input(step.dtype).requires_grad_()
    weight = layer.module.get_parameter("weight")

    def own(number: int) -> None:
        with step.autocast():
            out = layer.forward(features)
        torch.autograd.grad(out, (features, weight), torch.ones_like(out))

    return Case(
        f"largest layers: {shape.name}, {shape.in_channels} -> {shape.out_channels}, "
        f"{sum(shape.pairs):,} pairs, forward + backward",
        [Alternative("pcpt", own), Alternative("its GEMMs alone", gemms)],
        moved_bytes=layer.moved_bytes(step.dtype),
        flops=3 * shape.flops,
        dtype=step.dtype,
        units=3 * shape.flops / 1e9,
        unit="GFLOP",
    )


PART = Part("unet-step", "training step of the sparse U-Net, maps included", cases)
