"""Exports what ``pcpt export`` is given: a run's student, or a network trained with MinkowskiEngine
as the SparseUNet that computes the same."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from pcpt.choices import check_choice
from pcpt.engine.data_record import hand_on
from pcpt.engine.export import export_student
from pcpt.engine.init_source import read_weights_file
from pcpt.students.kernel_order import KERNEL_ORDERS
from pcpt.students.minkowski_file import (
    COLOR_NOTE,
    convert_minkowski_weights,
    find_minkowski_weights,
    student_config_of,
)
from pcpt.students.sparse_unet import SparseUNet


@dataclass(frozen=True)
class MinkowskiOptions:
    """What a file of weights does not tell.

    Attributes:
        kernel_order: auto, cube or hybrid; see ``convert_minkowski_weights``.
        voxel_size: metres, as in training.
        color_range: largest colour in training, where pcpt has 1: 0.5 for networks that took
            colours in [-0.5, 0.5]. The stem's kernel is multiplied by it.

    Raises:
        ValueError: a value out of range.
    """

    kernel_order: str = "auto"
    voxel_size: float = 0.025
    color_range: float = 1.0

    def __post_init__(self) -> None:
        check_choice("kernel_order", self.kernel_order, KERNEL_ORDERS)
        if not 0 < self.color_range < math.inf:
            raise ValueError(f"color_range is {self.color_range}, expected above 0, such as 0.5")


def export_source(
    source: str | Path, folder: str | Path, options: MinkowskiOptions | None = None
) -> list[str]:
    """Writes a student as a folder that anyone can load.

    Args:
        source: a run or its checkpoint, see ``export_student``; or a safetensors file or ``.pth``
            with the weights of a Res16UNet.
        folder: where to write; see :meth:`Pretrained.save_pretrained`.
        options: for a Res16UNet; None takes the defaults.

    Returns:
        What should be known about the conversion; nothing for a run.

    Raises:
        FileNotFoundError: nothing at ``source``.
        ValueError: it cannot be read, is not a whole Res16UNet, its tap order cannot be told, or
            options were given for a run.
    """
    path = Path(source)
    state = read_weights_file(path) if path.is_file() else None
    if state is None:
        if options is not None:
            raise ValueError(
                f"{source} is no file of weights; kernel order, voxel size and colour range are "
                "for those of MinkowskiEngine"
            )
        export_student(source, folder)
        return []
    options = options or MinkowskiOptions()
    found = find_minkowski_weights(state)
    if found is None:
        raise ValueError(
            f"{path} holds no Res16UNet (no tensor conv0p1s1.kernel; it has "
            f"{', '.join(list(state)[:4])}, ...); pass a run, its checkpoint or such weights"
        )
    try:
        config = student_config_of(found.state, voxel_size=options.voxel_size)
        converted = convert_minkowski_weights(found, options.kernel_order)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if options.color_range != 1 and config.in_channels != 3:
        raise ValueError(
            f"{path}: color_range is {options.color_range}, but the network takes "
            f"{config.in_channels} channels, not 3 of colour"
        )
    model = SparseUNet(config)
    # counters of batches may be missing; nothing depends on them
    model.load_state_dict({**model.state_dict(), **converted.state})
    with torch.no_grad():
        model.stem.conv.weight.mul_(options.color_range)
    details = {
        "converted from": "MinkowskiEngine",
        "kernel order": f"{converted.order}, {converted.reason}",
        "color range": str(options.color_range),
    }
    model.save_pretrained(folder, details=details)
    hand_on(path, Path(folder))
    notes = [_describe(config), *converted.notes, _of_colors(options.color_range)]
    if found.others:
        first = ", ".join(found.others[:6])
        notes.append(f"left out: {first} ({len(found.others)} tensors of other parts)")
    return notes


def _describe(config: SparseUNet.Config) -> str:
    shape = config.variant if config.planes is None else "of widths and depths of its own"
    return (
        f"Res16UNet: {shape}, {config.in_channels} -> {config.out_channels} channels, stem of "
        f"{config.stem_kernel}^3; voxels of {config.voxel_size} m, which the weights do not tell"
    )


def _of_colors(color_range: float) -> str:
    if color_range == 1:
        return COLOR_NOTE
    return f"colours: the stem's kernel is multiplied by {color_range}, so that [-1, 1] may be fed"
