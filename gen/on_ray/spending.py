"""The budget of a search, as Tune asks whether it is spent, and what the tables say was spent before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from ray import tune

from gen.config import RunConfig
from gen.on_ray.scheduler import EPOCH, RUN, SECONDS
from gen.results import queries
from gen.results.floor import KIND as FLOOR
from gen.results.floor import measuring
from gen.results.ranking import costs
from gen.results.schema import MEASURED_LATER
from gen.results.storage import Storage
from gen.search.budgets import Account, Budget


class Spending(tune.Stopper):
    """Ends a search when a limit of its budget is reached. Runs that train then keep a checkpoint, and go on when the
    search is submitted again with a larger budget."""

    def __init__(self, budget: Budget, account: Account) -> None:
        self.budget, self.account = budget, account

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Notes what a run has taken; it stops none by itself."""
        self.account.note(result[RUN], float(result[EPOCH]), float(result[SECONDS]))
        return False

    def stop_all(self) -> bool:
        """Whether a limit is reached."""
        return bool(self.reached)

    @property
    def reached(self) -> str:
        """The limit that is reached, in words; "": none."""
        return self.account.reached(self.budget)


def devices_of(needed: Mapping[str, float], workers: int) -> float:
    """How many devices a run takes: the GPUs of its workers, or of a GPU the part that it takes; without a GPU one a
    worker."""
    return needed.get("GPU", 1.0) * workers


def share_of(needed: Mapping[str, float]) -> float:
    """The share of a GPU's memory that the process of a run may take: all of it, unless it takes a part of the GPU."""
    return min(needed.get("GPU", 1.0), 1.0)


def account_of(storage: Storage, experiment: str, devices: float) -> Account:
    """What the runs of an experiment have taken so far, runs that ended, in whatever way, and runs that go on, and what
    was measured beside them. A run goes on beyond its end where its budget grew, or where it failed: it has taken what
    the further of its end and its last tick says, and what it trained again up to there counts once."""
    account = Account(devices)
    if experiment not in storage.folders(""):
        return account
    begun = queries.runs(storage, experiment, ["run", "devices"]).dropna()
    account.of_run = dict(zip(begun["run"], begun["devices"].astype(float), strict=True))
    ends = queries.outcomes(storage, experiment)
    for run, epochs, seconds in zip(ends["run"], ends["epochs"], ends["seconds"], strict=True):
        account.note(run, float(epochs), float(seconds))
    whole = costs(storage, experiment, ends)
    account.measuring = sum((whole[run] - account.seconds[run]) * account.of_run.get(run, devices) for run in whole)
    account.measuring += measuring(queries.read(storage, experiment, "events", {"kind": FLOOR}, ["attempt", "detail"]))
    last = furthest_ticks(storage, experiment)
    for run, epochs, seconds in zip(*(last[name].to_pylist() for name in ("run", "epoch", "seconds")), strict=True):
        account.note(run, epochs, seconds)
    return account


def furthest_ticks(storage: Storage, experiment: str) -> pa.Table:
    """The largest `epoch` and `seconds` of each run's ticks."""
    rows = queries.read_arrow(storage, experiment, "metrics", columns=["run", "epoch", "seconds", "name"])
    later = pc.is_in(rows["name"], value_set=pa.array(MEASURED_LATER))  # whose seconds are those of measuring alone
    last = rows.filter(pc.invert(later)).group_by("run").aggregate([("epoch", "max"), ("seconds", "max")])
    return last.rename_columns({"epoch_max": "epoch", "seconds_max": "seconds"})


def spending_of(
    storage: Storage, experiment: str, budget: Budget, needed: Mapping[str, float], runs: Mapping[str, RunConfig]
) -> Spending:
    """The budget of a search with what was spent before."""
    workers = next(iter(runs.values())).machine.workers
    devices = devices_of(needed, workers)
    return Spending(budget, account_of(storage, experiment, devices) if budget.limits else Account(devices))
