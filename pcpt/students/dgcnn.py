"""DGCNN: a graph of nearest neighbours, found anew in every layer's features (Wang et al., TOG
2019, arXiv 1801.07829)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pcpt.ops import nearest_neighbors
from pcpt.registry import register
from pcpt.students.edge_conv import EdgeConv
from pcpt.students.point_network import (
    Encoded,
    PointNetwork,
    SharedLayers,
    check_width,
    width_of,
)

SLOPE = 0.2


@register("students", "dgcnn")
class DGCNN(PointNetwork):
    """EdgeConvs whose outputs, side by side, go through one shared layer of 1024.

    The defaults are the network of classification; that of part segmentation has
    ``planes: [64, 64, 64]`` and ``k: 40``.
    """

    @dataclass
    class Config:
        """
        Attributes:
            width: factor of all widths; 1 is the paper's, with embeddings of 1024.
            normals: take normals beside the positions.
            planes: channels of the EdgeConvs.
            k: neighbours of a point, itself among them; all where a shape has fewer points.
            graph: dynamic, in the features of each layer; or fixed, of the positions.
        """

        name: str = "dgcnn"
        width: float = 1.0
        normals: bool = False
        planes: list[int] = field(default_factory=lambda: [64, 64, 128, 256])
        k: int = 20
        graph: str = "dynamic"

    def __init__(self, config: Config) -> None:
        """Raises ``ValueError`` for options that cannot be."""
        super().__init__()
        check_width(config.width)
        if not 1 <= config.k <= 128:
            raise ValueError(f"student.k is {config.k}, expected 1 to 128")
        if config.graph not in ("dynamic", "fixed"):
            raise ValueError(f"student.graph is {config.graph!r}, expected dynamic or fixed")
        if not config.planes or min(config.planes) < 1:
            raise ValueError(f"student.planes is {list(config.planes)}, expected numbers above 0")
        self.config = config
        self.needs_normals = config.normals
        planes = [width_of(plane, config.width) for plane in config.planes]
        before = [6 if config.normals else 3, *planes]
        self.convs = nn.ModuleList(EdgeConv(a, b, SLOPE) for a, b in zip(before, planes))
        high = width_of(1024, config.width)
        self.last = SharedLayers(sum(planes), high, slope=SLOPE)
        self.local_channels = sum(planes)
        self.point_channels = self.pooled_channels = high

    def encode(
        self, points: Tensor, normals: Tensor | None = None, *, with_local: bool = False
    ) -> Encoded:
        """See ``PointNetwork.encode``; ``local`` are the EdgeConvs' outputs side by side."""
        features = self.as_input(points, normals)
        index: Tensor | None = None
        levels = []
        for conv in self.convs:
            if index is None or self.config.graph == "dynamic":
                # the positions alone decide the first graph
                index = self._graph(points if index is None else features)
            features = conv(features, index)
            levels.append(features)
        local = torch.cat(levels, 2)
        embedding = self.last(local)
        return Encoded(embedding, None, embedding.max(1).values, local=local)

    def _graph(self, features: Tensor) -> Tensor:
        fixed = features.detach()
        index = nearest_neighbors(fixed, fixed, min(self.config.k, features.shape[1])).index
        # features that overflow have no neighbours: the point itself, and the loss will tell
        own = torch.arange(features.shape[1], device=index.device)[None, :, None]
        return torch.where(index < 0, own, index)
