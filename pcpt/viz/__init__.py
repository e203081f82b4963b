"""Pictures of what a network has learnt, and the page that shows them."""

from pcpt.viz.cloud import overview_camera, render_cloud
from pcpt.viz.correspondences import correspondence_picture, match_picture
from pcpt.viz.curves import loss_curve
from pcpt.viz.maps import map_rows, upsample_map
from pcpt.viz.pca import PcaColors, pca_colors
from pcpt.viz.picture import grid, save_png, side_by_side, stacked
from pcpt.viz.report import Figure, Report, Table, report_html, write_report
from pcpt.viz.similarity import similarity_picture, similarity_to

__all__ = [
    "Figure",
    "PcaColors",
    "Report",
    "Table",
    "correspondence_picture",
    "grid",
    "loss_curve",
    "map_rows",
    "match_picture",
    "overview_camera",
    "pca_colors",
    "render_cloud",
    "report_html",
    "save_png",
    "side_by_side",
    "similarity_picture",
    "similarity_to",
    "stacked",
    "upsample_map",
    "write_report",
]
