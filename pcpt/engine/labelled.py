"""Whose labels a run may see: the scenes, shapes or images that ``data.limit`` leaves it."""

from typing import Any

from pcpt import registry
from pcpt.config import RunConfig
from pcpt.data.limited import limit_scenes
from pcpt.data.scene_dataset import SceneDataConfig, open_split
from pcpt.data.shape_dataset import ShapeDataConfig, Shapes
from pcpt.engine.data_record import scan_identities


def uses_labels(config: RunConfig) -> bool:
    """Whether a run learns from labels: tasks do, unless they say otherwise, methods as told."""
    if config.task is not None:
        return getattr(registry.get("tasks", config.task.name), "uses_labels", True)
    return getattr(config.method, "labels", "none") != "none"


def labelled_names(config: RunConfig) -> list[str]:
    """Names of the scenes or shapes whose labels a run was allowed to see; none of images, which
    are not counted by scan, and none of runs that learn without labels."""
    if not uses_labels(config):
        return []
    if isinstance(config.data, ShapeDataConfig):
        return list(Shapes(config.data, "train", 0, training=False, limited=True).names)
    if not isinstance(config.data, SceneDataConfig):
        return []
    return limit_scenes(open_split(config.data, "train").names, config.data.limit)


def labelled_scans(config: RunConfig, dataset: Any) -> list[str]:
    """Identities of the scans of a run's training samples whose labels it sees.

    Args:
        config: of the run.
        dataset: its training samples.
    """
    if not isinstance(config.data, ShapeDataConfig | SceneDataConfig):
        return scan_identities(dataset) if uses_labels(config) else []
    return scan_identities(dataset, set(labelled_names(config)))
