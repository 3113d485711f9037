"""Trials of several workers: inside the trial runs a Ray Train group, which ends by itself before the trial does.

Tune must not kill such a trial, for the group's placement group would stay. So the trial and rank 0 of the group talk
after each tick: rank 0 sends the tick, and the trial answers GO, a reason to stop, or LEAVE, to end and go on later.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray import tune
from ray.util.placement_group import get_current_placement_group
from ray.util.queue import Empty, Queue

from gen.config import RunConfig
from gen.distributed.machine import set_threads
from gen.distributed.memory import limit_share
from gen.distributed.workers import Workers
from gen.engine.fit import Tick, fit
from gen.on_ray import preflight
from gen.on_ray.alive import end_with_head
from gen.on_ray.spending import share_of
from gen.on_ray.submission import Order, Search
from gen.on_ray.trainable import Resident
from gen.on_ray.worker import every_host
from gen.record.record import Home

GO, LEAVE = "", "\0leave"  # what a trial answers to a tick, beside a reason to stop
POLL = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"  # seconds until Train sees that its workers returned; 2 unless set
DRIVER = {"memory": 1.0}
"""What Tune sets aside for a trial's own process where its run trains in a group of workers: one byte of memory. The
process only drives the group, but Tune wants it to take something; a share of a CPU, however small, would cost a worker
its place on a node whose CPUs are all for workers."""


@dataclass(frozen=True)
class Line:
    """The two queues between a trial and rank 0 of its workers."""

    ticks: Queue
    answers: Queue

    @staticmethod
    def start() -> Line:
        """A new line: two processes, which take no CPU."""
        return Line(Queue(actor_options={"num_cpus": 0}), Queue(actor_options={"num_cpus": 0}))

    def clear(self) -> None:
        """Empties the queues of what a group that broke left there."""
        for queue in (self.ticks, self.answers):
            queue.get_nowait_batch(queue.size())


class Grouped(Resident):
    """One trial after another, each a run of `fit` in a worker group of its own. This process only drives."""

    def setup(self, config: dict[str, Any], search: Search | None = None) -> None:
        """Begins the first trial of this process."""
        os.environ.setdefault(POLL, "0.2")
        self.line = Line.start()
        super().setup(config, search)

    def launch(self, config: RunConfig, home: Home) -> Generator[Tick, str | None, None]:
        """The run's ticks, from a new worker group."""
        search = self.search
        self.line.clear()
        ray.get(search.holder.free.remote(self.run))  # the group of a process that was killed while it drove this run
        order = search.order(self.run, config)
        return drive(order, search.needed, dataclasses.replace(home, slot=None), self.line, search.holder)


def arrange_trials(
    plan: Search, needed: Mapping[str, float], most: int, chosen: type[Resident] | None = None
) -> tuple[Any, int]:
    """The trainable of a search, or the one that was `chosen`, with the resources that Tune sets aside for each trial,
    and how many trials run at a time: as many as fit, and at most `most` if that is not 0.

    Tune would find that number by itself, but it would ask for a process for each trial beyond it too, and start and
    end some of these in vain.
    """
    if plan.holder is None:
        resources = {name.lower(): amount for name, amount in needed.items()}
        trainable = tune.with_resources(tune.with_parameters(chosen or Resident, search=plan), resources)
    else:
        trainable = tune.with_resources(tune.with_parameters(Grouped, search=plan), DRIVER)
    return trainable, places(plan.workers, needed, most)


def places(workers: int, needed: Mapping[str, float], most: int = 0) -> int:
    """How many groups of `workers` workers that need `needed` each run at a time: as many as fit, and at most `most` if
    that is not 0.

    All workers are alike, and each takes one place on a node. So wherever groups lie already, there is room for as many
    more as the places that are left allow.
    """
    groups = max(preflight.room(needed) // workers, 1)
    return min(most, groups) if most else groups


def drive(
    order: Order, needed: Mapping[str, float], home: Home, line: Line, holder: Any
) -> Generator[Tick, str | None, None]:
    """The ticks of a run that a new group of workers trains. As with `fit`, a reason sent into the generator stops the
    run, and `close()` leaves it to go on later. The last tick comes, and `close()` returns, only after the group has
    ended. RuntimeError if the group broke."""
    run, name = order.run, f"{order.attempt}-{order.run}-{os.getpid()}"
    trainer = ray.train.torch.TorchTrainer(
        train_in_trial,
        train_loop_config={"order": order, "home": home, "line": line, "holder": holder, "share": share_of(needed)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=order.config.machine.workers, use_gpu="GPU" in needed, resources_per_worker=dict(needed)
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=order.storage.full(f"{order.experiment}/_ray"),
            storage_filesystem=order.storage.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=0),  # the trial fails, and Tune begins it again
        ),
    )
    own = order.storage.passing(f"{order.experiment}/_ray/{name}")
    with own, ThreadPoolExecutor(1) as pool:  # leaving it waits for the group's end
        group = pool.submit(trainer.fit)
        while True:
            over = group.done()
            try:
                tick = Tick(**line.ticks.get(timeout=1.0))
            except Empty:
                if over:
                    group.result()  # raises the error that broke the group
                    raise RuntimeError(f"the workers of run {run} returned before its end") from None
                continue
            if tick.ended:
                group.result()
                yield tick
                return
            try:
                reason = yield tick
            except GeneratorExit:
                line.answers.put(LEAVE)
                group.result()
                raise
            line.answers.put(reason or GO)


def train_in_trial(sent: Mapping[str, Any]) -> None:
    """The function of a worker: `sent` holds "order", "home", "line", "holder" and "share"."""
    end_with_head()
    order: Order = sent["order"]
    line: Line = sent["line"]
    set_threads(order.config.machine.threads)
    workers, device = Workers.current(), ray.train.torch.get_device()
    limit_share(device, sent["share"])
    if workers.rank == 0:
        ray.get(sent["holder"].hold.remote(order.run, get_current_placement_group()))
    dataset, judge = order.dataset(order.config, device), order.judge(order.config, device, workers)
    hosts = sorted(set(every_host(workers)))
    home = dataclasses.replace(sent["home"], facts={**order.facts, "hosts": hosts})
    run = fit(order.config, dataset, device=device, workers=workers, home=home, judge=judge)
    tick = next(run)
    while True:
        if workers.rank == 0:
            line.ticks.put(asdict(tick))
        if tick.ended:
            break
        said = workers.share(line.answers.get() if workers.rank == 0 else GO)
        if said == LEAVE:
            break
        tick = run.send(said or None)
    run.close()
