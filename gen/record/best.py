"""The best run of an experiment, which is meant where no run is named."""

from __future__ import annotations

import torch

from gen.metrics.table import direction
from gen.record import checkpoint
from gen.results.best import rank_runs, unlike
from gen.results.storage import Storage


def best_run(storage: Storage, name: str) -> str:
    """The name of the best run with stored weights among those that have ended; if none has, among those that go on,
    by their best values so far. ValueError if no run has stored weights, or if different figures steered them."""
    ranked = rank_runs(storage, name)
    ended = ranked.dropna(subset=["best", "checkpoint"])
    if not ended.empty:
        return str(ended["run"].iloc[0])
    weights = [run for run in ranked["run"] if checkpoint.best_tick(storage, name, run)]
    if not weights:
        raise ValueError(f"no run of experiment {name} at {storage} has stored weights yet")
    states = {run: checkpoint.load_best(storage, name, run, torch.device("cpu")) for run in weights}
    if len(kinds := sorted({state["metric"] for state in states.values()})) > 1:
        raise unlike(name, kinds)
    sign = 1 if direction(kinds[0]) == "min" else -1
    best: str = min(weights, key=lambda run: sign * float(states[run]["value"]))
    return best
