"""What teachers made of patches share: padding, tokens as a map, attention as saliency."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from pcpt.teachers.base import Normalize, Teacher


class PatchTeacher(Teacher):
    """A vision transformer's patch tokens as a map; a family implements ``tokens``.

    Images are padded to whole patches at the bottom and right, and the position embeddings
    interpolated to that grid.

    Attributes:
        normalize: of its images.
        heads: of its attention.
    """

    normalize: Normalize
    heads: int

    def tokens(self, images: Tensor) -> Tensor:
        """(B, T, C) of normalized images (B, 3, H, W), whole patches; these come last, by rows."""
        raise TypeError(f"{type(self).__name__} must define tokens(images)")

    def last_block(self) -> nn.Module:
        """The last transformer block that is used."""
        raise TypeError(f"{type(self).__name__} must define last_block()")

    def take_size(self, patch: int, channels: int) -> None:
        """Sets what ``Teacher`` asks of its families."""
        self.channels = channels
        self.stride = patch
        self.offset = (patch - 1) / 2

    def features(self, images: Tensor) -> Tensor:
        """See ``Teacher.features``."""
        return self._look(images)[0]

    def features_and_saliency(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Teacher.features_and_saliency``: attention of the class token to the patches in the
        last block that is used, mean over heads."""
        with cls_attention(self.last_block(), self.heads) as attention:
            features, shape = self._look(images)
        return features, patches_of(attention[0], *shape)

    def _look(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The map, and its size."""
        x = pad_to_multiple(self.normalize(images), self.stride)
        shape = x.shape[2] // self.stride, x.shape[3] // self.stride
        return tokens_to_map(self.tokens(x), *shape), shape


def pad_to_multiple(images: Tensor, size: int) -> Tensor:
    """Zero rows below and columns on the right until H and W are multiples of ``size``.

    Patches then tile every image from its top left pixel, so stride and offset are exact.
    """
    height, width = images.shape[2:]
    return F.pad(images, (0, -width % size, 0, -height % size))


def select_blocks(blocks: nn.ModuleList, layer: int, teacher: str) -> nn.ModuleList:
    """Blocks 1 to ``layer`` of a transformer; negative counts from the last, as in Python.

    Raises:
        ValueError: no such block.
    """
    last = len(blocks) + 1 + layer if layer < 0 else layer
    if not 1 <= last <= len(blocks):
        raise ValueError(
            f"teacher {teacher}: layer is {layer}, the network has blocks 1 to {len(blocks)}"
        )
    return blocks[:last]


def tokens_to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """The last height * width tokens, (B, T, C), as (B, C, height, width); class token dropped."""
    patches = tokens[:, tokens.shape[1] - height * width :]
    return patches.transpose(1, 2).unflatten(2, (height, width)).float()


@contextmanager
def cls_attention(block: nn.Module, heads: int) -> Iterator[list[Tensor]]:
    """Attention of the class token while the network runs, computed from a block's queries and
    keys: fast attention does not hand its weights out.

    Args:
        block: of a transformer, with one layer of queries and one of keys for (B, T, heads * D),
            the class token first.
        heads: of its attention.

    Yields:
        A list that holds, after one run, (B, T) float32: the attention to each token, mean over
        heads.
    """
    seen: dict[str, Tensor] = {}
    result: list[Tensor] = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen[name] = output.float().unflatten(2, (heads, -1)).transpose(1, 2)
            if len(seen) == 2:
                score = seen["query"][:, :, :1] @ seen["key"].mT
                scale = seen["key"].shape[3] ** -0.5
                result.append((score * scale).softmax(3)[:, :, 0].mean(1))
                seen.clear()

        return hook

    handles = [
        _layer(block, names).register_forward_hook(keep(names[0]))
        for names in (("query", "q_proj"), ("key", "k_proj"))
    ]
    try:
        yield result
    finally:
        for handle in handles:
            handle.remove()


def _layer(block: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The layer of one of these names, which differ between versions of transformers."""
    for path, module in block.named_modules():
        if path.rpartition(".")[2] in names:
            return module
    raise ValueError(
        f"{type(block).__name__} of this version of transformers has no layer {' or '.join(names)}"
    )


def patches_of(attention: Tensor, height: int, width: int) -> Tensor:
    """(B, T) of all tokens -> (B, height, width) of the patches, which come last."""
    return attention[:, attention.shape[1] - height * width :].unflatten(1, (height, width))
