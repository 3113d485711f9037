"""What the tables hold of a search: the runs that ended, and the decisions from which its rungs are rebuilt."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gen.config import RunConfig, override
from gen.results import queries
from gen.results.comparison import LUCK
from gen.results.confirmation import fresh_runs
from gen.results.parquet import read_files
from gen.results.schema import SCHEMAS
from gen.results.storage import Storage
from gen.search.halving import Decision

KIND = "rung"  # of the rows of `events` that hold decisions


@dataclass(frozen=True)
class End:
    """How a run ended."""

    tick: int
    epoch: float
    status: str  # finished, stopped or failed
    best: float
    last: float
    seconds: float
    forgotten: bool = False  # it is ranked no more, and trained no more: `best` and `last` are NaN


def decisions(storage: Storage, experiment: str, confirming: bool = False) -> list[Decision]:
    """All that was decided about the runs of a search, or of its confirmation, which stand on no rung of the search:
    attempt by attempt, and in each in the order of time."""
    if experiment not in storage.folders(""):
        return []
    found = []
    rows = queries.events(storage, experiment, kind=KIND).sort_values(["attempt", "time"], kind="stable")
    rows = rows[rows["run"].isin(fresh_runs(storage, experiment)) == confirming]
    for row in rows.to_dict("records"):
        detail = json.loads(row["detail"])
        seconds = float(detail.get("seconds", 0.0))
        found.append(
            Decision(
                row["run"],
                row["epoch"],
                row["decision"],
                number(row["value"]),
                seconds,
                detail.get("rung"),
                detail.get("cutoff"),
                detail.get("cutoff_seconds"),
                row["why"],
                of := detail.get("of"),
                number(detail["mean"]) if of else None,
                detail.get("mean_seconds"),
            )
        )
    return found


def configurations(configs: Mapping[str, RunConfig]) -> dict[str, str]:
    """Run -> its configuration, named by its first run, for runs that differ from another by their seeds alone."""
    first: dict[RunConfig, str] = {}
    found = {run: first.setdefault(override(config, dict.fromkeys(LUCK, 0)), run) for run, config in configs.items()}
    several = Counter(found.values())
    return {run: configuration for run, configuration in found.items() if several[configuration] > 1}


def reached(storage: Storage, experiment: str) -> dict[str, float]:
    """Run -> the last epoch of which it has rows: no checkpoint of it is further."""
    if experiment not in storage.folders(""):
        return {}
    table = read_files(storage, f"{experiment}/metrics", SCHEMAS["metrics"], columns=["run", "epoch"])
    last = table.group_by("run").aggregate([("epoch", "max")])
    return dict(zip(last["run"].to_pylist(), last["epoch_max"].to_pylist(), strict=True))


def begun(storage: Storage, experiment: str) -> frozenset[str]:
    """The runs that have a row of `runs` and no outcome: those that go on, and short ones whose process was killed
    while it wrote their rows, of which nothing but rows tells."""
    if experiment not in storage.folders(""):
        return frozenset()
    there, ended = (
        read_files(storage, f"{experiment}/{table}", SCHEMAS[table], columns=["run"])["run"].unique()
        for table in ("runs", "outcomes")
    )
    return frozenset(there.to_pylist()) - frozenset(ended.to_pylist())


def ends(storage: Storage, experiment: str, configs: Mapping[str, RunConfig]) -> dict[str, End]:
    """Run -> its end, for those runs of `configs` that need no more training."""
    if experiment not in storage.folders(""):
        return {}
    found: dict[str, End] = {}
    for end in queries.outcomes(storage, experiment).to_dict("records"):
        run = str(end["run"])
        if run in configs and complete(end, configs[run]):
            best, last = number(end["best"]), number(end["last"])
            found[run] = End(end["tick"], end["epochs"], end["status"], best, last, end["seconds"])
    return found


def complete(end: Mapping[Hashable, Any], config: RunConfig) -> bool:
    """Whether a run with this row of `outcomes` needs no more training under the budget of `config`."""
    if end["status"] != "finished" or end["epochs"] >= config.budget.epochs or not end["steps"]:
        return True  # what finished without a step was fitted in closed form
    return bool(0 < config.budget.patience <= end["epochs"] - number(end["best_epoch"]))


def number(value: Any) -> float:
    """A table's value as a float; NaN for null."""
    return math.nan if pd.isna(value) else float(value)
