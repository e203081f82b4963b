"""Kernels of MinkowskiEngine in pcpt's tap order, for reading its checkpoints."""

import itertools

from torch import Tensor


def from_minkowski_kernel(kernel: Tensor, *, hybrid: bool = False) -> Tensor:
    """A MinkowskiEngine kernel with its taps in lexicographic order, x slowest.

    Args:
        kernel: (k^3, C_in, C_out) with x fastest, or (C_in, C_out) of a pointwise convolution.
        hybrid: the kernel is of MinkowskiEngine <= 0.4's SPATIAL_HYPERCUBE_TEMPORAL_HYPERCROSS
            type, whose taps begin at the centre. Shapes do not tell; the released networks of
            PointContrast and its relatives use it in their 3 x 3 x 3 residual blocks.

    Returns:
        (k^3, C_in, C_out) for :class:`pcpt.sparse.Conv3d` or :class:`pcpt.sparse.ConvTranspose3d`.

    Raises:
        ValueError: the number of taps is not a cube, or is even with ``hybrid``.
    """
    if kernel.ndim == 2:
        kernel = kernel[None]
    size = round(len(kernel) ** (1 / 3)) if kernel.ndim == 3 else 0
    if size < 1 or size**3 != len(kernel):
        raise ValueError(
            f"kernel must be (k^3, C_in, C_out) or (C_in, C_out), got {tuple(kernel.shape)}"
        )
    if not hybrid:
        grid = kernel.reshape(size, size, size, *kernel.shape[1:])  # z, y, x
        return grid.transpose(0, 2).reshape(kernel.shape).contiguous()
    if size % 2 == 0:
        raise ValueError(f"hybrid kernels have an odd size, got {size}^3 taps")
    half = size // 2
    row = {tap: index for index, tap in enumerate(hybrid_taps(half))}
    taps = itertools.product(range(-half, half + 1), repeat=3)
    return kernel[[row[tap] for tap in taps]]


def hybrid_taps(half: int) -> list[tuple[int, ...]]:
    """The centre, then axis by axis every tap so far moved along that axis."""
    taps: list[tuple[int, ...]] = [(0, 0, 0)]
    moves = [d for d in range(-half, half + 1) if d]
    for axis in range(3):
        taps += [(*tap[:axis], d, *tap[axis + 1 :]) for tap in taps for d in moves]
    return taps
