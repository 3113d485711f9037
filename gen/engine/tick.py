"""What a run gives after each slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tick:
    """Where a run stands after a slice of training and its evaluation."""

    tick: int
    epoch: float
    step: int
    images: int  # real images drawn so far
    seconds: float  # over all attempts
    metrics: dict[str, float] = field(default_factory=dict)  # "phase/name" -> mean since the last tick
    evals: dict[str, float] = field(default_factory=dict)  # "metric/subject" -> value
    value: float = math.nan  # of the metric that steers ...
    best: float = math.nan  # ... and its best so far
    guards: dict[str, float] = field(default_factory=dict)  # name of a figure that tells of a collapse -> value
    collapsed: str = ""  # when and how a game of players collapsed, if that lasts
    remarks: Sequence[str] = ()  # lines on what was found damaged and made anew
    ended: str = ""  # "finished", "stopped" or "failed"; "" while the run goes on
    why: str = ""  # the reason of the end
