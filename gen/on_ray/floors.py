"""The floor of a search's full figures: measured once, as a Ray task, when these are on record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.memory import fitting, limit_share
from gen.distributed.workers import ALONE
from gen.engine.per_process import judge_of
from gen.on_ray.alive import end_with_head
from gen.on_ray.errors import reason
from gen.on_ray.scoring import Stored, Wanted
from gen.on_ray.spending import devices_of, share_of
from gen.record.floors import measure_floors, record
from gen.results.floor import Asked, floor_rows, lacking
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.queries import evals

RETRIES = 2  # of a task whose process died


def measure_missing(wanted: Wanted, lease: Lease, needed: Mapping[str, float], files: str) -> None:
    """Measures the floors of the full figures of the `wanted` runs that are not on record, or records why that cannot
    be: a report ends no search. `files`: a word in the names of the files that it writes, another one for each time in
    an attempt."""
    by_run = {one.run: one for one in wanted.stored}
    if not by_run:
        return
    figures = evals(wanted.storage, wanted.experiment, scope="best")
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    asked = lacking(wanted.storage, wanted.experiment, figures[figures["run"].isin(list(by_run))])
    slot = Slot(wanted.storage, wanted.experiment, f"{lease.attempt}-{files}-floors", kind="evaluated")
    for one, run in asked.items():
        try:
            found = ray.get(task.remote(wanted, by_run[run], one, devices_of(needed, 1), share_of(needed)))
        except ray.exceptions.RayError as error:
            found = [floor_rows(wanted.experiment, one, [], {"seconds": 0.0}, reason(error))]
        lease.check()
        for rows in found:
            record(slot, lease.attempt, rows)


def measure(wanted: Wanted, stored: Stored, one: Asked, devices: float, share: float) -> list[list[dict[str, Any]]]:
    """What `measure_floors` gives, from a process of the cluster, which keeps the data and the judge for the next. It
    takes no more than a `share` of a GPU's memory: TooLargeError if that is too little for the judge."""
    end_with_head()
    set_threads(stored.config.machine.threads)
    device = resolve_device(stored.config.machine.device)
    with fitting(device, ALONE):
        limit_share(device, share)
        judge = judge_of(stored.config, wanted.data_root, wanted.download, wanted.storage, device)
    return list(measure_floors(wanted.storage, wanted.experiment, [one], judge, devices))
