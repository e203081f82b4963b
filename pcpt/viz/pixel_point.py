"""Pictures of what a pixel-to-point method has learnt, on one held-out frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pcpt.data.batch import Batch
from pcpt.data.frame import Frame
from pcpt.data.ply import write_ply
from pcpt.geometry.camera import Camera
from pcpt.metrics.retrieval import sample_pairs
from pcpt.viz.cloud import overview_camera, render_cloud
from pcpt.viz.correspondences import correspondence_picture, match_picture
from pcpt.viz.maps import map_rows, upsample_map
from pcpt.viz.pca import pca_colors
from pcpt.viz.picture import grid
from pcpt.viz.report import Figure
from pcpt.viz.scene_result import SceneResult
from pcpt.viz.similarity import similarity_picture, similarity_to

HEIGHT = 400
# A match within this distance of the true point counts as right, metres.
NEAR = 0.10


def shows_pixel_point(method: Any) -> bool:
    """Whether a method has what these pictures are made from: embeddings of pixels and points."""
    needed = ("teacher_map", "pixel_features", "point_features")
    return (
        all(hasattr(method, name) for name in needed)
        and hasattr(getattr(method, "student", None), "voxels")
        and "teacher" in method.frozen
    )


@dataclass
class Seen:
    """One network's view of a frame, on the CPU.

    Attributes:
        decoder: (N, C) the student's features at the points.
        points: (N, D) their unit projections.
        image: (D, h, w) the teacher's projected map.
    """

    decoder: Tensor
    points: Tensor
    image: Tensor


@torch.no_grad()
def look(method: Any, batch: Batch) -> Seen:
    """Runs a method with ``student``, ``teacher_map`` and ``point_features`` on a batch of one."""
    voxels, point_to_voxel = method.student.voxels(batch.points, batch.colors, batch.batch_index)
    decoder = method.student(voxels).features
    points = method.point_features(decoder, torch.arange(len(decoder), device=decoder.device))
    image = method.teacher_map(batch.images)[0]
    return Seen(decoder[point_to_voxel].cpu(), points[point_to_voxel].cpu(), image.cpu())


def figures(
    trained: Any, untrained: Any, batch: Batch, frame: Frame, up: Tensor | None,
    pixel: tuple[float, float] | None = None,
) -> dict[str, Figure]:  # fmt: skip
    """The report's pictures of one frame, by file name.

    Args:
        trained: the method after training, in eval mode.
        untrained: the same before.
        batch: the frame as a sample, unaugmented.
        frame: the frame itself.
        up: (3,) against gravity, in the scan's world frame, where known.
        pixel: (u, v) in the sample's image whose likeness is looked for; by default the middle of
            the measured part.
    """
    seen = {"untrained": look(untrained, batch), "trained": look(trained, batch)}
    batch = batch.to("cpu")
    camera = frame.color_camera.resized(batch.images.shape[2], batch.images.shape[3])
    view = overview_camera(batch.world, camera, height=HEIGHT, up=up)
    parts = {
        "correspondences": _correspondences(batch, view),
        "features": _features(trained, batch, seen, view),
        "matches": _matches(trained, batch, seen, view),
        "similarity": _similarity(trained, batch, seen, view, pixel),
    }
    return parts


def write_feature_clouds(folder: Path, method: Any, batch: Batch) -> Path:
    """Writes the cloud in the PCA colours of the student's features as ``features.ply``."""
    path = folder / "features.ply"
    (colors,) = pca_colors(look(method, batch).decoder)
    write_ply(path, batch.world.cpu().numpy(), colors.numpy())
    return path


def frame_result(method: Any, batch: Batch, up: Tensor) -> SceneResult:
    """The frame's cloud with the student's features, for the viewer; ``up`` is against gravity."""
    features = look(method, batch).decoder
    world, colors = batch.world.cpu(), batch.colors.cpu().clamp(0, 1)
    return SceneResult(
        batch.names[0], world, colors, features=features, up=up.double().cpu() / up.double().norm()
    )


