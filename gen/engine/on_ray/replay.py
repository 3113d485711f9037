"""What the tables hold of runs that ended: such a trial is told again to the scheduler instead of trained again."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from gen.config import RunConfig
from gen.results import queries
from gen.results.storage import Storage

Told = Sequence[tuple[int, float, float]]
"""Tick, epoch and value of the metric that steered, of each tick of a run."""


def told(storage: Storage, experiment: str, configs: Mapping[str, RunConfig]) -> dict[str, Told]:
    """What the tables hold of those runs that need no more training: run -> (tick, epoch, value) of each tick."""
    if experiment not in storage.folders(""):
        return {}
    figures = queries.evals(storage, experiment, scope="tick")
    column = figures["column"].map(lambda name: "" if name == "image" else f"/{name}")
    figures["name"] = figures["metric"] + "/" + figures["subject"] + column.astype(figures["metric"].dtype)
    found: dict[str, Told] = {}
    for end in queries.outcomes(storage, experiment).to_dict("records"):
        run = str(end["run"])
        if run in configs and complete(end, configs[run]):
            rows = figures[(figures["run"] == run) & (figures["name"] == end["metric"])].sort_values("tick")
            ticks = [(row["tick"], row["epoch"], number(row["value"])) for row in rows.to_dict("records")]
            if end["status"] == "failed":
                ticks.append((end["tick"], end["epochs"], math.nan))
            found[run] = ticks
    return {run: ticks for run, ticks in found.items() if ticks}


def complete(end: Mapping[Hashable, Any], config: RunConfig) -> bool:
    """Whether a row of `outcomes` is the last word under the budget of `config`."""
    if end["status"] != "finished" or end["epochs"] >= config.budget.epochs:
        return True
    return bool(0 < config.budget.patience <= end["epochs"] - number(end["best_epoch"]))


def number(value: Any) -> float:
    """A table's value as a float; NaN for null."""
    return math.nan if pd.isna(value) else float(value)
