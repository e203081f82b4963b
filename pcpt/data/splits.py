"""The source of a split: the run's source, with the keys that differ for that split."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pcpt.choices import did_you_mean


def split_source(source: Any, splits: Mapping[str, Mapping[str, Any]], split: str) -> Any:
    """The config of the source for one split.

    Args:
        source: config dataclass of a data source.
        splits: changed keys by split; without any, every split has the whole source.
        split: such as "train".

    Raises:
        ValueError: a split or key that there is not.
    """
    if not splits:
        return source
    if split not in splits:
        hint = did_you_mean(split, splits)
        raise ValueError(f"data.splits has no {split!r}{hint} (it has {', '.join(splits)})")
    changes = splits[split] or {}
    known = {entry.name for entry in fields(source)} - {"name"}
    for key in changes:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ValueError(
                f"unknown config key data.splits.{split}.{key}{hint} (known: "
                f"{', '.join(sorted(known))})"
            )
    return replace(source, **changes)
