"""Which points are seen at which pixels: against OpenScene's and Concerto's ways, on one core."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pcpt.benchmark.baselines.concerto import RADIUS, nearest_points
from pcpt.benchmark.baselines.openscene import VISIBILITY_THRESHOLD, project_view
from pcpt.benchmark.baselines.references import references_only
from pcpt.benchmark.case import Agreement, Case, Goal
from pcpt.benchmark.compare import compare_exact
from pcpt.benchmark.inputs import Views, real_views, room_view
from pcpt.benchmark.parts import Part
from pcpt.benchmark.settings import Settings, threads
from pcpt.benchmark.timing import Alternative, kernel_seconds
from pcpt.ops import Correspondences, match_points_to_pixels

OPENSCENE, CONCERTO = "OpenScene's way", "Concerto's way"
REFERENCE, UPLOAD = "pcpt, PyTorch reference", "pcpt, with depth upload"
# As in a pass over a scan, on copies of the view in turn: more than a core's own caches hold.
IN_A_ROW, IN_A_ROW_SECONDS, COPIES = "pcpt, calls in a row", 0.05, 8
PAIR_BYTES = 8 + 8 + 8 + 4  # point_index, view_index, pixel, depth_error


def match(views: Views, depth: Tensor | None = None) -> Correspondences:
    """pcpt's pairs at OpenScene's tolerance."""
    return match_points_to_pixels(
        views.points,
        views.depth if depth is None else depth,
        views.intrinsics,
        views.camera_to_world,
        absolute_tolerance=0.0,
        relative_tolerance=VISIBILITY_THRESHOLD,
    )


class ArrayViews:
    """The views as float64 arrays, as the two others take them."""

    def __init__(self, views: Views) -> None:
        self.points: NDArray[np.float64] = views.points.double().cpu().numpy()
        stacked = (views.depth, views.intrinsics, views.camera_to_world)
        arrays = (tensor.double().cpu().numpy() for tensor in stacked)
        self.views = list(zip(*arrays))

    def openscene(self) -> list[NDArray[np.int64]]:
        """Mappings of every view."""
        return [project_view(self.points, *view) for view in self.views]

    def concerto(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Pixels and points of every view."""
        return [nearest_points(self.points, *view) for view in self.views]


def compare_openscene(mappings: list[NDArray[np.int64]], own: Correspondences) -> Agreement:
    """Both find the same pairs, but for those that float32 rounds over a pixel's edge."""
    seen = torch.from_numpy(np.stack([mapping[:, 2] for mapping in mappings])).bool()
    ours = torch.zeros_like(seen)
    view, point = own.view_index.cpu(), own.point_index.cpu()
    ours[view, point] = True
    both, either = int((seen & ours).sum()), int((seen | ours).sum())
    theirs = torch.from_numpy(np.stack([mapping[:, :2] for mapping in mappings]))[view, point]
    shared = seen[view, point]
    apart = (own.pixel.cpu().flip(1) - theirs)[shared].abs()
    worst = float(apart.max()) if len(apart) else 0.0  # rounding a pixel moves it by up to 0.5
    share = both / max(1, either)
    return Agreement(
        f"{100 * share:.3f}% of {either:,} pairs in common, pixels within {worst:.2f}",
        share >= 0.995 and worst < 0.51,
        1 - share,
    )


def compare_concerto(
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]], views: Views
) -> Agreement:
    """Its pairs join a pixel with a point within a centimetre: most such points (not those at edges
    of depth) must be seen by pcpt, at 5 cm, at a pixel that a centimetre's distance explains."""
    own = match_points_to_pixels(
        views.points, views.depth, views.intrinsics, views.camera_to_world, absolute_tolerance=0.05
    )
    focal = float(views.intrinsics[:, [0, 1], [0, 1]].abs().max())
    pixel_of = torch.full((len(found), len(views.points), 2), torch.nan)
    pixel_of[own.view_index.cpu(), own.point_index.cpu()] = own.pixel.cpu()
    total = explained = 0
    depth = views.depth.cpu()
    for view, (pixel, point) in enumerate(found):
        whole = torch.from_numpy(pixel)
        apart = (pixel_of[view, torch.from_numpy(point)] - whole).norm(dim=1)
        reach = 2 * RADIUS * focal / depth[view, whole[:, 1], whole[:, 0]] + 1
        explained += int((apart <= reach).sum())
        total += len(point)
    share = explained / max(1, total)
    return Agreement(
        f"{total:,} pairs within 1 cm, {100 * share:.1f}% of them pairs of pcpt", share >= 0.85
    )


