"""Tiny transformers models with random weights, saved to disk: the families without a download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pcpt import registry
from pcpt.teachers import Teacher

FAMILIES = ("resnet18", "resnet34", "resnet50", "dinov2", "clip")


def tiny_model(family: str) -> Any:
    """The transformers model of a family, a few channels wide, random weights of seed 0."""
    import transformers as t

    torch.manual_seed(0)
    if family.startswith("resnet"):
        depths = [2, 2, 2, 2] if family == "resnet18" else [3, 4, 6, 3]
        bottleneck = family == "resnet50"
        return t.ResNetModel(
            t.ResNetConfig(
                embedding_size=8,
                hidden_sizes=[16, 24, 32, 48],
                depths=depths,
                layer_type="bottleneck" if bottleneck else "basic",
            )
        )
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    if family == "dinov2":
        return t.Dinov2Model(t.Dinov2Config(**shape, patch_size=14, image_size=70))
    if family == "dinov2_registers":
        return t.Dinov2WithRegistersModel(
            t.Dinov2WithRegistersConfig(
                **shape, patch_size=14, image_size=70, num_register_tokens=4
            )
        )
    vision = {**shape, "intermediate_size": 32, "patch_size": 16, "image_size": 64}
    text = {**shape, "intermediate_size": 32, "vocab_size": 50, "eos_token_id": 2}
    return t.CLIPModel(t.CLIPConfig(vision_config=vision, text_config=text, projection_dim=12))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folder with the tiny weights of a family, written once."""
    root = tmp_path_factory.mktemp("weights")

    def folder(family: str) -> str:
        path: Path = root / family
        if not path.exists():
            tiny_model(family).save_pretrained(path)
        return str(path)

    return folder


@pytest.fixture
def build(weights: Callable[[str], str]) -> Callable[..., Teacher]:
    """build(name, **options): a teacher with its pip weights (lite0) or tiny ones (the others)."""

    def make(name: str, **options: Any) -> Teacher:
        if name != "lite0":
            options.setdefault("weights", weights(name))
        teacher_class = registry.get("teachers", name)
        return teacher_class(teacher_class.Config(**options))

    return make


@pytest.fixture
def images() -> torch.Tensor:
    """(2, 3, 75, 101) uint8: no size that a network expects."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 75, 101), generator=generator, dtype=torch.uint8)
