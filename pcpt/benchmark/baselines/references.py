"""pcpt itself without its compiled kernels: every operator falls back on its PyTorch reference."""

from collections.abc import Iterator
from contextlib import contextmanager

from pcpt.ops import _library


@contextmanager
def references_only() -> Iterator[None]:
    """Runs a block on the plain PyTorch references, as an installation without a compiler does."""
    covered = set(_library._COVERED)
    _library._COVERED.clear()
    try:
        yield
    finally:
        _library._COVERED.update(covered)
