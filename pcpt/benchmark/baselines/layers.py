"""A single sparse convolution as a task for any library, and how other libraries do it. What is not
installed is told apart from what failed."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pcpt.ops.kernel_map import pack_coordinates

# A layer as a function of features, weight and whether its rows must be in pcpt's order, which
# need not be so while it is timed.
Layer = Callable[[Tensor, Tensor, bool], Tensor]


@dataclass(frozen=True)
class LayerTask:
    """A convolution and its voxels.

    Attributes:
        kind: "submanifold", "strided" (kernel 2, stride 2) or "transposed" (its way back).
        fine: (N, 4) int32 voxels of the finer side, at stride 1, not negative.
        coarse: (M, 4) int32 voxels of the coarser side in cells of 2; ``fine`` if submanifold.
        kernel_size: edge.
        in_channels: C_in.
        out_channels: C_out.
    """

    kind: str
    fine: Tensor
    coarse: Tensor
    kernel_size: int
    in_channels: int
    out_channels: int

    @property
    def spatial_shape(self) -> list[int]:
        """Even edges of a grid that holds the fine voxels."""
        return [(int(edge) + 2) // 2 * 2 for edge in self.fine[:, 1:].amax(0)]


class Library(NamedTuple):
    """Another library.

    Attributes:
        name: as shown.
        module: to import.
        make: builds the layer of a task; raises what the library raises.
        cuda_only: has no CPU kernels.
        forward_only_on_cpu: its backward pass needs CUDA.
    """

    name: str
    module: str
    make: Callable[[Any, LayerTask], Layer]
    cuda_only: bool = False
    forward_only_on_cpu: bool = False

    def absence(self, device: torch.device, backward: bool = False) -> str:
        """Why it cannot take part on a device, or nothing."""
        try:
            importlib.import_module(self.module)
        except ModuleNotFoundError:
            return "not installed"
        except Exception as error:  # a binary for another torch may raise anything
            return f"installed, but does not import: {type(error).__name__}: {error}"
        if device.type == "cpu" and self.cuda_only:
            return "runs on CUDA only"
        if device.type == "cpu" and backward and self.forward_only_on_cpu:
            return "its backward pass runs on CUDA only"
        return ""

    def layer(self, task: LayerTask) -> Layer:
        """The layer; call only where ``absence`` is empty."""
        return self.make(importlib.import_module(self.module), task)


def rows_of(coordinates: Tensor, wanted: Tensor) -> Tensor:
    """(len(wanted),) int64: where each wanted voxel stands among ``coordinates``.

    Raises:
        ValueError: the two are not the same set of voxels.
    """
    keys, order = pack_coordinates(coordinates).sort()
    sought = pack_coordinates(wanted)
    if len(keys) != len(sought) or not torch.equal(keys, sought.sort().values):
        raise ValueError(f"{len(keys)} voxels came out, expected the same {len(sought)} as pcpt's")
    return order[torch.searchsorted(keys, sought)]


def spconv_layer(library: Any, task: LayerTask) -> Layer:
    """spconv 2.x and spconv-triton, which share one interface (traveller59/spconv, docs/USAGE.md).

    Their kernels are (C_out, k, k, k, C_in) with the taps along the columns of the indices, so
    pcpt's order of taps, x slowest, is theirs when the indices are [batch, x, y, z].
    """
    size, width_in, width_out = task.kernel_size, task.in_channels, task.out_channels
    device = task.fine.device
    grid = (task.fine, task.spatial_shape, int(task.fine[:, 0].max()) + 1)
    start = library.SparseConvTensor(task.fine.new_ones((len(task.fine), 1)).float(), *grid)
    into: Tensor | slice = slice(None)
    options = {"bias": False, "indice_key": "layer"}
    with torch.no_grad():  # a first pass makes the pairs, which later layers of a network find
        if task.kind == "submanifold":
            conv = library.SubMConv3d(width_in, width_out, size, padding=size // 2, **options)
            first = library.SubMConv3d(1, 1, size, padding=size // 2, **options).to(device)
            start.indice_dict = first(start).indice_dict
        elif task.kind == "strided":  # these make their pairs each time
            conv = library.SparseConv3d(width_in, width_out, size, stride=size, bias=False)
        else:
            conv = library.SparseInverseConv3d(width_in, width_out, size, **options)
            first = library.SparseConv3d(1, 1, size, stride=size, **options).to(device)
            start = first(start)
            into = rows_of(task.coarse, start.indices)
    conv = conv.to(device)

    def run(features: Tensor, weight: Tensor, ordered: bool) -> Tensor:
        cube = weight.reshape(size, size, size, width_in, width_out).permute(4, 0, 1, 2, 3)
        x = start.replace_feature(features[into])
        # a parameter cannot be an expression, but functional_call can put one in its place
        out = torch.func.functional_call(conv, {"weight": cube.contiguous()}, (x,))
        if ordered and task.kind == "strided":
            return out.features[rows_of(out.indices, task.coarse)]
        return out.features

    return run


def minkowski_layer(library: Any, task: LayerTask) -> Layer:
    """MinkowskiEngine 0.5 (Choy et al., CVPR 2019): taps with x fastest, one coordinate manager."""
    size = task.kernel_size
    transposed = task.kind == "transposed"
    stride = 1 if task.kind == "submanifold" else size
    kind = library.MinkowskiConvolutionTranspose if transposed else library.MinkowskiConvolution
    conv = kind(
        task.in_channels, task.out_channels, kernel_size=size, stride=stride, dimension=3
    ).to(task.fine.device)
    manager = library.CoordinateManager(D=3)
    one = task.fine.new_ones((len(task.fine), 1)).float()
    fine = library.SparseTensor(one, coordinates=task.fine, coordinate_manager=manager)
    coarse = fine
    if task.kind != "submanifold":
        pool = library.MinkowskiSumPooling(kernel_size=size, stride=size, dimension=3)
        coarse = pool(fine)
    start = coarse if transposed else fine
    end = fine if transposed else coarse

    def rows(x: Any, wanted: Tensor) -> Tensor:
        coordinates = x.C.clone().to(wanted.dtype)
        if x is not fine:
            coordinates[:, 1:] //= size
        return rows_of(coordinates, wanted)

    into = rows(start, task.coarse if transposed else task.fine).argsort()
    out_of = rows(end, task.fine if transposed else task.coarse)

    def run(features: Tensor, weight: Tensor, ordered: bool) -> Tensor:
        grid = weight.reshape(size, size, size, *weight.shape[1:])
        kernel = grid.transpose(0, 2).reshape(weight.shape).contiguous()
        x = library.SparseTensor(
            features[into],
            coordinate_map_key=start.coordinate_map_key,
            coordinate_manager=manager,
        )
        out = torch.func.functional_call(conv, {"kernel": kernel}, (x,)).F
        return out[out_of] if ordered else out

    return run


def torchsparse_layer(library: Any, task: LayerTask) -> Layer:
    """TorchSparse 2.1 (Tang et al., MICRO 2023), whose odd kernels have x fastest, even ones x
    slowest."""
    conv_class = importlib.import_module("torchsparse.nn").Conv3d
    size, device = task.kernel_size, task.fine.device
    transposed = task.kind == "transposed"
    stride = 1 if task.kind == "submanifold" else size
    conv = conv_class(task.in_channels, task.out_channels, size, stride, transposed=transposed)
    conv = conv.to(device)
    fine = library.SparseTensor(
        coords=task.fine, feats=task.fine.new_ones((len(task.fine), 1)).float()
    )
    into: Tensor | slice = slice(None)
    out_of: Tensor | slice = slice(None)
    start = fine
    if task.kind != "submanifold":
        with torch.no_grad():
            coarse = conv_class(1, 1, size, stride).to(device)(fine)
        if transposed:
            start, into = coarse, rows_of(task.coarse, coarse.coords.int())
        else:
            out_of = rows_of(coarse.coords.int(), task.coarse)

    def run(features: Tensor, weight: Tensor, ordered: bool) -> Tensor:
        kernel = weight
        if size % 2:
            grid = weight.reshape(size, size, size, *weight.shape[1:])
            kernel = grid.transpose(0, 2).reshape(weight.shape).contiguous()
        x = library.SparseTensor(coords=start.coords, feats=features[into], stride=start.stride)
        x._caches = start._caches
        out = torch.func.functional_call(conv, {"kernel": kernel}, (x,)).feats
        return out[out_of] if ordered else out

    return run


LIBRARIES = (
    Library("spconv", "spconv.pytorch", spconv_layer, forward_only_on_cpu=True),
    Library("spconv-triton", "spconv_triton.pytorch", spconv_layer, cuda_only=True),
    Library("MinkowskiEngine", "MinkowskiEngine", minkowski_layer),
    Library("torchsparse", "torchsparse", torchsparse_layer, cuda_only=True),
)
