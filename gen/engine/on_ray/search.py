"""A search: many runs of one entry as trials of Ray Tune, each in a process that stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from gen.config import identity
from gen.engine.on_ray.scheduler import EPOCH, REPLAYED, VALUE, RecordedHalving
from gen.engine.on_ray.trainable import TRIAL, Resident, Search
from gen.results.lease import Lease
from gen.results.ledger import Slot

QUIET = 5.0  # seconds between two reports on a search that goes on
RETRIES = 2  # of a trial whose process died


def search(
    plan: Search,
    lease: Lease,
    needed: Mapping[str, float],
    hear: Callable[[str], None],
    *,
    mode: str,
    grace: int,
    reduction: int,
    most: int = 0,
) -> list[str]:
    """Runs all configs to their end or until successive halving stops them. Tells `hear` about each end, and every few
    seconds how far the search is. Gives the errors of runs that broke. KeyboardInterrupt if it was interrupted."""
    if all(identity(config, plan.data_hash) in plan.told for config in plan.configs):
        return []
    epochs = max(config.budget.epochs for config in plan.configs)
    slot = Slot(plan.storage, plan.experiment, f"{plan.attempt}-scheduler")
    halving = RecordedHalving(slot, plan.experiment, plan.attempt, mode, epochs, min(grace, epochs), reduction)
    runs = [identity(config, plan.data_hash) for config in plan.configs]
    order = sorted(range(len(runs)), key=lambda index: runs[index] not in plan.told)  # what is on record sets the rungs
    teller = Teller(hear, len(runs), lease)
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(Resident, search=plan), {key.lower(): needed[key] for key in needed}),
        param_space={TRIAL: tune.grid_search(order)},
        tune_config=tune.TuneConfig(scheduler=halving, reuse_actors=True, max_concurrent_trials=most or None),
        run_config=tune.RunConfig(
            name=plan.attempt,
            storage_path=plan.storage.full(f"{plan.experiment}/_ray"),
            storage_filesystem=plan.storage.filesystem,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[teller],
            verbose=0,
        ),
    ).fit()
    errors = [str(error).strip().splitlines()[-1] for error in results.errors]
    if teller.ended + len(errors) < len(runs):
        raise KeyboardInterrupt
    return errors


class Teller(tune.Callback):
    """Hears of results as the search goes on, and ends it if its lease went to another attempt."""

    def __init__(self, hear: Callable[[str], None], runs: int, lease: Lease) -> None:
        self.hear, self.runs, self.lease = hear, runs, lease
        self.ended = self.ticks = 0
        self.began = self.spoke = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks to restore a search, which here the tables do."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Counts a tick."""
        self.lease.check()
        self.ticks += 1
        if time.monotonic() - self.spoke >= QUIET:
            running = sum(one.status == Trial.RUNNING for one in trials)
            self.say(f"{self.ended} of {self.runs} runs ended, {running} running, {self.ticks} ticks")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tells how a run ended."""
        self.ended += 1
        last = trial.last_result
        end = last.get("ended") or ("on record" if last.get(REPLAYED) else "stopped")
        self.say(f"run {last['run']} {end} at epoch {last[EPOCH]:g}: {last[VALUE]:.6g}  ({self.ended} of {self.runs})")

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        self.spoke = time.monotonic()
        self.hear(f"{self.spoke - self.began:6.1f} s  {text}")
