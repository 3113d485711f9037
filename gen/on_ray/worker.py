"""One worker of a Ray Train group: iterates `fit`, and tells the driver about each tick."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import ray.train
import ray.train.torch
from ray.util.queue import Queue

from gen.distributed.machine import set_threads
from gen.distributed.workers import Workers
from gen.engine.fit import fit
from gen.judge.judge import silence
from gen.on_ray.alive import end_with_head
from gen.on_ray.submission import Order
from gen.record.floors import measure_floors, record
from gen.results.floor import lacking
from gen.results.ledger import Slot
from gen.results.queries import evals
from gen.results.room import FullError

FULL = "full"  # key of the line that a worker sends when a place has no room left


def train_worker(sent: Mapping[str, Any]) -> None:
    """The function of a Ray Train worker: `sent` holds "order" and "queue", where the driver listens to ticks, to texts
    that say what is measured at the end, and to {FULL: the line that says which place has no room left}."""
    end_with_head()
    order: Order = sent["order"]
    ticks: Queue = sent["queue"]
    set_threads(order.config.machine.threads)
    workers, device = Workers.current(), ray.train.torch.get_device()
    dataset, judge = order.dataset(order.config, device), order.judge(order.config, device, workers)
    hosts = sorted(set(every_host(workers)))
    home = order.home(order.run, facts={**order.facts, "hosts": hosts})
    tell = ticks.put if workers.rank == 0 else silence
    try:
        for tick in fit(order.config, dataset, device=device, workers=workers, home=home, judge=judge, tell=tell):
            if workers.rank == 0:
                ticks.put(asdict(tick))  # plain values: the queue's process then needs neither gen nor torch
        place = order.storage, order.experiment
        full = evals(*place, run=order.run, scope="best") if workers.rank == 0 else None
        asked = workers.share({} if full is None else lacking(*place, full))
        slot = Slot(*place, f"{order.attempt}-{uuid.uuid4().hex[:8]}", kind="evaluated")
        for rows in measure_floors(*place, asked, judge, workers.size, workers, tell):
            record(slot, order.attempt, rows)
    except FullError as error:  # Ray would begin the group anew, again and again
        ticks.put({FULL: str(error)})
        raise


def every_host(workers: Workers) -> list[str]:
    """The host of each worker, by rank."""
    hosts = [socket.gethostname()] * workers.size
    if workers.size > 1:
        import torch.distributed  # only a group has it initialised

        torch.distributed.all_gather_object(hosts, socket.gethostname())
    return hosts
