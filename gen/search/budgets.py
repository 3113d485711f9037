"""How much a search may spend beside its wall time, and when that is spent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR = 3600.0


@dataclass(frozen=True)
class Budget:
    """The most that the runs of a search may take together, in all submissions of it. What is infinite has no limit."""

    epochs: float = math.inf
    device_seconds: float = math.inf
    money: float = math.inf
    price: float = 0.0  # of a device for an hour, in the unit of `money`

    @property
    def limits(self) -> bool:
        """Whether anything is limited."""
        return min(self.epochs, self.device_seconds, self.money) < math.inf

    def reached(self, epochs: float, device_seconds: float) -> str:
        """Which limit is reached, in words; of several the first of epochs, device-seconds and money; "": none."""
        spent = device_seconds / HOUR * self.price
        if epochs >= self.epochs:
            return f"the budget of {self.epochs:g} epochs is spent ({epochs:g})"
        if device_seconds >= self.device_seconds:
            return f"the budget of {self.device_seconds:g} device-seconds is spent ({device_seconds:.0f})"
        if spent >= self.money:
            return f"the budget of {self.money:g} at {self.price:g} a device-hour is spent ({spent:.4g})"
        return ""


@dataclass
class Account:
    """What the runs of a search have taken so far."""

    devices: float  # that a run takes, ...
    of_run: Mapping[str, float] = field(default_factory=dict)  # ... but for those that began with so many
    epochs: dict[str, float] = field(default_factory=dict)  # run -> epochs
    seconds: dict[str, float] = field(default_factory=dict)  # run -> seconds of training and evaluation
    total_epochs: float = 0.0
    total_seconds: float = 0.0
    device_seconds: float = 0.0  # of these, times devices
    measuring: float = 0.0  # device-seconds of what was measured beside the runs: their leaders in full, the floors

    def note(self, run: str, epochs: float, seconds: float) -> None:
        """Notes how far a run is, over all attempts at it. What was lost by a kill and trained again counts once."""
        self.total_epochs += max(epochs - self.epochs.get(run, 0.0), 0.0)
        more = max(seconds - self.seconds.get(run, 0.0), 0.0)
        self.total_seconds += more
        self.device_seconds += more * self.of_run.get(run, self.devices)
        self.epochs[run] = max(epochs, self.epochs.get(run, 0.0))
        self.seconds[run] = max(seconds, self.seconds.get(run, 0.0))

    def reached(self, budget: Budget) -> str:
        """Which limit of a budget is reached; "": none."""
        return budget.reached(self.total_epochs, self.device_seconds + self.measuring)
