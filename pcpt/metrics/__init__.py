"""How good features are: numbers computed from tensors alone, whatever produced them."""

from pcpt.metrics.detection import average_precision, evaluate_boxes
from pcpt.metrics.retrieval import cross_view_recall, retrieval, retrieval_report, sample_pairs
from pcpt.metrics.shared_points import shared_points

__all__ = [
    "average_precision",
    "cross_view_recall",
    "evaluate_boxes",
    "retrieval",
    "retrieval_report",
    "sample_pairs",
    "shared_points",
]
