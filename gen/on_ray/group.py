"""Several workers a trial: a Ray Train group inside it, which ends by itself before its trial does.

Tune must not kill such a trial: the group's placement group would stay. So the trial and rank 0 talk after each tick:
the tick goes one way, and "go on", a reason to stop, or LEAVE the other.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch.distributed
from ray import tune
from ray._raylet import PlacementGroupID
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.util.placement_group import PlacementGroup, get_current_placement_group, remove_placement_group
from ray.util.queue import Empty, Queue

from gen.config import RunConfig, identity
from gen.distributed.machine import set_threads
from gen.distributed.workers import Workers
from gen.engine.fit import Home, Tick, fit
from gen.on_ray import preflight
from gen.on_ray.trainable import Resident, Search
from gen.on_ray.worker import Order, every_host, judge_for, open_same

GO, LEAVE = "", "\0leave"  # what a trial answers to a tick, beside a reason to stop
POLL = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"  # how soon Train sees that its workers returned; 2 s unless set
DRIVER: dict[str, float] = {
    "memory": 1.0
}  # a byte, for Tune refuses nothing at all: a CPU's share would break one worker's place


@dataclass(frozen=True)
class Line:
    """The two queues between a trial and rank 0 of its workers."""

    ticks: Queue
    answers: Queue

    @staticmethod
    def laid() -> Line:
        """A line of two processes, which take no CPU."""
        return Line(Queue(actor_options={"num_cpus": 0}), Queue(actor_options={"num_cpus": 0}))

    def clear(self) -> None:
        """Takes out what a group that broke left."""
        for queue in (self.ticks, self.answers):
            queue.get_nowait_batch(queue.size())


class Grouped(Resident):
    """One trial after another, each a run of `fit` in a worker group of its own. This process only drives."""

    def setup(self, config: dict[str, Any], search: Search | None = None) -> None:
        """The first trial of this process."""
        os.environ.setdefault(POLL, "0.2")
        self.line = Line.laid()
        super().setup(config, search)

    def launch(self, config: RunConfig, home: Home) -> Generator[Tick, str | None, None]:
        """The run's ticks, from a new worker group."""
        search = self.search
        self.line.clear()
        remove_group(search.attempt, self.run)  # of a process that was killed as it drove this run
        order = Order(
            config,
            search.storage,
            search.experiment,
            search.attempt,
            search.data_hash,
            search.data_root,
            search.download,
            home.facts,
        )
        return drive(order, search.needed, dataclasses.replace(home, slot=None), self.line)


def arranged(plan: Search, needed: Mapping[str, float], most: int) -> tuple[Any, int | None]:
    """What Tune runs as a trial of `plan`, with its resources, and how many at a time; None: as many as fit.

    That number is said even where Tune would find it: for each trial beyond it Tune asks for a process of its own, and
    starts and ends some of them in vain.
    """
    workers = plan.configs[0].machine.workers
    if workers == 1:
        resources = {name.lower(): amount for name, amount in needed.items()}
        trainable = tune.with_resources(tune.with_parameters(Resident, search=plan), resources)
    else:
        plan = dataclasses.replace(plan, needed=needed)
        trainable = tune.with_resources(tune.with_parameters(Grouped, search=plan), DRIVER)
    return trainable, places(workers, needed, most) or None


def places(workers: int, needed: Mapping[str, float], most: int = 0) -> int:
    """How many groups of `workers` workers that need `needed` each can run at a time, at most `most` if not 0. 0 for
    single workers where the cluster has none yet and does not tell how large it may grow.

    Workers are all alike and each takes one place of a node, so whatever groups already lie where, as many more fit as
    there are places left for.
    """
    now, later = preflight.places(needed), preflight.most()
    bound = min(preflight.fit_in(later.get(name, 0), amount) for name, amount in needed.items())
    groups = max(now, bound) // workers
    if not groups:
        return most if workers == 1 else 1
    return min(most, groups) if most else groups


def drive(order: Order, needed: Mapping[str, float], home: Home, line: Line) -> Generator[Tick, str | None, None]:
    """As `fit`: ticks; a reason sent into it stops the run, `close()` leaves it to go on later. It gives the last tick
    and returns from `close()` only when the group has ended. RuntimeError if the group broke."""
    run = identity(order.config, order.data_hash)
    trainer = ray.train.torch.TorchTrainer(
        train_in_trial,
        train_loop_config={"order": order, "home": home, "line": line},
        scaling_config=ray.train.ScalingConfig(
            num_workers=order.config.machine.workers, use_gpu="GPU" in needed, resources_per_worker=dict(needed)
        ),
        run_config=ray.train.RunConfig(
            name=f"{order.attempt}-{run}-{os.getpid()}",
            storage_path=order.storage.full(f"{order.experiment}/_ray"),
            storage_filesystem=order.storage.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=0),  # the trial fails, and Tune begins it again
        ),
    )
    with ThreadPoolExecutor(1) as pool:  # leaving it waits for the group's end
        group = pool.submit(trainer.fit)
        while True:
            over = group.done()
            try:
                tick = Tick(**line.ticks.get(timeout=1.0))
            except Empty:
                if over:
                    group.result()  # raises what broke it
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
    """The function of a worker: `sent` holds "order", "home" and "line"."""
    order: Order = sent["order"]
    line: Line = sent["line"]
    set_threads(order.config.machine.threads)
    workers, device = Workers.joined(), ray.train.torch.get_device()
    if workers.rank == 0:
        note_group(order)
    dataset = open_same(order, device)
    judge = judge_for(order, dataset, device, workers)
    hosts = sorted(set(every_host(workers)))
    home = dataclasses.replace(sent["home"], facts={**order.facts, "hosts": hosts})
    run = fit(order.config, dataset, device=device, workers=workers, home=home, judge=judge)
    tick = next(run)
    while True:
        if workers.rank == 0:
            line.ticks.put(asdict(tick))
        if tick.ended:
            break
        said = [line.answers.get() if workers.rank == 0 else None]
        if workers.size > 1:
            torch.distributed.broadcast_object_list(said, src=0)
        if said[0] == LEAVE:
            break
        tick = run.send(said[0] or None)
    run.close()


def group_key(attempt: str, run: str) -> str:
    """Where Ray's store keeps the placement group of a run's workers."""
    return f"genfleet-{attempt}-{run}"


def note_group(order: Order) -> None:
    """Keeps this worker's placement group where whoever begins the run again finds it."""
    group = get_current_placement_group()
    assert group is not None
    run = identity(order.config, order.data_hash)
    _internal_kv_put(group_key(order.attempt, run), group.id.binary(), overwrite=True)


def remove_group(attempt: str, run: str) -> None:
    """Frees what the workers of a run hold, if they were left: Train's own cleaner asks the dashboard, which may be
    absent, or another cluster's."""
    key = group_key(attempt, run)
    left = _internal_kv_get(key)
    if left:
        remove_placement_group(PlacementGroup(PlacementGroupID(left)))
        _internal_kv_del(key)