def cases(settings: Settings) -> Iterator[Case]:
    """About 150,000 points of a scan against its richest view, and against all of its views; and of
    a generated room against one view, whose depth has no holes."""
    num_points, num_views = settings.size(150_000, 3_000), settings.size(200, 3)
    size = (90, 135) if settings.quick else (480, 640)
    views = real_views(settings.scan, num_points, num_views, size)
    counts = torch.bincount(match(views).view_index, minlength=len(views.depth))
    best = slice(int(counts.argmax()), int(counts.argmax()) + 1)
    one = Views(
        views.points,
        views.depth[best],
        views.intrinsics[best],
        views.camera_to_world[best],
        views.source,
    )
    with threads(1):  # the goals are per core
        for chosen in (one, room_view(settings.size(150_000, 100_000), size), views):
            yield _gpu_case(chosen, settings) if settings.on_gpu else _cpu_case(chosen)


def _name(views: Views, pairs: int) -> str:
    count, height, width = views.depth.shape
    return (
        f"{len(views.points):,} points of {views.source}, {count} view{'s' * (count > 1)} of "
        f"{width}x{height}: {pairs:,} pairs; one thread"
    )


def _moved_bytes(views: Views, pairs: int) -> int:
    return 4 * (views.points.numel() + views.depth.numel()) + PAIR_BYTES * pairs


def _cpu_case(views: Views) -> Case:
    arrays, own, single = ArrayViews(views), match(views), len(views.depth) == 1

    def reference(number: int) -> Correspondences:
        with references_only():
            return match(views)

    pairs = len(own.point_index)
    case = Case(
        _name(views, pairs),
        [
            Alternative("pcpt", lambda number: match(views)),
            Alternative(REFERENCE, reference, most=0 if single else 3),
            Alternative(OPENSCENE, lambda number: arrays.openscene(), most=0 if single else 2),
        ],
        {
            REFERENCE: compare_exact(*zip(reference(0), own)),
            OPENSCENE: compare_openscene(arrays.openscene(), own),
        },
        moved_bytes=_moved_bytes(views, pairs),
        units=float(len(views.depth)),
        unit="views",
        goals=[
            Goal("times OpenScene's time", 10, lambda result: result.ratio(OPENSCENE)),
            Goal("share of a memory pass", 0.25, lambda result: result.share()),
        ],
        notes=["limit: points and depth read once, pairs written once"],
    )
    if not single:
        return case
    copies = [
        replace(views, points=views.points.clone(), depth=views.depth.clone())
        for _ in range(COPIES)
    ]
    case.alternatives.append(
        Alternative(IN_A_ROW, lambda n: match(copies[n % COPIES]), sample_seconds=IN_A_ROW_SECONDS)
    )
    if importlib.util.find_spec("scipy") is None:
        case.absent.append((CONCERTO, "not installed: scipy"))
        return case
    case.alternatives.append(Alternative(CONCERTO, lambda number: arrays.concerto(), most=3))
    case.agreements[CONCERTO] = compare_concerto(arrays.concerto(), views)
    case.goals = [
        *case.goals,
        Goal("times Concerto's time", 300, lambda result: result.ratio(CONCERTO)),
    ]
    return case


def _gpu_case(views: Views, settings: Settings) -> Case:
    """Kernel alone, on points in several orders, and with the depth images on their way there."""
    host = views.depth.pin_memory()
    orders = [torch.randperm(len(views.points)) for _ in range(4)]
    inputs = [
        Views(
            views.points[order].to(settings.device),
            views.depth.to(settings.device),
            views.intrinsics,
            views.camera_to_world,
            views.source,
        )
        for order in orders
    ]

    def reference(number: int) -> Correspondences:
        with references_only():
            return match(inputs[number % 4])

    def upload(number: int) -> Correspondences:
        return match(inputs[number % 4], host.to(settings.device, non_blocking=True))

    own = match(inputs[0])
    pairs, count = len(own.point_index), len(views.depth)
    kernels = kernel_seconds(lambda number: match(inputs[number % 4]))
    goals = [
        Goal("views a second, with upload", 1e4, lambda result: result.rate(UPLOAD)),
        Goal("views a second, kernels only", 1e5, lambda result: count / kernels),
    ]
    return Case(
        _name(views, pairs),
        [
            Alternative("pcpt", lambda number: match(inputs[number % 4])),
            Alternative(UPLOAD, upload),
            Alternative(REFERENCE, reference),
        ],
        {
            UPLOAD: compare_exact(*zip(upload(0), own)),
            REFERENCE: compare_exact(*zip(reference(0), own)),
        },
        [(name, "CPU code: see --device cpu") for name in (OPENSCENE, CONCERTO)],
        moved_bytes=_moved_bytes(views, pairs),
        units=float(count),
        unit="views",
        goals=goals if count > 1 else (),
        notes=[
            "limit: points and depth read once, pairs written once",
            f"kernels only, by the profiler: {1e6 * kernels:.1f} us a call",
        ],
        repeats=20,
    )


PART = Part("correspondence", "points to pixels, against OpenScene's and Concerto's ways", cases)
