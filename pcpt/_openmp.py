"""Sets how OpenMP threads wait, which is decided when torch is loaded: import this before torch.

Threads that spin while they wait cost up to twenty times when another process shares the cores.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
