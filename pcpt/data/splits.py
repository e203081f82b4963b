"""The splits of labelled data: for each, the keys of the source that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from itertools import zip_longest
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


def check_same_names(split: str, what: str, learnt: Sequence[str], found: Sequence[str]) -> None:
    """Raises ``ValueError`` unless a split lists the same classes or parts as "train": labels are
    places in these lists, and would be counted as something else.

    Args:
        split: its name.
        what: the lists are of, such as "class".
        learnt: names that "train" lists.
        found: names that the split lists.
    """
    if tuple(learnt) == tuple(found):
        return
    both = zip_longest(learnt, found)
    place, (ours, other) = next((n, pair) for n, pair in enumerate(both) if pair[0] != pair[1])
    raise ValueError(
        f"{what} {place} of split {split!r} is {_or_none(other)}, but that of split 'train' is "
        f"{_or_none(ours)}; give data.splits.{split} a source that lists the same ones in the same "
        "order"
    )


def _or_none(name: str | None) -> str:
    return "none" if name is None else repr(name)
