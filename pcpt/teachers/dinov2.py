"""DINOv2 vision transformers (Oquab et al., 2023) through transformers: patch tokens as a map."""

from dataclasses import dataclass

from torch import Tensor, nn

from pcpt.registry import register
from pcpt.teachers._transformers import (
    cls_attention,
    load_model,
    pad_to_multiple,
    patches_of,
    select_blocks,
    tokens_to_map,
)
from pcpt.teachers.base import Normalize, Teacher

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# width, blocks, heads
VARIANTS = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


@register("teachers", "dinov2")
class DINOv2(Teacher):
    """Patch tokens of a block. Images are padded to whole patches at the bottom and right, and the
    position embeddings interpolated to that grid."""

    @dataclass
    class Config:
        """
        Attributes:
            weights: "" for the hub's facebook/dinov2-<variant>, a folder, a hub id, or "random".
            variant: small, base or large; used where weights is "" or "random".
            layer: block whose tokens are taken, 1 for the first, -1 for the last.
            norm: apply the network's final LayerNorm.
            seed: of random weights.
        """

        name: str = "dinov2"
        weights: str = ""
        variant: str = "small"
        layer: int = -1
        norm: bool = True
        seed: int = 0

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: unknown variant or layer, weights of another network.
            FileNotFoundError: weights that are not there.
        """
        # slow to import, so only when used
        from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersModel

        super().__init__()
        if config.variant not in VARIANTS:
            raise ValueError(
                f"teacher dinov2: variant is {config.variant!r}; choose {', '.join(VARIANTS)}"
            )
        width, blocks, heads = VARIANTS[config.variant]
        self.model = load_model(
            {"dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel},
            config.weights,
            teacher="dinov2",
            hub_id=f"facebook/dinov2-{config.variant}",
            random_config=Dinov2Config(
                hidden_size=width,
                num_hidden_layers=blocks,
                num_attention_heads=heads,
                patch_size=14,
                image_size=518,
            ),
            seed=config.seed,
            optional=("embeddings.mask_token",),
        )
        encoder = self.model.encoder
        encoder.layer = select_blocks(encoder.layer, config.layer, "dinov2")
        if not config.norm:
            self.model.layernorm = nn.Identity()
        self.normalize = Normalize(MEAN, DEVIATION)
        self.channels = self.model.config.hidden_size
        self.stride = self.model.config.patch_size
        self.offset = (self.stride - 1) / 2
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self._look(images)[0]

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Teacher.features_and_saliency``: attention of the class token to the patches in the
        last block that is used, mean over heads."""
        heads = self.model.config.num_attention_heads
        with cls_attention(self.model.encoder.layer[-1], heads) as attention:
            features, shape = self._look(images)
        return features, patches_of(attention[0], *shape)

    def _look(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The map, and its size."""
        x = pad_to_multiple(self.normalize(images), self.stride)
        tokens = self.model(pixel_values=x).last_hidden_state
        shape = x.shape[2] // self.stride, x.shape[3] // self.stride
        return tokens_to_map(tokens, *shape), shape
