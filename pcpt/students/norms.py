"""Statistics for the norms of networks that were never trained, so that they are not worse than
they have to be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def measuring_norms(network: nn.Module) -> Iterator[None]:
    """Within the block, batch norms forget what they have seen and take the mean statistics of all
    batches that pass; the rest of the network stays in its mode, and norms end in eval mode."""
    kind = nn.modules.batchnorm._BatchNorm  # base of pcpt.sparse.BatchNorm and of torch's own
    norms: list[Any] = [module for module in network.modules() if isinstance(module, kind)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
