"""Checks of settings, with one wording for all their errors."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any


def at_least(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Raises ValueError unless low <= value <= high."""
    if not low <= value <= high:
        allowed = f"at least {whole(low)}" if high == math.inf else f"from {whole(low)} to {whole(high)}"
        raise ValueError(f"{name}={whole(value)} is out of range; allowed: {allowed}")


def whole(value: float) -> str:
    """A number for an error: an integer with all of its digits, so that it can be said again as it stands there."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def below_one(name: str, value: float) -> None:
    """Raises ValueError unless 0 <= value < 1, as the weight of the past in a running mean must be."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value:g} is out of range; allowed: from 0 to below 1")


def one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not known; allowed: {', '.join(map(str, allowed))}")


def nearest(name: str, there: Iterable[str], count: int = 3, most: int = 10) -> str:
    """The words of `there` that are most like `name`, in one text for an error: "mse, psnr". Where no word is like it,
    the first `most` words; where there are no words, "none"."""
    words = sorted({*there})
    alike = difflib.get_close_matches(name, words, n=count, cutoff=0.4)
    more = f" and {len(words) - most} more" if not alike and len(words) > most else ""
    return ", ".join(alike or words[:most]) + more or "none"
