"""The full protocol for the leaders of a search, or for all its runs that finished without: measured when it ends or
pauses, as Ray tasks over the cluster, by the code that jobs.evaluate measures with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray

from gen.config import RunConfig
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.workers import ALONE
from gen.metrics.table import direction
from gen.on_ray.scoring import Stored, Wanted, score
from gen.record import checkpoint
from gen.record.later import Known, Rows, of_attempt, on_record
from gen.results import queries
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.ranking import costs
from gen.results.schema import WORST
from gen.results.storage import Storage

FIGURES = ("evals", "metrics")  # tables of what is measured; the others hold the pictures
RETRIES = 2  # of a task whose process died


def leaders(storage: Storage, experiment: str, runs: Mapping[str, RunConfig]) -> list[str]:
    """The finished runs that are measured in full when their search ends, the best by the figure that steered them
    first: as many as `evaluate.leaders` says, or all if `evaluate.full` is "all"."""
    if experiment not in storage.folders(""):
        return []
    ends = queries.outcomes(storage, experiment)
    ends = ends[ends["run"].isin(list(runs)) & (ends["status"] == "finished") & ends["checkpoint"].notna()]
    if ends.empty:
        return []
    small, asked = direction(ends["metric"].iloc[0]) == "min", next(iter(runs.values())).evaluate
    ends = ends.sort_values("best", ascending=small, kind="stable")
    if asked.full == "all":
        return list(ends["run"])
    best = ends["best"].to_numpy(dtype=float, na_value=np.nan)
    return list(ends["run"][np.isfinite(best) & (np.abs(best) < WORST)][: asked.leaders])


def measure_leaders(
    wanted: Wanted, lease: Lease, needed: Mapping[str, float], hear: Callable[[str, int, int], None], most: int = 0
) -> list[str]:
    """Measures the stored weights of a search's runs in full, those figures that are missing, and draws their grids; as
    many runs at a time as fit, and at most `most` if that is not 0. `hear(run, done, count)` is called after each run.
    Gives a line for each run that could not be measured."""
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    known = ray.put(on_record(wanted.storage, wanted.experiment))
    sent = ray.put(wanted)
    waiting, running = list(wanted.stored), dict[Any, str]()
    slot = Slot(wanted.storage, wanted.experiment, f"{lease.attempt}-leaders", kind="evaluated")
    errors, count = list[str](), len(waiting)
    while waiting or running:
        while waiting and (not most or len(running) < most):
            one = waiting.pop(0)
            running[task.remote(sent, one, known)] = one.run
        done, _ = ray.wait(list(running), timeout=1.0)
        lease.check()
        for ref in done:
            run = running.pop(ref)
            try:
                rows = ray.get(ref)
            except ray.exceptions.RayError as error:
                errors.append(f"run {run} was not measured: {str(error).strip().splitlines()[-1]}")
                continue
            of_run = of_attempt(rows, lease.attempt)
            for figures in (False, True):  # pictures first: a run that has its figures is not looked at again
                slot.extend({table: some for table, some in of_run.items() if (table in FIGURES) == figures})
            hear(run, count - len(waiting) - len(running), count)
    return errors


def measure(wanted: Wanted, one: Stored, known: Known) -> Rows:
    """The rows that a run lacks, from a process of the cluster, which keeps the data and the judge for the next run."""
    set_threads(one.config.machine.threads)
    return score(wanted, one, known, resolve_device(one.config.machine.device), ALONE, pictures=True)


def best_weights(
    storage: Storage, experiment: str, names: Sequence[str], runs: Mapping[str, RunConfig]
) -> list[Stored]:
    """The best weights of the runs `names`, but for runs that have none."""
    begun = queries.runs(storage, experiment).set_index("run")
    seconds = costs(storage, experiment)
    ticks = {run: checkpoint.best_tick(storage, experiment, run) for run in names}
    return [Stored(run, tick, begun["data_hash"][run], runs[run], seconds[run]) for run, tick in ticks.items() if tick]
