"""The heads of tasks on single shapes: layers with batch norms and dropout, then scores. Registers
no task."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from pcpt.choices import check_minimum
from pcpt.detectors.perceptron import Layer

_MOMENTUM = 0.1


def shape_head(
    in_channels: int, hidden: Sequence[int], out_channels: int, dropout: float
) -> nn.Sequential:
    """(M, in_channels) -> (M, out_channels); the last layer is linear with bias.

    A single training row, which has no variance, is normalised by running statistics.

    Args:
        in_channels: of the rows.
        hidden: widths of the layers between; none makes the head linear.
        out_channels: number of scores.
        dropout: after each of them; of a linear head on the features.
    """
    widths = [in_channels, *hidden]
    layers: list[nn.Module] = [nn.Dropout(dropout)] if not hidden else []
    for before, after in pairwise(widths):
        layers += [Layer(before, after, _MOMENTUM, sync=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], out_channels))


def check_head(hidden: Sequence[int], dropout: float) -> None:
    """Raises ``ValueError`` unless ``task.hidden`` and ``task.dropout`` can be meant."""
    for width in hidden:
        check_minimum("task.hidden", width, 1)
    check_minimum("task.dropout", dropout, 0)
    if dropout >= 1:
        raise ValueError(f"task.dropout is {dropout}, expected a share below 1")
