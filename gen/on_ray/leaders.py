"""The full protocol for the leaders of a search, or for all its runs that finished without: measured when it ends or
pauses, as Ray tasks over the cluster, by the code that jobs.evaluate measures with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.util.queue import Queue

from gen.config import RunConfig
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.memory import fitting, limit_share
from gen.distributed.workers import ALONE
from gen.metrics.table import direction
from gen.on_ray.alive import end_with_head
from gen.on_ray.errors import reason
from gen.on_ray.scoring import Stored, Wanted, score
from gen.on_ray.spending import share_of
from gen.record import checkpoint
from gen.record.later import Known, Rows, of_attempt, on_record
from gen.results import queries
from gen.results.comparison import configuration_of
from gen.results.forget import forgotten
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.ranking import costs
from gen.results.schema import WORST
from gen.results.storage import Storage

FIGURES = ("evals", "metrics")  # tables of what is measured; the others hold the pictures
RETRIES = 2  # of a task whose process died


def leaders(storage: Storage, experiment: str, runs: Mapping[str, RunConfig]) -> list[str]:
    """The finished runs that are measured in full when their search ends, or all if `evaluate.full` is "all": whole
    configurations, the best by the mean of the figures that steered their runs first, so many that they have as many
    runs as `evaluate.leaders` says, or more by less than one configuration's seeds. A configuration of which a run that
    ended has no sound weights (it failed, was stopped, or is below its floor) comes behind all whole ones, as in the
    ranking by configuration, and its sound runs alone are measured. A run of which no table tells the settings any more
    is a configuration of its own, so that `best_weights` refuses it by name. None of the runs was forgotten."""
    if experiment not in storage.folders(""):
        return []
    ends = queries.outcomes(storage, experiment)
    ends = ends[ends["run"].isin(runs.keys() - forgotten(storage, experiment).keys())]
    finished = (ends["status"] == "finished").to_numpy(dtype=bool) & ends["checkpoint"].notna().to_numpy(dtype=bool)
    if not finished.any():
        return []
    sign, asked = 1 if direction(ends["metric"].iloc[0]) == "min" else -1, next(iter(runs.values())).evaluate
    best = ends["best"].to_numpy(dtype=float, na_value=np.nan)
    cost = np.where(np.isnan(best), np.inf, sign * best)  # what has no value is last
    ends = ends.assign(finished=finished, cost=cost, sound=finished & np.isfinite(best) & (np.abs(best) < WORST))
    ends = ends.sort_values("cost", kind="stable")
    if asked.full == "all":
        return list(ends["run"][ends["finished"]])
    number = configuration_of(queries.settings(storage, experiment))
    unknown = {run: -1 - place for place, run in enumerate(ends["run"]) if run not in number}
    ends["configuration"] = ends["run"].map(number | unknown)
    of = ends.groupby("configuration", dropna=False)["sound"].agg(["sum", "size"])
    means = ends[ends["sound"]].groupby("configuration", dropna=False)["cost"].mean()
    whole = (of["sum"] == of["size"]).reindex(means.index)
    fewer = np.where(whole, 0, -of["sum"].reindex(means.index))
    found = list[str]()
    for place in np.lexsort([means.to_numpy(), fewer, ~whole.to_numpy(dtype=bool)]):
        if len(found) >= asked.leaders:
            break
        found += list(ends["run"][ends["sound"] & (ends["configuration"] == means.index[place])])
    return found


@dataclass(frozen=True)
class Measuring:
    """How far the leaders of a search are measured."""

    run: str
    number: int  # of the run, in the order in which they are begun
    done: int  # runs that are measured
    count: int  # of all that are to be measured
    left: float  # estimate of the seconds to go; NaN before the first run is measured
    text: str = ""  # what is being measured of the run; "": it is done


def measure_leaders(
    wanted: Wanted,
    lease: Lease,
    needed: Mapping[str, float],
    hear: Callable[[Measuring], None],
    most: int = 0,
    name: str = "leaders",
) -> list[str]:
    """Measures the stored weights of a search's runs in full, those figures that are missing, and draws their grids; as
    many runs at a time as fit, and at most `most` if that is not 0. `hear` hears what is measured next of each run, and
    that a run is done. `name` tells the files of one attempt apart. Gives a line for each run that could not be
    measured."""
    if not wanted.stored:
        return []
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    known, queue = ray.put(on_record(wanted.storage, wanted.experiment)), Queue(actor_options={"num_cpus": 0})
    sent = ray.put(wanted)
    waiting, running = list(wanted.stored), dict[Any, str]()
    numbers = {one.run: number for number, one in enumerate(waiting, 1)}
    slot = Slot(wanted.storage, wanted.experiment, f"{lease.attempt}-{name}", kind="evaluated")
    errors, count, began = list[str](), len(waiting), time.monotonic()

    def tell(run: str, text: str = "") -> None:
        done = count - len(waiting) - len(running)
        left = (time.monotonic() - began) / done * (count - done) if done else math.nan
        hear(Measuring(run, numbers[run], done, count, left, text))

    while waiting or running:
        while waiting and (not most or len(running) < most):
            one = waiting.pop(0)
            running[task.remote(sent, one, known, queue, share_of(needed))] = one.run
        done, _ = ray.wait(list(running), timeout=1.0)
        lease.check()
        for run, text in queue.get_nowait_batch(queue.size()):
            tell(run, text)
        for ref in done:
            run = running.pop(ref)
            try:
                rows = ray.get(ref)
            except ray.exceptions.RayError as error:
                errors.append(f"run {run} was not measured: {reason(error)}")
                continue
            of_run = of_attempt(rows, lease.attempt)
            for figures in (False, True):  # pictures first: a run that has its figures is not looked at again
                slot.extend({table: some for table, some in of_run.items() if (table in FIGURES) == figures})
            tell(run)
    queue.shutdown()
    return errors


def measure(wanted: Wanted, one: Stored, known: Known, queue: Queue, share: float) -> Rows:
    """The rows that a run lacks, from a process of the cluster, which keeps the data and the judge for the next run. It
    takes no more than a `share` of a GPU's memory: TooLargeError if that is too little."""
    end_with_head()
    set_threads(one.config.machine.threads)
    device = resolve_device(one.config.machine.device)
    with fitting(device, ALONE):
        limit_share(device, share)
        return score(wanted, one, known, device, ALONE, pictures=True, tell=lambda text: queue.put((one.run, text)))


def best_weights(
    storage: Storage, experiment: str, names: Sequence[str], runs: Mapping[str, RunConfig]
) -> list[Stored]:
    """The best weights of the runs `names`, but for runs that have none. ValueError if the tables lack one of them."""
    found = queries.data_hashes(storage, experiment, names)
    seconds = costs(storage, experiment)
    ticks = {run: checkpoint.best_tick(storage, experiment, run) for run in names}
    return [Stored(run, tick, found[run], runs[run], seconds.get(run, math.nan)) for run, tick in ticks.items() if tick]
