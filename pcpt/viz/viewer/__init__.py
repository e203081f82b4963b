"""A scene and what a network says about it as one HTML page that opens in any browser, offline."""

from pcpt.viz.viewer.page import viewer_html, write_viewer

__all__ = ["viewer_html", "write_viewer"]
