"""Losses: pure functions on tensors."""

from pcpt.losses.pp_nce import pp_nce

__all__ = ["pp_nce"]
