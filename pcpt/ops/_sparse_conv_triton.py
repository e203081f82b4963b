"""sparse_conv on CUDA in Triton: implicit GEMMs over the tiles of a plan (see ``_sparse_plan``).

Rows are gathered straight into the product, sums are float32, and every element is summed in an
order that depends on shapes alone: results repeat bit for bit, whether or not
``torch.use_deterministic_algorithms`` asks for it. float32 is multiplied exactly, or in TF32 where
``torch.backends.cuda.matmul.fp32_precision`` is "tf32", however that was set.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pcpt.ops._sparse_plan import TILE, parts, sparse_plan

PROGRAMS = 1056  # for the weight gradient: eight for each of a large GPU's multiprocessors


@triton.jit
def products(
    x,  # (num_in, c_in)
    weight,  # (K, c_in, c_out), any strides
    out,  # (num_out, c_out)
    order,
    table,
    tile_taps,
    num_in,
    padded_out,
    volume,
    c_in,
    c_out,
    stride_tap,
    stride_in,
    stride_out,
    LIST_TILE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """out[order[r]] = sum of x[table[k, r]] @ weight[k] over the tile's taps, for BLOCK_M rows r
    and BLOCK_N columns."""
    # programs that share rows run side by side, so that the rows are gathered from the cache
    num_panels = tl.cdiv(c_out, BLOCK_N)
    block = tl.program_id(0) // num_panels
    columns = (tl.program_id(0) % num_panels) * BLOCK_N + tl.arange(0, BLOCK_N)
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    taps = tile_taps + (block * BLOCK_M // LIST_TILE) * (volume + 1)
    num_steps = tl.cdiv(c_in, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # one loop over taps and channels, so that loads are fetched ahead across taps too
    for step in range(0, tl.load(taps) * num_steps):
        tap = tl.load(taps + 1 + step // num_steps).to(tl.int64)
        channels = (step % num_steps) * BLOCK_K + tl.arange(0, BLOCK_K)
        source = tl.load(table + tap * padded_out + rows)
        here = (source >= 0) & (source < num_in)
        a = tl.load(
            x + source.to(tl.int64)[:, None] * c_in + channels[None, :],
            mask=here[:, None] & (channels < c_in)[None, :],
            other=0.0,
        )
        b = tl.load(
            weight
            + tap * stride_tap
            + channels.to(tl.int64)[:, None] * stride_in
            + columns.to(tl.int64)[None, :] * stride_out,
            mask=(channels < c_in)[:, None] & (columns < c_out)[None, :],
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=PRECISION)
    target = tl.load(order + rows)
    tl.store(
        out + target.to(tl.int64)[:, None] * c_out + columns[None, :],
        total.to(out.dtype.element_ty),
        mask=(target >= 0)[:, None] & (columns < c_out)[None, :],
    )


@triton.jit
def outer_products(
    x,  # (num_in, c_in)
    grad,  # (num_out, c_out)
    sums,  # (parts, K, c_in, c_out) float32
    order,
    table,
    tap_tiles,
    num_in,
    padded_out,
    num_tiles,
    tiles_of_part,
    c_in,
    c_out,
    LIST_TILE: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """sums[part, k] = sum of x[table[k, r]]^T grad[order[r]] over the rows of the part's tiles."""
    num_i = tl.cdiv(c_in, BLOCK_I)
    num_o = tl.cdiv(c_out, BLOCK_O)
    corner = tl.program_id(0) % (num_i * num_o)
    tap = (tl.program_id(0) // (num_i * num_o)).to(tl.int64)
    part = tl.program_id(1)
    inputs = (corner // num_o) * BLOCK_I + tl.arange(0, BLOCK_I)
    outputs = (corner % num_o) * BLOCK_O + tl.arange(0, BLOCK_O)
    tiles = tap_tiles + tap * (num_tiles + 1)
    first = part * tiles_of_part
    last = tl.minimum(tl.load(tiles), first + tiles_of_part)
    STEPS: tl.constexpr = LIST_TILE // BLOCK_R
    total = tl.zeros((BLOCK_I, BLOCK_O), dtype=tl.float32)
    for step in range(first * STEPS, last * STEPS):
        tile = tl.load(tiles + 1 + step // STEPS)
        rows = tile * LIST_TILE + (step % STEPS) * BLOCK_R + tl.arange(0, BLOCK_R)
        source = tl.load(table + tap * padded_out + rows)
        target = tl.load(order + rows)
        here = (source >= 0) & (source < num_in)
        a = tl.load(
            x + source.to(tl.int64)[:, None] * c_in + inputs[None, :],
            mask=here[:, None] & (inputs < c_in)[None, :],
            other=0.0,
        )
        b = tl.load(
            grad + target.to(tl.int64)[:, None] * c_out + outputs[None, :],
            mask=here[:, None] & (outputs < c_out)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(a), b, total, input_precision=PRECISION)
    volume = tl.num_programs(0) // (num_i * num_o)
    plane = part.to(tl.int64) * volume + tap
    tl.store(
        sums + (plane * c_in + inputs.to(tl.int64)[:, None]) * c_out + outputs[None, :],
        total,
        mask=(inputs < c_in)[:, None] & (outputs < c_out)[None, :],
    )


def block_of(channels: int, most: int) -> int:
    """Power of two from 16 to ``most`` that covers the channels in the fewest blocks, then the
    least padding: 96 is one block of 128 rather than three of 32, as a block gathers rows anew."""
    block = most
    while block > 16 and -(-channels // (block // 2)) == -(-channels // block):
        block //= 2
    return block


# Stages of the loops: rows are found through two loads before theirs, which take one stage, so that
# four keep three steps of rows in flight. Tile sizes and stages were chosen from what compiling for
# sm_90 says (no spills, two blocks of programs a multiprocessor); they await measurement.


def product_blocks(dtype: torch.dtype, c_in: int, c_out: int, tf32: bool) -> dict[str, int]:
    """Tile sizes and launch options of ``products``."""
    wide = dtype == torch.float32
    block_n = block_of(c_out, 64 if wide and not tf32 else 128)
    # channels of a step: no padding where 32 or 64 divide them, as in every published network
    block_k = next((k for k in ((32,) if wide else (64, 32)) if c_in % k == 0), 16)
    if block_k == 16 and c_in > 16:
        block_k = 32
    block_m = 64 if wide and not tf32 else TILE
    return {
        "BLOCK_M": block_m,
        "BLOCK_N": block_n,
        "BLOCK_K": block_k,
        "num_warps": 8 if block_m * block_n >= 128 * 128 else 4,
        "num_stages": 4,
    }


def outer_blocks(dtype: torch.dtype, c_in: int, c_out: int, tf32: bool) -> dict[str, int]:
    """Tile sizes and launch options of ``outer_products``."""
    exact = dtype == torch.float32 and not tf32
    block_i, block_o = block_of(c_in, 64), block_of(c_out, 64 if exact else 128)
    return {
        "BLOCK_R": 32 if dtype == torch.float32 else 64,
        "BLOCK_I": block_i,
        "BLOCK_O": block_o,
        "num_warps": 4,
        "num_stages": 4,
    }


def _precision(dtype: torch.dtype) -> str:
    # not allow_tf32: it follows, but cannot be read, where this was set itself
    tf32 = dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if tf32 else "ieee"


def sparse_conv(
    features: Tensor,
    weight: Tensor,
    neighbors: Tensor,
    inverse: Tensor,
    plan: Tensor | None = None,
    inverse_plan: Tensor | None = None,
) -> Tensor:
    """:func:`pcpt.ops.sparse_conv` for float32, bfloat16 and float16."""
    volume, num_out = neighbors.shape
    num_in, c_in = features.shape
    c_out = weight.shape[2]
    out = features.new_empty(num_out, c_out)
    if out.numel() == 0 or volume * num_in * c_in == 0:
        return out.zero_()
    if plan is None:
        plan = sparse_plan(neighbors, num_in)
    order, table, tile_taps, _ = parts(plan, volume, num_out)
    precision = _precision(features.dtype)
    blocks = product_blocks(features.dtype, c_in, c_out, precision == "tf32")
    grid = (len(order) // blocks["BLOCK_M"] * triton.cdiv(c_out, blocks["BLOCK_N"]),)
    with torch.cuda.device_of(features):  # triton launches on the current device
        products[grid](
            features.contiguous(), weight, out, order, table, tile_taps,
            num_in, len(order), volume, c_in, c_out, *weight.stride(),
            LIST_TILE=TILE, PRECISION=precision, **blocks,
        )  # fmt: skip
    return out


def sparse_conv_grad_weight(
    features: Tensor,
    grad: Tensor,
    neighbors: Tensor,
    inverse: Tensor,
    plan: Tensor | None = None,
    inverse_plan: Tensor | None = None,
) -> Tensor:
    """Gradient of :func:`sparse_conv` in its weight, (K, C_in, C_out).

    The tiles of a tap are shared out among programs, whose sums are added in a fixed order.
    """
    volume, num_out = neighbors.shape
    num_in, c_in = features.shape
    c_out = grad.shape[1]
    if volume * num_in * num_out * c_in * c_out == 0:
        return features.new_zeros(volume, c_in, c_out)
    if plan is None:
        plan = sparse_plan(neighbors, num_in)
    order, table, tile_taps, tap_tiles = parts(plan, volume, num_out)
    num_tiles = len(tile_taps)
    precision = _precision(features.dtype)
    blocks = outer_blocks(features.dtype, c_in, c_out, precision == "tf32")
    corners = triton.cdiv(c_in, blocks["BLOCK_I"]) * triton.cdiv(c_out, blocks["BLOCK_O"])
    tiles_of_part = max(1, num_tiles * volume * corners // PROGRAMS)
    num_parts = triton.cdiv(num_tiles, tiles_of_part)
    sums = torch.empty(
        (num_parts, volume, c_in, c_out), dtype=torch.float32, device=features.device
    )
    with torch.cuda.device_of(features):
        outer_products[(volume * corners, num_parts)](
            features.contiguous(), grad.contiguous(), sums, order, table, tap_tiles,
            num_in, len(order), num_tiles, tiles_of_part, c_in, c_out,
            LIST_TILE=TILE, PRECISION=precision, **blocks,
        )  # fmt: skip
    return sums.sum(0).to(features.dtype)
