"""Operators: PyTorch references, and compiled kernels where csrc was built."""

from pcpt.ops.hidden_point_removal import hidden_point_removal
from pcpt.ops.kernel_map import kernel_map
from pcpt.ops.match_points_to_pixels import Correspondences, match_points_to_pixels
from pcpt.ops.render_depth import render_depth
from pcpt.ops.rotated_iou import rotated_iou
from pcpt.ops.sample_pixels import sample_pixels
from pcpt.ops.sparse_conv import sparse_conv
from pcpt.ops.voxelize import voxelize

__all__ = [
    "Correspondences",
    "hidden_point_removal",
    "kernel_map",
    "match_points_to_pixels",
    "render_depth",
    "rotated_iou",
    "sample_pixels",
    "sparse_conv",
    "voxelize",
]
