"""What an experiment cost, what stopping early saved, and what it would have cost in money."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gen.report.facts import Experiment
from gen.report.section import number
from gen.results.floor import KIND as FLOOR
from gen.results.floor import measuring
from gen.search.budgets import HOUR


@dataclass(frozen=True)
class Spent:
    """Of the runs that ended; those that go on cost more by now."""

    device_seconds: float  # with those of measuring the leaders, and the floor
    floor_seconds: float  # those of measuring the floor
    epochs: float
    wall: float  # seconds from the first start to the last end, pauses between submissions too; NaN: no run ended
    saved_epochs: float  # what the stopped runs would have trained to their end
    saved_seconds: float  # ... at the seconds an epoch took each of them
    price: float = math.nan  # of a device for an hour, as the search was told it; NaN: it was not
    devices: float = 1.0  # that a worker takes of those that cost it, where the note says so: versions before 1.6 had
    # the part of a GPU there, and not in their device-seconds

    @property
    def money(self) -> float:
        """What the device-seconds cost, in the unit of the price; NaN without one."""
        return self.device_seconds * self.devices / HOUR * self.price

    @property
    def in_money(self) -> str:
        """That in words; "" without a price."""
        if math.isnan(self.price):
            return ""
        part = f", of which a worker takes {number(self.devices)}" if self.devices != 1 else ""
        return f"{number(self.money)} at {number(self.price)} a device-hour{part}"

    @property
    def whole_epochs(self) -> float:
        """Epochs that all would have taken without stopping."""
        return self.epochs + self.saved_epochs


def spent(experiment: Experiment) -> Spent:
    """What the runs cost that ended."""
    runs, told = experiment.runs, experiment.note.get("price")
    ended = runs[runs["ended"].notna()]
    stopped = ended[ended["status"] == "stopped"]
    left = np.maximum(stopped["budget"] - stopped["epochs"], 0.0)
    each = stopped["seconds"] * stopped["devices"] / stopped["epochs"].where(stopped["epochs"] > 0)
    floor = measuring(experiment.events[experiment.events["kind"] == FLOOR])
    wall = (ended["ended"].max() - runs["started"].min()).total_seconds() if len(ended) else float("nan")
    return Spent(
        float(ended["device_seconds"].sum()) + floor,
        floor,
        float(ended["epochs"].sum()),
        float(wall),
        float(left.sum()),
        float((left * each).sum()),
        **({"price": told["device_hour"], "devices": told.get("devices", 1.0)} if told else {}),
    )
