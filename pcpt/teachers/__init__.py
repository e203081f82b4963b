"""Frozen 2D networks behind one protocol, ``pcpt.teachers.base.Teacher``; one file per family."""

from pcpt.teachers.base import Teacher

__all__ = ["Teacher"]
