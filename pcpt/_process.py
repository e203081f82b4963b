"""Settings of the process that only the commands make: a library must not. Import before torch."""

import ctypes
import os
import sys

# Decided when torch is loaded. Threads that spin while they wait cost up to twenty times when
# another process shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# From malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Has glibc keep freed memory for the next step instead of handing it back page by page.

    Each step allocates the same large tensors anew; faulting their pages in again took a tenth of
    the time of a training step. Does nothing with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
