"""How a mistyped word is answered: with the nearest one that exists."""

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known word nearest to ``word``, or nothing."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_choice(key: str, value: str, known: Iterable[str]) -> None:
    """Raises ``ValueError`` unless the value of config key ``key`` is one of ``known``."""
    known = list(known)
    if value not in known:
        hint = did_you_mean(value, known)
        raise ValueError(f"{key} is {value!r}, expected one of {', '.join(known)}{hint}")


def check_minimum(key: str, value: float, minimum: float) -> None:
    """Raises ``ValueError`` unless ``value >= minimum``; NaN fails too."""
    if not value >= minimum:
        raise ValueError(f"{key} is {value}, expected at least {minimum}")


def check_share(key: str, value: float) -> None:
    """Raises ``ValueError`` unless ``0 <= value < 1``."""
    if not 0 <= value < 1:
        raise ValueError(f"{key} is {value}, expected a share from 0, below 1")


def check_depth_scale(key: str, scale: float) -> None:
    """Raises ``ValueError`` unless ``scale`` is units per metre, a unit being a kilometre at most
    and a nanometre at least: 16 bits of them are then finite in float32, and more than nothing."""
    if not 1e-3 <= scale <= 1e9:
        raise ValueError(
            f"{key} is {scale}, expected units per metre from 0.001 to 1e9, such as 1000 for mm"
        )


def check_image_size(key: str, size: Sequence[int]) -> None:
    """Raises ``ValueError`` unless the value is a height and a width."""
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"{key} is {list(size)}, expected height and width in pixels, such as [240, 320]"
        )
