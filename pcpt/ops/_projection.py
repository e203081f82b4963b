"""What the operators that project points share: argument checks, the projection of references."""

from collections.abc import Sequence

from torch import Tensor


def check_points(points: Tensor) -> Tensor:
    """Points as contiguous float32 without a gradient history; raises unless floating (N, 3)."""
    if not isinstance(points, Tensor):
        raise ValueError(f"points are a {type(points).__name__}, expected a tensor (N, 3)")
    if points.dim() != 2 or points.shape[1] != 3 or not points.is_floating_point():
        raise ValueError(
            f"points are {points.dtype} {tuple(points.shape)}, expected floating (N, 3) in metres"
        )
    return points.detach().float().contiguous()


def check_size(size: Sequence[int], name: str) -> tuple[int, int]:
    """(H, W) as two ints; raises unless they are not negative and H * W fits an int32."""
    if len(size) != 2 or any(int(edge) != edge or edge < 0 for edge in size):
        raise ValueError(f"{name} is {tuple(size)}, expected (height, width) in pixels")
    height, width = int(size[0]), int(size[1])
    if height * width >= 2**31:
        raise ValueError(f"{name} {(height, width)} has 2^31 pixels or more; resize the images")
    return height, width


def project_reference(points: Tensor, projection: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u, v and z, each (N,), of points (N, 3) under one (3, 4) matrix, all float32.

    The operations and their order are those of ``project`` in ``csrc/geometry.h``, which makes
    kernels and references agree bit for bit; a matrix product would not.
    """
    x, y, z = points.unbind(1)
    a, b, c = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in projection)
    return a / c, b / c, c
