"""What an experiment cost, what stopping early saved, and what it would have cost in money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gen.report.facts import Experiment
from gen.results.floor import KIND as FLOOR
from gen.results.floor import measuring


@dataclass(frozen=True)
class Spent:
    """Of the runs that ended; those that go on cost more by now."""

    device_seconds: float  # with those of measuring the leaders, and the floor
    floor_seconds: float  # those of measuring the floor
    epochs: float
    wall: float  # seconds from the first start to the last end, pauses between submissions too; NaN: no run ended
    saved_epochs: float  # what the stopped runs would have trained to their end
    saved_seconds: float  # ... at the seconds an epoch took each of them

    @property
    def whole_epochs(self) -> float:
        """Epochs that all would have taken without stopping."""
        return self.epochs + self.saved_epochs


def spent(experiment: Experiment) -> Spent:
    """What the runs cost that ended."""
    runs = experiment.runs
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
    )
