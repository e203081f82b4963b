"""Cameras and the correspondences between pixels and points."""

from pcpt.geometry.camera import Camera
from pcpt.geometry.correspondence import back_project, fuse_frames, match_frames

__all__ = ["Camera", "back_project", "fuse_frames", "match_frames"]
