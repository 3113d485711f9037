"""What `jobs.report --nearest` measures: the best run's fakes beside the training images that are nearest to them."""

from __future__ import annotations

from gen import results
from gen.distributed.machine import resolve_device
from gen.engine.nearest import is_known, measure_nearest
from gen.record import checkpoint
from gen.report.facts import Experiment
from gen.report.pictures import best_of
from jobs import interrupt
from jobs.cluster import say


def nearest(experiment: Experiment, data_root: str | None, download: bool, device: str) -> None:
    """Measures the best run, if its picture is not on record, and says what it found. ValueError for a run that has no
    weights or makes no fakes, for other images than it was trained on, and while another job writes the experiment."""
    storage, name, run = experiment.storage, experiment.name, best_of(experiment)
    if not run or not checkpoint.best_tick(storage, name, run):
        raise ValueError(f"no run of {name} has stored weights to compare with training images; leave --nearest out")
    if is_known(storage, name, run):
        print(f"{name}: the training images nearest to the fakes of run {run} are on record", flush=True)
        return
    lease = results.Lease(storage, name, hear=interrupt.give_up)
    lease.acquire(say=say)
    try:
        where = resolve_device(device)
        text = measure_nearest(lease.storage, name, run, lease.attempt, where, data_root, download, say)
    finally:
        lease.release()
    print(f"{name}: run {run}. {text}", flush=True)
