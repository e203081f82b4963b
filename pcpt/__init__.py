"""pcpt: pretrains 3D networks from 2D networks on posed RGB-D scans, without 3D labels."""

from pcpt.registry import list_names as list  # the public name of the contract

__version__ = "0.1.0"
__all__ = ["__version__", "list"]
