"""The full protocol for the leaders of a search: measured when it ends or pauses, as Ray tasks over the cluster, by the
code that jobs.evaluate measures with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import ray

from gen.config import RunConfig
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.workers import ALONE
from gen.metrics.table import direction
from gen.on_ray.scoring import Known, Rows, Stored, Wanted, of_attempt, on_record, score
from gen.record import checkpoint
from gen.results import queries
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.schema import WORST
from gen.results.storage import Storage

SPLITS = ("validation", "test")
RETRIES = 2  # of a task whose process died


def leaders(storage: Storage, experiment: str, runs: Mapping[str, RunConfig]) -> list[str]:
    """The best of the runs that finished, by the figure that steered them, as many as their settings say."""
    if experiment not in storage.folders(""):
        return []
    ends = queries.outcomes(storage, experiment)
    ends = ends[ends["run"].isin(list(runs)) & (ends["status"] == "finished") & ends["checkpoint"].notna()]
    best = ends["best"].to_numpy(dtype=float, na_value=np.nan)
    ends = ends[np.isfinite(best) & (np.abs(best) < WORST)]
    if ends.empty:
        return []
    small = direction(ends["metric"].iloc[0]) == "min"
    most = next(iter(runs.values())).evaluate.leaders
    return list(ends.sort_values("best", ascending=small, kind="stable")["run"][:most])


def measure_leaders(
    wanted: Wanted, lease: Lease, needed: Mapping[str, float], hear: Callable[[str, int, int], None]
) -> list[str]:
    """Measures the stored weights of a search's leaders in full, those figures that are missing, and draws their grids;
    `hear` is told each run, and how many of how many are done. Gives what went wrong, a line a run."""
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    known = ray.put(on_record(wanted.storage, wanted.experiment))
    sent = ray.put(wanted)
    running = {task.remote(sent, one, known): one.run for one in wanted.stored}
    slot = Slot(wanted.storage, wanted.experiment, f"{lease.attempt}-leaders", kind="evaluated")
    errors, count = list[str](), len(running)
    while running:
        done, _ = ray.wait(list(running), timeout=1.0)
        lease.check()
        for ref in done:
            run = running.pop(ref)
            try:
                rows = ray.get(ref)
            except ray.exceptions.RayError as error:
                errors.append(f"run {run} was not measured: {str(error).strip().splitlines()[-1]}")
                continue
            if rows:
                slot.extend(of_attempt(rows, lease.attempt))
            hear(run, count - len(running), count)
    return errors


def measure(wanted: Wanted, one: Stored, known: Known) -> Rows:
    """One run's missing rows, in a process of the cluster, which keeps data and judge for the next."""
    set_threads(one.config.machine.threads)
    return score(wanted, one, known, resolve_device(one.config.machine.device), ALONE, pictures=True)


def best_weights(
    storage: Storage, experiment: str, names: Sequence[str], runs: Mapping[str, RunConfig]
) -> list[Stored]:
    """The best weights of runs."""
    begun = queries.runs(storage, experiment).set_index("run")
    ticks = {run: checkpoint.best_tick(storage, experiment, run) for run in names}
    return [Stored(run, tick, begun["data_hash"][run], runs[run]) for run, tick in ticks.items() if tick]
