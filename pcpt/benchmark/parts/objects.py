"""Single shapes: the tokens of point transformers, against plain PyTorch; views and visibility from
a ring of cameras, against convex hulls shape by shape."""

from collections.abc import Iterator

import torch
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
from pcpt.ops import hidden_point_removal, render_depth
from pcpt.students.point_tokens import TokenScale, gather_points, token_scales

PLAIN = "plain PyTorch"
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
    """Tokens of 64 shapes of 2,048 points; 12 views and visibilities of 64 shapes of 1,024."""
    yield _tokens(shapes(settings.size(64, 2), 2048).to(settings.device))
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


PART = Part("objects", "tokens of shapes, and their views and visibility", cases)
