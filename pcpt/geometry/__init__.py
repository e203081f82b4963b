"""Cameras and the correspondences between pixels and points."""

from pcpt.geometry.camera import Camera

__all__ = ["Camera"]
