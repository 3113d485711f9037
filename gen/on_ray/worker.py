"""One worker of a Ray Train group: iterates `fit`, and tells the driver about each tick."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.util.queue import Queue

from gen.config import RunConfig
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.machine import set_threads
from gen.distributed.workers import Workers
from gen.engine.fit import fit
from gen.engine.stage_one import with_codes
from gen.judge import Judge, open_judge
from gen.record.record import Home
from gen.results.storage import Storage


@dataclass(frozen=True)
class Order:
    """What a driver sends to the processes that train for it. Picklable."""

    config: RunConfig
    storage: Storage
    experiment: str
    attempt: str
    data_hash: str
    data_root: str | None
    download: bool
    facts: Mapping[str, Any]  # columns of `runs` that the driver knows
    tensorboard: bool = False  # write TensorBoard's event files too
    run: str = ""  # its name


def open_same(order: Order, device: torch.device) -> Dataset:
    """The data set as this host has it, with codes if there is a first stage to make them on `device`. ValueError if it
    is not what the driver has."""
    dataset = open_dataset(order.config.data, order.data_root, order.download)
    if dataset.hash != order.data_hash:
        raise ValueError(
            f"data set {dataset.name} on host {socket.gethostname()} has hash {dataset.hash}, the driver's has "
            f"{order.data_hash}; bring the same files to every host"
        )
    return with_codes(order.config, dataset, order.storage, device)


def judge_for(order: Order, dataset: Dataset, device: torch.device, workers: Workers) -> Judge:
    """The judge of the run's own data set."""
    return open_judge(
        dataset,
        order.config.evaluate,
        device,
        workers,
        order.storage,
        inception_weights=order.config.machine.inception_weights,
        data_root=order.data_root,
        download=order.download,
    )


def train_worker(sent: Mapping[str, Any]) -> None:
    """The function of a Ray Train worker: `sent` holds "order" and "ticks", the queue that the driver listens to."""
    order: Order = sent["order"]
    ticks: Queue = sent["ticks"]
    set_threads(order.config.machine.threads)
    workers, device = Workers.joined(), ray.train.torch.get_device()
    dataset = open_same(order, device)
    judge = judge_for(order, dataset, device, workers)
    hosts = sorted(set(every_host(workers)))
    home = Home(
        order.storage,
        order.experiment,
        order.attempt,
        tensorboard=order.tensorboard,
        facts={**order.facts, "hosts": hosts},
        run=order.run,
    )
    for tick in fit(order.config, dataset, device=device, workers=workers, home=home, judge=judge):
        if workers.rank == 0:
            ticks.put(asdict(tick))  # plain values: the queue's process then needs neither gen nor torch


def every_host(workers: Workers) -> list[str]:
    """The host of each worker, by rank."""
    hosts = [socket.gethostname()] * workers.size
    if workers.size > 1:
        import torch.distributed  # only a group has it initialised

        torch.distributed.all_gather_object(hosts, socket.gethostname())
    return hosts
