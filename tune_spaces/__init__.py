"""Search spaces, one file for each family: dotted key -> distribution, and the ASHA budget that suits it."""

from __future__ import annotations

from tune_spaces.draws import draw
from tune_spaces.space import Space, extend, pin
from tune_spaces.spaces import space_for

__all__ = ["Space", "draw", "extend", "pin", "space_for"]
