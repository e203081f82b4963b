"""Pictures of single shapes: sizes, colours where they mean something, empty corners."""

import pytest
import torch

from pcpt.viz.labels import instance_colors
from pcpt.viz.scene_results import WRONG
from pcpt.viz.shapes import (
    PartResult,
    classes_picture,
    embedding_picture,
    part_label_set,
    parts_picture,
)


def _cloud(seed: int) -> torch.Tensor:
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(points, dim=1)


def _has(picture: torch.Tensor, color: tuple[int, int, int]) -> bool:
    near = (picture.int() - torch.tensor(color)[:, None, None]).abs().amax(0) < 3
    return bool(near.any())


def test_parts_beside_labels_and_errors() -> None:
    labels = torch.arange(200) % 2
    right = PartResult("right", _cloud(0), labels, labels)
    wrong = PartResult("wrong", _cloud(1), labels, 1 - labels)
    names = ["a", "b", "$x$"]
    assert not _has(parts_picture([right], names, height=64), WRONG)
    both = parts_picture([right, wrong, right], names, height=64)
    assert both.dtype == torch.uint8 and both.shape[0] == 3 and both.shape[2] > 6 * 64
    assert _has(both, WRONG)
    third = tuple(instance_colors(torch.arange(3))[2].tolist())
    assert not _has(both, third)  # a part that does not occur is not in the legend
    none = PartResult("none", _cloud(2), torch.full((200,), -1), labels)
    assert not _has(parts_picture([none], names, height=64), WRONG)


def test_wrong_classes_are_red_and_named() -> None:
    clouds = [_cloud(seed) for seed in range(5)]
    right = classes_picture(clouds, [0, 1, -1, 0, 1], [0, 1, 1, 0, 1], ["ant", "bee"], height=64)
    assert not _has(right, WRONG)
    wrong = classes_picture(clouds, [0, 1, 1, 0, 1], [0, 1, 1, 0, 0], ["ant", "bee"], height=64)
    assert wrong.shape == right.shape and _has(wrong, WRONG)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_embeddings_of_few_and_of_many(count: int) -> None:
    features = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 3 - 1
    picture = embedding_picture(features, labels, ["ant", "bee"])
    again = embedding_picture(features, labels, ["ant", "bee"])
    assert torch.equal(picture, again) and picture.shape[0] == 3
    assert (picture.shape[2] > 1000) == (count == 40)  # t-SNE beside PCA
    same = embedding_picture(torch.zeros(14, 3), torch.zeros(14).long(), ["ant"])
    assert same.shape[0] == 3


def test_part_colors_are_distinct() -> None:
    found = part_label_set([f"p{i}" for i in range(24)])
    assert len(set(found.colors)) == 24 and found.names[23] == "p23"
