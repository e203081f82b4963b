"""CLIP's vision transformers (Radford et al., 2021) through transformers: patch tokens as a map."""

from dataclasses import dataclass

from torch import Tensor, nn

from pcpt.registry import register
from pcpt.teachers._patches import PatchTeacher, select_blocks
from pcpt.teachers._transformers import load_model
from pcpt.teachers.base import Normalize

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
# width, MLP width, blocks, heads, patch, width of the joint space
VARIANTS = {
    "base-patch16": (768, 3072, 12, 12, 16, 512),
    "base-patch32": (768, 3072, 12, 12, 32, 512),
    "large-patch14": (1024, 4096, 24, 16, 14, 768),
}


@register("teachers", "clip")
class CLIP(PatchTeacher):
    """Patch tokens of a block; see ``PatchTeacher``."""

    @dataclass
    class Config:
        """
        Attributes:
            weights: "" for the hub's openai/clip-vit-<variant>, a folder, a hub id, or "random".
            variant: base-patch16, base-patch32 or large-patch14; used where weights is "" or
                "random".
            layer: block whose tokens are taken, 1 for the first, -1 for the last.
            norm: apply the network's final LayerNorm, which CLIP itself applies to the class token.
            projection: project to the space shared with text; needs norm.
            seed: of random weights.
        """

        name: str = "clip"
        weights: str = ""
        variant: str = "base-patch16"
        layer: int = -1
        norm: bool = True
        projection: bool = False
        seed: int = 0

    def __init__(self, config: Config) -> None:
        """
        Raises:
            ValueError: unknown variant or layer, projection without norm, other weights.
            FileNotFoundError: weights that are not there.
        """
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection  # slow to import

        super().__init__()
        self.config = config
        if config.variant not in VARIANTS:
            raise ValueError(
                f"teacher clip: variant is {config.variant!r}; choose {', '.join(VARIANTS)}"
            )
        if config.projection and not config.norm:
            raise ValueError("teacher clip: projection is made for normed tokens; set norm=true")
        width, mlp, blocks, heads, patch, joint = VARIANTS[config.variant]
        model = load_model(
            dict.fromkeys(("clip", "clip_vision_model"), CLIPVisionModelWithProjection),
            config.weights,
            teacher="clip",
            hub_id=f"openai/clip-vit-{config.variant}",
            random_config=CLIPVisionConfig(
                hidden_size=width,
                intermediate_size=mlp,
                num_hidden_layers=blocks,
                num_attention_heads=heads,
                patch_size=patch,
                projection_dim=joint,
            ),
            seed=config.seed,
            optional=() if config.projection else ("visual_projection.",),
        )
        encoder = model.vision_model.encoder
        encoder.layers = select_blocks(encoder.layers, config.layer, "clip")
        self.model = model.vision_model
        # the model norms only its class token, so the patches are normed here
        self.norm = config.norm
        self.projection = model.visual_projection if config.projection else None
        self.normalize = Normalize(MEAN, DEVIATION)
        sizes = model.config
        self.heads = sizes.num_attention_heads
        channels = sizes.projection_dim if config.projection else sizes.hidden_size
        self.take_size(sizes.patch_size, channels)
        self.freeze()

    def last_block(self) -> nn.Module:
        """See ``PatchTeacher.last_block``."""
        return self.model.encoder.layers[-1]

    def tokens(self, images: Tensor) -> Tensor:
        """See ``PatchTeacher.tokens``."""
        tokens = self.model(pixel_values=images, interpolate_pos_encoding=True).last_hidden_state
        if self.norm:
            tokens = self.model.post_layernorm(tokens)
        return tokens if self.projection is None else self.projection(tokens)
