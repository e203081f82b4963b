"""Run by test_sparse_conv_triton: the cases of test_sparse_conv on the Triton kernels, which its
interpreter executes on CPU tensors."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import test_sparse_conv as cases
import torch
import triton.runtime.interpreter as interpreter

from pcpt.ops.sparse_conv import KERNEL_TYPES, use_triton

CPU = torch.device("cpu")


def widen_bfloat16(dot: Callable[..., Any]) -> Callable[..., Any]:
    """The interpreter multiplies the bits of bfloat16 as if they were whole numbers."""

    def widened(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype.is_bf16():
            a, b = (
                interpreter.TensorHandle(
                    (operand.data.astype("uint32") << 16).view("float32"), interpreter.tl.float32
                )
                for operand in (a, b)
            )
        return dot(self, a, b, *rest)

    return widened


def random_cases() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for rows, channels in itertools.product(
            [(0, 3), (3, 0), (1, 1), (7, 33), (300, 200)],
            [(1, 3), (13, 7), (33, 96), (130, 16)],
        ):
            cases.check_case(rows, channels, dtype, 8, CPU)
        cases.check_case((300, 300), (16, 32), dtype, 27, CPU)
        cases.check_case((60, 60), (7, 5), dtype, 125, CPU)


def others() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        cases.test_wrong_tables_read_nothing_foreign((16, 32), dtype, CPU)
        problem = cases.random_problem(1200, 1000, (20, 24), dtype)
        first, second = (cases.run(cases.sparse_conv, *problem) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second)), "results repeat"
    cases.test_opcheck()


if __name__ == "__main__":
    interpreter.InterpreterBuilder.create_dot = widen_bfloat16(
        interpreter.InterpreterBuilder.create_dot
    )
    use_triton("cpu")
    KERNEL_TYPES["cpu"] = KERNEL_TYPES["cuda"]
    {"random_cases": random_cases, "others": others}[sys.argv[1]]()
