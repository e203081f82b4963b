"""Pictures of what a network said of single shapes: parts beside labels, classes, embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pcpt.data.label_set import LabelSet
from pcpt.geometry.camera import Camera
from pcpt.viz.cloud import disc_sizes, render_colorings
from pcpt.viz.codewords import codeword_map
from pcpt.viz.labels import UNLABELLED, instance_colors, legend_bar
from pcpt.viz.picture import grid, side_by_side, stacked
from pcpt.viz.scan import overlook
from pcpt.viz.scene_results import RIGHT, WRONG, error_colors

_UP = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
_TOWARD = torch.tensor([0.8, 0.6, 0.0], dtype=torch.float64)
_LEAST_FOR_TSNE = 12


@dataclass(frozen=True, eq=False)
class PartResult:
    """The parts of one shape.

    Attributes:
        title: such as its name and IoU.
        points: (N, 3) float, z up.
        labels: (N,) int64, global part or -1.
        prediction: (N,) int64.
    """

    title: str
    points: Tensor
    labels: Tensor
    prediction: Tensor


def part_label_set(names: Sequence[str]) -> LabelSet:
    """Parts with a colour for each, neighbours in number far apart in hue."""
    colors = instance_colors(torch.arange(len(names))).tolist()
    ids = tuple(range(len(names)))
    return LabelSet("parts", ids, tuple(names), tuple((r, g, b) for r, g, b in colors))


def shape_camera(points: Tensor, height: int) -> Camera:
    """A square view from above at a slant that holds the shape; the same side of every shape."""
    return overlook(points, _UP, toward=_TOWARD, height=height, width=height)


def _views(points: Tensor, colorings: Sequence[Tensor], height: int) -> list[Tensor]:
    size = 0.7 * disc_sizes(points)  # gaps are better than parts that hide each other
    camera = shape_camera(points, height)
    return render_colorings(points, colorings, camera, point_size=size)


def parts_picture(
    results: Sequence[PartResult], names: Sequence[str], *, height: int = 230
) -> Tensor:
    """Labels, predictions and errors of shapes, two shapes a row, with a legend; (3, H, W) uint8.

    Args:
        results: of at least one shape.
        names: of the global parts.
        height: of one view, pixels.
    """
    table = torch.cat([
        instance_colors(torch.arange(len(names))), torch.tensor([UNLABELLED], dtype=torch.uint8)
    ])  # fmt: skip
    cells = []
    for result in results:
        colorings = [table[result.labels], table[result.prediction]]
        colorings.append(error_colors(result.labels, result.prediction))
        views = _views(result.points, colorings, height)
        cells.append(side_by_side(views, [result.title, "prediction", "errors"], gap=4))
    rows = grid(cells, columns=2, gap=16)
    found = torch.cat([part for r in results for part in (r.labels, r.prediction)]).unique()
    colors = [(int(r), int(g), int(b)) for r, g, b in table[found].tolist()]
    entries = [
        (color, names[part] if part >= 0 else "no label")
        for color, part in zip(colors, found.tolist(), strict=True)
    ]
    return stacked([rows, legend_bar(entries, rows.shape[2])])


def classes_picture(
    points: Sequence[Tensor],
    labels: Sequence[int],
    prediction: Sequence[int],
    names: Sequence[str],
    *,
    height: int = 230,
    columns: int = 4,
) -> Tensor:
    """Shapes under the class that was said, red where it is another than the true one, which is
    then named as well; (3, H, W) uint8.

    Args:
        points: (N, 3) float of each shape.
        labels: true class of each, -1 for none.
        prediction: class of each.
        names: of the classes.
        height: of one view, pixels.
        columns: shapes in a row.
    """
    cells, titles = [], []
    for cloud, label, said in zip(points, labels, prediction, strict=True):
        wrong = 0 <= label != said
        color = torch.tensor(WRONG if wrong else RIGHT, dtype=torch.uint8).expand(len(cloud), 3)
        cells += _views(cloud, [color], height)
        titles.append(f"{names[said]}, is {names[label]}" if wrong else names[said])
    return grid(cells, titles, columns=columns, height=height)


def embedding_picture(features: Tensor, labels: Tensor, names: Sequence[str]) -> Tensor:
    """Embeddings of shapes as dots coloured by class: in the plane of their two principal
    components and, where scikit-learn is installed and there are at least 12, by t-SNE (van der
    Maaten and Hinton, 2008; seeded); (3, H, W) uint8.

    Args:
        features: (S, D) float, S >= 1, all finite.
        labels: (S,) int64, class or -1.
        names: of the classes.
    """
    features = features.detach().cpu().double()
    maps = {"PCA": features}
    if len(features) >= _LEAST_FOR_TSNE:
        placed = _tsne(features)
        if placed is not None:
            maps["t-SNE"] = placed
    return side_by_side(
        [codeword_map({title: rows}, labels, names, width=720) for title, rows in maps.items()]
    )


def _tsne(features: Tensor) -> Tensor | None:
    """(S, 2); None without scikit-learn, and of embeddings that are all the same."""
    deviation = features.std(0)
    if float(deviation.max()) < 1e-9:
        return None
    try:
        from sklearn.manifold import TSNE
    except ModuleNotFoundError:
        return None
    perplexity = min(30.0, (len(features) - 1) / 3)
    rows = ((features - features.mean(0)) / deviation.clamp(min=1e-9)).numpy()
    # exact: few shapes, and the approximation has been seen to crash on equal rows
    method = TSNE(2, perplexity=perplexity, init="pca", random_state=0, method="exact")
    return torch.from_numpy(method.fit_transform(rows)).double()
