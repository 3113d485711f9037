"""Fewer points for the page, which embeds curves and clouds, never all rows."""

from __future__ import annotations

import numpy as np


def thin(count: int, most: int, steps: np.ndarray | None = None) -> np.ndarray:
    """The places of at most about `most` of `count` points, evenly spread, the first and the last among them. `steps`:
    values of a curve that is flat in most places; the points where it moves come first, for they are its shape."""
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most).round().astype(int)
    if steps is None:
        return np.unique(even)
    moves = np.flatnonzero(np.diff(steps, prepend=np.nan) != 0)
    moves = moves[thin(len(moves), most)]
    return np.unique([0, count - 1, *moves])
