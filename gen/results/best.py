"""The runs of an experiment, the best first."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gen.metrics.table import direction
from gen.results.confirmation import fresh_runs
from gen.results.forget import forgotten
from gen.results.queries import outcomes, runs
from gen.results.storage import Storage


def rank_runs(storage: Storage, name: str) -> pd.DataFrame:
    """One row a run: `run`, the `best` value of the figure that steered it, and `checkpoint`. The best run comes first,
    runs without a value come last. Runs that are to be forgotten, and runs with fresh seeds, which confirm what the
    search found, have no row. ValueError if there are no runs, or if different figures steered them."""
    begun = runs(storage, name)
    if begun.empty:
        raise ValueError(f"experiment {name} at {storage} has no runs yet")
    ends = outcomes(storage, name)
    if len(kinds := sorted(ends["metric"].dropna().unique())) > 1:
        raise unlike(name, kinds)
    small = not kinds or direction(kinds[0]) == "min"
    begun = begun[~begun["run"].isin({*forgotten(storage, name), *fresh_runs(storage, name)})]
    frame = begun[["run"]].merge(ends[["run", "best", "checkpoint"]], on="run", how="left")
    return pd.DataFrame(frame).sort_values("best", ascending=small, kind="stable")


def unlike(name: str, kinds: Sequence[str]) -> ValueError:
    """The error for runs that do not compare, since figures of these kinds steered them."""
    return ValueError(f"runs of {name} were steered by {', '.join(kinds)}, which do not compare; name the run")