def _correspondences(batch: Batch, view: Camera) -> Figure:
    own = batch.view_index == 0
    picture = correspondence_picture(
        batch.images[0], batch.pixel[own], batch.world[batch.point_index[own]],
        batch.world, batch.colors, view,
    )  # fmt: skip
    return Figure(
        picture,
        "Some of the pairs of a pixel and a point, found by projecting the points into the depth "
        "camera and, where depths agree, into the colour camera.",
        "Correspondence",
    )


def _features(method: Any, batch: Batch, seen: Mapping[str, Seen], view: Camera) -> Figure:
    height, width = batch.images.shape[2:]
    teacher: Any = method.frozen["teacher"]
    with torch.no_grad():
        raw = teacher(batch.images[:1].to(next(method.parameters()).device))[0].cpu()
    clouds = [render_cloud(batch.world, pca_colors(s.decoder)[0], view) for s in seen.values()]
    (cells,) = pca_colors(map_rows(raw))
    map_colors = cells.T.reshape(3, *raw.shape[1:]).float()
    image = upsample_map(
        map_colors, height, width, stride=float(teacher.stride), offset=float(teacher.offset)
    )
    picture = grid(
        [batch.images[0], image.round().to(torch.uint8), *clouds],
        ["image", "teacher", "student, untrained", "student, trained"],
        height=HEIGHT,
    )
    return Figure(
        picture,
        "Features in colour: their three principal components as red, green and blue, for each "
        "network on its own. Alike colours mean alike features within a picture.",
        "Features",
    )


def _matches(method: Any, batch: Batch, seen: Mapping[str, Seen], view: Camera) -> Figure:
    chosen = sample_pairs(batch.world[batch.point_index], 1024, voxel_size=0.05, seed=0)
    point, pixel = batch.point_index[chosen], batch.pixel[chosen]
    size = (batch.images.shape[2], batch.images.shape[3])
    network = seen["trained"]
    device = next(method.parameters()).device
    with torch.no_grad():
        queries = method.pixel_features(
            network.image[None].to(device),
            torch.zeros(len(pixel), dtype=torch.int64, device=device),
            pixel.to(device),
            size,
        ).cpu()
    best = (queries @ network.points[point].T).argmax(1)
    found = batch.world[point[best]]
    right = (found - batch.world[point]).norm(dim=1) <= NEAR
    picture = match_picture(batch.images[0], pixel, found, right, batch.world, batch.colors, view)
    return Figure(
        picture,
        "For some pixels the most similar of 1,024 points by the trained embeddings: green within "
        f"10 cm of the true point ({float(right.float().mean()):.0%} of all), red elsewhere.",
        "Matches",
    )


def _similarity(
    method: Any, batch: Batch, seen: Mapping[str, Seen], view: Camera,
    pixel: tuple[float, float] | None,
) -> Figure:  # fmt: skip
    height, width = batch.images.shape[2:]
    wanted = batch.pixel.median(0).values if pixel is None else torch.tensor(pixel)
    pair = int((batch.pixel - wanted).norm(dim=1).argmin())
    point, at = int(batch.point_index[pair]), batch.pixel[pair]
    teacher: Any = method.frozen["teacher"]
    image = upsample_map(
        seen["trained"].image, height, width,
        stride=float(teacher.stride), offset=float(teacher.offset),
    )  # fmt: skip
    u, v = (int(x) for x in at.round().clamp(min=0))
    query = image[:, min(v, height - 1), min(u, width - 1)]
    clouds = {
        f"points, {name}": similarity_to(s.points, s.points[point]) for name, s in seen.items()
    }
    picture = similarity_picture(
        batch.images[0], at, similarity_to(map_rows(image), query).view(height, width),
        batch.world, batch.colors, clouds, view,
        point=batch.world[point], image_title="pixels, trained projection",
    )  # fmt: skip
    return Figure(
        picture,
        f"What is like pixel ({u}, {v})? Cosine similarity of every pixel's projected teacher "
        "feature to that pixel's, and of every point's embedding to that of its point.",
        "Similarity",
    )
