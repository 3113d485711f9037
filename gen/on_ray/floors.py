"""The floor of a search's full figures: measured once, as a Ray task, when these are on record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import ray

from gen.distributed.machine import resolve_device, set_threads
from gen.engine.per_process import judge_of
from gen.judge import floor
from gen.on_ray.alive import end_with_head
from gen.on_ray.errors import reason
from gen.on_ray.scoring import Stored, Wanted
from gen.results import floor as on_record
from gen.results.lease import Lease
from gen.results.ledger import Slot

RETRIES = 2  # of a task whose process died


def measure_floors(wanted: Wanted, lease: Lease, needed: Mapping[str, float], files: str) -> None:
    """Measures the figures of real held-out images for those protocols of the `wanted` runs that have none on record,
    and records them, or why that cannot be: a report ends no search. `files`: a word in the names of the files that it
    writes, another one for each time in an attempt."""
    by_run = {one.run: one for one in wanted.stored}
    lacking = on_record.lacking(wanted.storage, wanted.experiment, by_run.keys()) if by_run else {}
    task = ray.remote(num_cpus=needed["CPU"], num_gpus=needed.get("GPU", 0.0), max_retries=RETRIES)(measure)
    slot = Slot(wanted.storage, wanted.experiment, f"{lease.attempt}-{files}-floors", kind="evaluated")
    for one, run in lacking.items():
        try:
            rows = ray.get(task.remote(wanted, by_run[run], one))
        except ray.exceptions.RayError as error:
            rows = on_record.floor_rows(wanted.experiment, one, [], 0.0, reason(error))
        lease.check()
        slot.extend({"events": [{**row, "attempt": lease.attempt, "time": datetime.now(UTC)} for row in rows]})


def measure(wanted: Wanted, stored: Stored, one: on_record.Asked) -> list[dict[str, Any]]:
    """The rows of a floor, from a process of the cluster."""
    end_with_head()
    set_threads(stored.config.machine.threads)
    device = resolve_device(stored.config.machine.device)
    judge = judge_of(stored.config, wanted.data_root, wanted.download, wanted.storage, device)
    start = time.perf_counter()
    figures = floor(judge, one.split, one.n_fake, one.column)
    rows = [{**figure.row(), "data_hash": stored.data_hash} for figure in figures]
    return on_record.floor_rows(wanted.experiment, one, rows, time.perf_counter() - start)
