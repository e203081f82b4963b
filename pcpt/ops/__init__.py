"""Operators: PyTorch references, and compiled kernels where csrc was built."""

from pcpt.ops.ball_query import ball_query
from pcpt.ops.farthest_points import farthest_points
from pcpt.ops.gather_max import gather_max
from pcpt.ops.hidden_point_removal import hidden_point_removal
from pcpt.ops.kernel_map import kernel_map
from pcpt.ops.match_points_to_pixels import Correspondences, match_points_to_pixels
from pcpt.ops.nearest_neighbors import Neighbors, nearest_neighbors
from pcpt.ops.render_depth import render_depth
from pcpt.ops.rotated_iou import rotated_iou
from pcpt.ops.sample_pixels import sample_pixels
from pcpt.ops.segment_reduce import segment_reduce
from pcpt.ops.sparse_conv import sparse_conv
from pcpt.ops.voxelize import voxelize

__all__ = [
    "Correspondences",
    "Neighbors",
    "ball_query",
    "farthest_points",
    "gather_max",
    "hidden_point_removal",
    "kernel_map",
    "match_points_to_pixels",
    "nearest_neighbors",
    "render_depth",
    "rotated_iou",
    "sample_pixels",
    "segment_reduce",
    "sparse_conv",
    "voxelize",
]
