"""DINOv2 vision transformers (Oquab et al., 2023) through transformers: patch tokens as a map."""

from dataclasses import dataclass

from torch import Tensor, nn

from pcpt.registry import register
from pcpt.teachers._patches import PatchTeacher, select_blocks
from pcpt.teachers._transformers import load_model
from pcpt.teachers.base import Normalize

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# width, blocks, heads
VARIANTS = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


@register("teachers", "dinov2")
class DINOv2(PatchTeacher):
    """Patch tokens of a block; see ``PatchTeacher``."""

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
        self.config = config
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
        sizes = self.model.config
        self.heads = sizes.num_attention_heads
        self.take_size(sizes.patch_size, sizes.hidden_size)
        self.freeze()

    def last_block(self) -> nn.Module:
        """See ``PatchTeacher.last_block``."""
        return self.model.encoder.layer[-1]

    def tokens(self, images: Tensor) -> Tensor:
        """See ``PatchTeacher.tokens``."""
        return self.model(pixel_values=images).last_hidden_state
