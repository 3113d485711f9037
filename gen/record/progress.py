"""How far a run is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Progress:
    """How far a run is: what a checkpoint holds beside the state of its training."""

    tick: int = 0
    seconds: float = 0.0  # training and evaluation, over all attempts
    train_seconds: float = 0.0
    best: float = math.nan
    best_tick: int = 0  # 0: no finite value yet
    best_epoch: float = math.nan
    best_step: int = 0
    best_images: int = 0
    measured_tick: int = 0  # whose weights an end has measured in full: a run that goes on may find no better ones
    last: float = math.nan
    guards: dict[str, float] = field(default_factory=dict)  # of the last tick: what tells of a collapse -> value
    status: str = ""  # "finished", "stopped" or "failed" once the run has ended
    why: str = ""
