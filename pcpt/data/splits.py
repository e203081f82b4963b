"""The splits of labelled data: for each, the keys of the source that differ."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from pcpt.choices import did_you_mean

SPLITS = ("train", "val", "test")


def check_splits(splits: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for a split in ``data.splits`` that there is not."""
    for split in splits:
        if split not in SPLITS:
            raise ValueError(
                f"data.splits names {split!r}{did_you_mean(split, SPLITS)}; "
                f"expected {', '.join(SPLITS)}"
            )


def split_source(source: Any, splits: Mapping[str, Mapping[str, Any] | None], split: str) -> Any:
    """The config of a source for one split.

    Args:
        source: config dataclass of the source.
        splits: by name, the keys of ``source`` that differ there.
        split: train, val or test.

    Raises:
        ValueError: a split that is unknown or not named, or a key that the source does not have.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; one of {', '.join(SPLITS)}")
    if split not in splits:
        raise ValueError(
            f"data.splits names no {split!r}; give data.splits.{split} the keys of data.source "
            "that differ there, or {} for none"
        )
    values = splits[split] or {}
    known = [f.name for f in fields(source)]
    for key in values:
        if key not in known:
            raise ValueError(
                f"unknown config key data.splits.{split}.{key}{did_you_mean(key, known)} "
                f"(known here: {', '.join(known)})"
            )
    return type(source)(**(asdict(source) | dict(values)))
