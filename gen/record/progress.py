"""How far a run is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The part of a checkpoint that is not the state of the training. NaN: no value yet."""

    tick: int = 0
    seconds: float = 0.0  # training and evaluation, over all attempts
    train_seconds: float = 0.0
    best: float = math.nan
    best_tick: int = 0  # 0: no finite value yet
    best_epoch: float = math.nan
    best_step: int = 0
    best_images: int = 0
    measured_tick: int = 0  # whose weights were measured in full at an end; they are not again, if no better ones come
    pictured: list[int] = field(default_factory=list)  # ticks whose grids are on record
    last: float = math.nan
    guards: dict[str, float] = field(default_factory=dict)  # figure that tells of a collapse -> last value
    watched: dict[str, Any] = field(default_factory=dict)  # what its earlier ticks told of a collapse, if it plays
    missed: str = ""  # what the full figures of the best weights told of a collapse, if these were measured
    collapsed: str = ""  # when and how a game has collapsed; "": it has not, or does not play
    status: str = ""  # "finished", "stopped" or "failed" once the run has ended
    why: str = ""
