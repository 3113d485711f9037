"""Search spaces, one file for each family: dotted key -> distribution, and the ASHA budget that suits it."""

from __future__ import annotations

from tune_spaces.draws import draw, every
from tune_spaces.objective import check_alike, check_objective, check_searchable
from tune_spaces.questions import SpaceQuestions
from tune_spaces.space import InTurn, Space, extend, pin
from tune_spaces.spaces import space_for

__all__ = [
    "InTurn",
    "Space",
    "SpaceQuestions",
    "check_alike",
    "check_objective",
    "check_searchable",
    "draw",
    "every",
    "extend",
    "pin",
    "space_for",
]
