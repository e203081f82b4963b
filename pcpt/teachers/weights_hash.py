"""Which teacher it is: a hash of all that its answer follows from. Caches of answers go by it."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

_LAYOUT = ("channels", "stride", "offset", "heads", "codeword_channels")
_OF_WEIGHTS = ("weights", "seed")  # where weights came from; what they are is hashed itself
_NO_SETTING = ("transformers_version",)


def weights_hash(teacher: nn.Module) -> str:
    """A hash of a network's class, weights, buffers and settings, the same on every device.

    Weights alone do not tell: two networks of the same weights may differ in a flag, in the
    activation that a file names beside them, or in the means that pictures are normalised by.
    """
    digest = hashlib.sha256(type(teacher).__qualname__.encode())
    settings = [
        [getattr(teacher, key, None) for key in _LAYOUT],
        [[name, _settings(module)] for name, module in teacher.named_modules()],
        str(teacher),  # the layers with their strides, dilations, epsilons and activations
    ]
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    tensors = dict(teacher.state_dict())
    tensors |= dict(teacher.named_buffers())  # those too that no checkpoint holds
    for name, tensor in sorted(tensors.items()):
        _update(digest, name, tensor)
    return digest.hexdigest()


def _settings(module: nn.Module) -> dict[str, Any] | None:
    """The config of a module: a dataclass as in pcpt, or that of transformers."""
    config: Any = getattr(module, "config", None)
    if is_dataclass(config) and not isinstance(config, type):
        values = asdict(config)
        return {key: value for key, value in values.items() if key not in _OF_WEIGHTS}
    if config is not None and hasattr(config, "to_dict"):
        values = config.to_dict()
        # private ones are paths
        return {k: v for k, v in values.items() if k[0] != "_" and k not in _NO_SETTING}
    return None


def _update(digest: Any, name: str, tensor: Tensor) -> None:
    values = tensor.detach().cpu().contiguous()
    digest.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
