"""Single shapes: the tokens of point transformers and the maximum over neighbours, against plain
PyTorch; views and visibility from a ring of cameras, against convex hulls shape by shape."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from pcpt.benchmark.baselines.plain_tokens import plain_token_scales
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.compare import compare_exact, compare_values
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings
from pcpt.benchmark.timing import Alternative
from pcpt.data.shape_models import MODELS
from pcpt.data.sources.procedural_shapes import ProceduralShapes
from pcpt.geometry.views import camera_ring, fitting_intrinsics
from pcpt.ops import gather_max, hidden_point_removal, nearest_neighbors, render_depth
from pcpt.students.point_tokens import TokenScale, gather_points, token_scales

PLAIN = "plain PyTorch"
BAGS, GATHERED = "torch's embedding_bag", "gather, then max"
HULLS = "SciPy's hulls, shape by shape"
TOKENS, GROUPS = (512, 256, 64), (16, 8, 8)  # of I2P-MAE
DISTANCE, IMAGE, RADIUS = 2.5, (224, 224), 100.0  # of the cameras; of hidden point removal


def shapes(count: int, points: int) -> Tensor:
    """(count, points, 3) float32: procedural shapes of all classes, in the unit ball."""
    per_class = -(-count // len(MODELS))
    source = ProceduralShapes(
        ProceduralShapes.Config(per_class=per_class, surface_points=points)
    ).open()
    clouds = torch.stack([source.load(name).points for name in source.names])[:count]
    clouds = clouds - clouds.mean(1, keepdim=True)
    return clouds / clouds.norm(dim=2).amax(1)[:, None, None]


def cases(settings: Settings) -> Iterator[Case]:
    """Tokens of 64 shapes of 2,048 points; the maximum over neighbours, and 12 views and
    visibilities, of 64 shapes of 1,024."""
    yield _tokens(shapes(settings.size(64, 2), 2048).to(settings.device))
    yield _neighbors(shapes(settings.size(64, 2), 1024).to(settings.device))
    yield _visibility(shapes(settings.size(64, 2), settings.size(1024, 128)), settings)


def _tokens(points: Tensor) -> Case:
    own = token_scales(points, TOKENS, GROUPS)
    agreements = {
        PLAIN: _compare_tokens(plain_token_scales(points, TOKENS, GROUPS), own, points),
    }
    return Case(
        f"tokens of {len(points)} shapes of {points.shape[1]:,} points: "
        f"{'/'.join(map(str, TOKENS))} centres with {'/'.join(map(str, GROUPS))} neighbours",
        [
            Alternative("pcpt", lambda number: token_scales(points, TOKENS, GROUPS)),
            Alternative(PLAIN, lambda number: plain_token_scales(points, TOKENS, GROUPS)),
        ],
        agreements,
        units=len(points),
        unit="shapes",
        goals=[Goal("times plain PyTorch", 5, lambda result: result.ratio(PLAIN))],
        repeats=5,
    )


def _compare_tokens(
    found: list[tuple[Tensor, Tensor]], own: list[TokenScale], points: Tensor
) -> Agreement:
    """The same centres, and neighbours at the same distances: equals may come in any order."""
    worst = Agreement("equal")
    before = points
    for (centers, members), scale in zip(found, own, strict=True):
        same = compare_exact((centers, scale.centers))
        if not same.agrees:
            return same
        distances = [
            (gather_points(before, index) - scale.centers[:, :, None]).norm(dim=3)
            for index in (members, scale.members)
        ]
        near = compare_values(*distances)
        if not near.agrees or near.difference > worst.difference:
            worst = near
        before = scale.centers
    return worst


def _neighbors(points: Tensor, k: int = 20, channels: int = 64) -> Case:
    """An EdgeConv's maximum, forward and backward."""
    index = nearest_neighbors(points, points, k).index
    first = torch.arange(len(points), device=index.device)[:, None, None] * points.shape[1]
    rows = (index + first).flatten(0, 1)
    generator = torch.Generator().manual_seed(0)
    shape = (len(rows), channels)
    values = torch.randn(shape, generator=generator).to(points.device).requires_grad_()
    weight = torch.randn(shape, generator=generator).to(points.device)

    ways = {
        "pcpt": lambda: gather_max(values, rows),
        BAGS: lambda: F.embedding_bag(rows, values, mode="max"),
        GATHERED: lambda: values[rows].max(1).values,
    }

    def run(way: str) -> tuple[Tensor, Tensor]:
        out = ways[way]()
        return out.detach(), torch.autograd.grad(out, values, weight)[0]

    expected = run("pcpt")
    agreements = {}
    for way in (BAGS, GATHERED):
        out, grad = run(way)
        same = compare_exact((out, expected[0]))
        agreements[way] = compare_values(grad, expected[1]) if same.agrees else same
    return Case(
        f"maximum over {k} neighbours of each of {len(rows):,} points, {channels} channels, "
        "forward + backward",
        [
            Alternative("pcpt", lambda number: run("pcpt")),
            Alternative(BAGS, lambda number: run(BAGS)),
            Alternative(GATHERED, lambda number: run(GATHERED)),
        ],
        agreements,
        units=len(rows),
        unit="points",
        repeats=5,
    )


def _visibility(points: Tensor, settings: Settings) -> Case:
    pose = camera_ring(12, distance=DISTANCE)
    eyes = pose[:, :3, 3].float().expand(len(points), -1, -1).contiguous()
    intrinsics = fitting_intrinsics(IMAGE, DISTANCE).expand(12, 3, 3)
    device = settings.device
    own_points, own_eyes = points.to(device), eyes.to(device)

    def views(number: int) -> tuple[list[Tensor], Tensor]:
        depth = [render_depth(cloud, intrinsics, pose, IMAGE, 2) for cloud in own_points]
        return depth, hidden_point_removal(own_points, own_eyes, RADIUS)

    case = Case(
        f"12 views of {len(points)} shapes of {points.shape[1]:,} points: depth images of "
        f"{IMAGE[1]} x {IMAGE[0]} and visible points",
        [
            Alternative("pcpt", views),
            Alternative(
                "pcpt, visibility alone",
                lambda number: hidden_point_removal(own_points, own_eyes, RADIUS),
            ),
        ],
        units=12 * len(points),
        unit="views",
        repeats=5,
    )
    try:
        from pcpt.benchmark.baselines.hull_visibility import hull_visibility
    except ImportError:
        case.absent.append((HULLS, "SciPy is not installed"))
        return case
    found = hull_visibility(points, eyes, RADIUS)
    expected = hidden_point_removal(own_points, own_eyes, RADIUS).cpu()
    differing = float((found != expected).float().mean())
    # points within rounding of a facet go either way
    case.agreements[HULLS] = Agreement(
        f"{differing:.2%} of visibilities differ; no pictures", differing < 0.01, differing
    )
    case.alternatives.append(
        Alternative(HULLS, lambda number: hull_visibility(points, eyes, RADIUS))
    )
    case.goals = [Goal("times SciPy's hulls", 5, lambda result: result.ratio(HULLS))]
    return case


PART = Part("objects", "tokens of shapes, the maximum over neighbours, views and visibility", cases)
