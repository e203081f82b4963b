"""Embeddings of shapes by a network that never changes, kept between runs where asked for.
Registers no task."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pcpt.data.cloud_cache import load_cached, save_cached
from pcpt.data.shape_batch import ShapeBatch
from pcpt.students.cloud import inference
from pcpt.tasks.objects import embed_batch, joined

_KEPT_TOGETHER = 256  # shapes in one file of the cache
_VERSION = "shape embeddings 1"


class Embeddings(NamedTuple):
    """Embeddings of shapes.

    Attributes:
        features: (S, D) float32, on the CPU.
        labels: (S,) int64, class or -1.
        numbers: (S,) int64, sample numbers.
    """

    features: Tensor
    labels: Tensor
    numbers: Tensor


def embed_shapes(
    student: Any, batches: Iterable[ShapeBatch], *, pooling: str, batch_size: int, cache: str = ""
) -> Embeddings:
    """The embedding of every shape, in eval mode and without gradients.

    Args:
        student: network that gives ``PointFeatures``; its mode is left as it was.
        batches: shapes on the CPU or the student's device.
        pooling: see ``shape_embedding``.
        batch_size: shapes of one forward pass.
        cache: folder for embeddings, which are found again by the network's weights and the points
            that went in, whatever they are called; empty keeps none.

    Raises:
        ValueError: no shapes, or embeddings that are not finite.
    """
    weights = weights_hash(student) if cache else ""
    device = next(student.parameters()).device
    found, labels, numbers = [], [], []
    for batch in joined(batches, _KEPT_TOGETHER):
        path = key = None
        if cache:
            key = _key(weights, batch, pooling)
            path = Path(cache).expanduser() / weights[:16] / f"{key[:32]}.safetensors"
        kept = load_cached(path, key) if path is not None and key is not None else None
        features = kept[0].get("features") if kept is not None else None
        if features is None or len(features) != batch.num_samples:
            parts = [
                _embed(student, part.to(device), pooling) for part in _split(batch, batch_size)
            ]
            features = torch.cat(parts).cpu()
            if path is not None and key is not None:
                save_cached(path, {"features": features}, "", key)
        found.append(features)
        labels.append(batch.label.cpu())
        numbers.append(batch.number.cpu())
    if not found:
        raise ValueError("there are no shapes to embed")
    embeddings = Embeddings(torch.cat(found), torch.cat(labels), torch.cat(numbers))
    if not bool(torch.isfinite(embeddings.features).all()):
        raise ValueError("embeddings are not finite; the network that made them has diverged")
    return embeddings


def _split(batch: ShapeBatch, size: int) -> Iterator[ShapeBatch]:
    for start in range(0, batch.num_samples, size):
        yield batch.rows(slice(start, start + size))


def _embed(student: Any, batch: ShapeBatch, pooling: str) -> Tensor:
    with inference(student):
        return embed_batch(student, batch, pooling).float()


def weights_hash(student: nn.Module) -> str:
    """sha256 over a network's settings, weights and statistics: 64 hex digits."""
    config = getattr(student, "config", None)
    values = asdict(config) if is_dataclass(config) and not isinstance(config, type) else {}
    digest = hashlib.sha256(json.dumps([_VERSION, values], default=str, sort_keys=True).encode())
    digest.update(type(student).__qualname__.encode())
    for name, tensor in sorted(student.state_dict().items()):
        _update(digest, name, tensor)
    return digest.hexdigest()


def _key(weights: str, batch: ShapeBatch, pooling: str) -> str:
    digest = hashlib.sha256(f"{weights} {pooling}".encode())
    _update(digest, "points", batch.points)
    if batch.normals is not None:
        _update(digest, "normals", batch.normals)
    return digest.hexdigest()


def _update(digest: Any, name: str, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
