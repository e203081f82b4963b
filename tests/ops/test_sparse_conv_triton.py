"""Triton's sparse_conv without a GPU: results under the interpreter, code for a Hopper GPU."""

import importlib.util
import itertools
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from pcpt.ops._library import COMPILED
from pcpt.ops._sparse_plan import TILE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)
POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}
# sm_90: threads of a multiprocessor share 65,536 registers, two blocks of them 227 KiB
SHARED_BYTES = 227 * 1024 // 2


@pytest.mark.skipif(not COMPILED, reason="csrc is not built")
@pytest.mark.parametrize("part", ["random_cases", "others"])
def test_interpreted(part: str) -> None:
    """In a process of its own, as triton reads the variable when it is imported."""
    triton, numpy = (tuple(map(int, version(n).split(".")[:2])) for n in ("triton", "numpy"))
    if triton < (3, 9) and numpy >= (2, 4):
        pytest.skip("this triton's interpreter takes scalars in a way that numpy 2.4 refuses")
    here = Path(__file__).parent
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(here), *sys.path])
    command = [sys.executable, str(here / "triton_on_cpu.py"), part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("dtype", POINTERS)
def test_compiles_for_hopper(dtype: torch.dtype, tf32: bool) -> None:
    """Ahead of time, for the widths of the published networks: no spills, tensor cores in use."""
    if tf32 and dtype != torch.float32:
        pytest.skip("TF32 is a way to multiply float32")
    from pcpt.ops import _sparse_conv_triton as kernels

    precision = "tf32" if tf32 else "ieee"
    for c_in, c_out in ((3, 32), (32, 64), (96, 96), (192, 128), (256, 256)):
        sizes = {"c_in": c_in, "c_out": c_out}
        strides = {"stride_tap": c_in * c_out, "stride_in": c_out}
        blocks = kernels.product_blocks(dtype, c_in, c_out, tf32)
        pointers = dict.fromkeys(("x", "weight", "out"), POINTERS[dtype])
        tables = dict.fromkeys(("order", "table", "tile_taps"), "*i32")
        counts = {"num_in": 7, "padded_out": TILE, "volume": 27}
        compiled = compile_for_hopper(
            kernels.products,
            {**pointers, **tables},
            {**counts, **sizes, **strides},
            {"stride_out": 1, "LIST_TILE": TILE, "PRECISION": precision},
            blocks,
        )
        check_code(compiled, exact=dtype == torch.float32 and not tf32)

        blocks = kernels.outer_blocks(dtype, c_in, c_out, tf32)
        pointers = {"x": POINTERS[dtype], "grad": POINTERS[dtype], "sums": "*fp32"}
        tables = dict.fromkeys(("order", "table", "tap_tiles"), "*i32")
        counts = {"num_in": 7, "padded_out": TILE, "num_tiles": 7, "tiles_of_part": 7}
        compiled = compile_for_hopper(
            kernels.outer_products,
            {**pointers, **tables},
            {**counts, **sizes},
            {"LIST_TILE": TILE, "PRECISION": precision},
            blocks,
        )
        check_code(compiled, exact=dtype == torch.float32 and not tf32)


def compile_for_hopper(kernel, pointers, integers, constants, blocks):
    """What a launch with these arguments would compile; it knows which sizes 16 divides."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    options = {key: blocks[key] for key in ("num_warps", "num_stages")}
    constants = {**constants, **{k: v for k, v in blocks.items() if k not in options}}
    signature = {**pointers, **dict.fromkeys(integers, "i32")}
    signature = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    aligned = [*pointers, *(name for name, value in integers.items() if value % 16 == 0)]
    attributes = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def check_code(compiled, exact: bool) -> None:
    code = compiled.asm["ptx"]
    assert ("wgmma.mma_async" in code or "mma.sync" in code) == (not exact), "tensor cores"
    assert "cp.async" in code, "rows are fetched ahead"
    assert compiled.metadata.shared <= SHARED_BYTES
    registers, stack = resources(compiled.asm["cubin"])
    assert stack == 0, "registers are spilled"
    assert registers * 32 * compiled.metadata.num_warps * 2 <= 65536, "two blocks fit"


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of a thread."""
    import re
    import tempfile

    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return int(found[1]), int(found[2])


def test_tf32_is_taken_however_it_was_allowed() -> None:
    """In a process of its own, as torch does not forget every setting."""
    script = """
import torch
from pcpt.ops._sparse_conv_triton import _precision
matmul = torch.backends.cuda.matmul

def check(expected):
    assert _precision(torch.float32) == expected
    assert _precision(torch.bfloat16) == "ieee"

check("ieee")
for allowed in (True, False):
    matmul.allow_tf32 = allowed
    check("tf32" if allowed else "ieee")
for precision in ("high", "highest", "medium", "highest"):
    torch.set_float32_matmul_precision(precision)
    check("ieee" if precision == "highest" else "tf32")
for precision in ("tf32", "ieee", "none"):
    matmul.fp32_precision = precision
    check("tf32" if precision == "tf32" else "ieee")
torch.backends.fp32_precision = "tf32"
check("tf32")
matmul.fp32_precision = "ieee"
check("ieee")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_blocks_cover_channels_in_few_pieces() -> None:
    from pcpt.ops._sparse_conv_triton import block_of

    expected = {1: 16, 16: 16, 17: 32, 33: 64, 64: 64, 96: 128, 128: 128, 130: 128, 192: 128}
    assert {c: block_of(c, 128) for c in expected} == expected
    assert all(block_of(c, most) <= most for c, most in itertools.product(range(1, 300), (64, 128)))
