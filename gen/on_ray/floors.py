"""The floor of a search's full figures: measured once, as a Ray task, when these are on record."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import ray

from gen.distributed.machine import resolve_device, set_threads
from gen.engine.per_process import judge_of
from gen.on_ray.alive import end_with_head
from gen.on_ray.errors import reason
from gen.on_ray.scoring import Stored, Wanted
from gen.on_ray.spending import devices_of
from gen.record.floors import measure_floors, record
from gen.results.floor import Asked, floor_rows, lacking
from gen.results.lease import Lease
from gen.results.ledger import Slot
from gen.results.queries import evals

RETRIES = 2  # of a task whose process died


def measure_missing(wanted: Wanted, lease: Lease, needed: Mapping[str, float]) -> None:
    """Measures the floors of the full figures of the `wanted` runs that are not on record, or records why that cannot
    be: a report ends no search."""
    by_run = {one.run: one for one in wanted.stored}
    if not by_run:
        return
    figures = evals(wanted.storage, wanted.experiment, scope="best")
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    asked = lacking(wanted.storage, wanted.experiment, figures[figures["run"].isin(list(by_run))])
    for one, run in asked.items():
        try:
            ray.get(task.remote(wanted, by_run[run], one, lease.attempt, devices_of(needed, 1)))
        except ray.exceptions.RayError as error:
            lease.check()
            rows = floor_rows(wanted.experiment, one, [], {"seconds": 0.0}, reason(error))
            record(slot_of(wanted, lease.attempt), lease.attempt, rows)


def measure(wanted: Wanted, stored: Stored, one: Asked, attempt: str, devices: float) -> None:
    """Measures and records a floor, in a process of the cluster, which keeps the data and the judge for the next."""
    end_with_head()
    set_threads(stored.config.machine.threads)
    device = resolve_device(stored.config.machine.device)
    judge = judge_of(stored.config, wanted.data_root, wanted.download, wanted.storage, device)
    measure_floors(slot_of(wanted, attempt), attempt, [one], judge, devices)


def slot_of(wanted: Wanted, attempt: str) -> Slot:
    """Files for a floor: of their own, for a task may be tried again."""
    return Slot(wanted.storage, wanted.experiment, f"{attempt}-{uuid.uuid4().hex[:8]}", kind="evaluated")
