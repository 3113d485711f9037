"""A trial of a search, in a process that stays: the next trial finds Python, torch, the data and the judge loaded."""

from __future__ import annotations

import inspect
import io
import math
import socket
import uuid
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow.parquet as pq
from ray import tune

from gen.config import RunConfig
from gen.distributed.machine import resolve_device, set_threads
from gen.engine.fit import Tick, fit
from gen.engine.kept import judge_of, opened
from gen.engine.stage_one import with_codes
from gen.on_ray.replay import KIND, End, ends
from gen.on_ray.scheduler import EPOCH, LAST, REPLAYED, RUN, SECONDS, TICK, VALUE
from gen.record import checkpoint
from gen.record.record import Home
from gen.results.ledger import Slot, recorded
from gen.results.storage import Storage

SCHEDULER = "-scheduler-"  # in the names of the files that hold decisions
TRIAL = "trial"  # the only thing that Tune varies: a position in `Search.runs`


@dataclass(frozen=True)
class Search:
    """What a driver sends to the processes of its trials. Picklable."""

    runs: Mapping[str, RunConfig]  # name -> config; drawn up front: a search submitted again has the same trials
    storage: Storage
    experiment: str
    attempt: str
    data_hash: str
    data_root: str | None
    download: bool
    facts: Mapping[str, Any]  # columns of `runs` that the driver knows
    needed: Mapping[str, float] = field(default_factory=dict)  # what Ray sets aside for each worker of a trial
    tensorboard: bool = False  # write TensorBoard's event files too
    holder: Any = None  # the actor that knows their placement groups, where trials have several workers

    @property
    def workers(self) -> int:
        """Processes that train one run together."""
        return next(iter(self.runs.values())).machine.workers


class Resident(tune.Trainable):
    """One trial after another, each a run of `fit` whose ticks are Tune's steps."""

    def setup(self, config: dict[str, Any], search: Search | None = None) -> None:
        """The first trial of this process."""
        assert search is not None
        self.search = search
        self.slot = Slot(search.storage, search.experiment, f"{search.attempt}-{uuid.uuid4().hex[:8]}")
        self.begin(config, fresh=True)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial of this process."""
        self.leave()
        self.begin(new_config)
        return True

    def cleanup(self) -> None:
        """The end of this process."""
        self.leave()

    def begin(self, config: Mapping[str, Any], fresh: bool = False) -> None:
        """Starts a run, or finds the end of one whose last process died after it had written its outcome."""
        search = self.search
        self.run = list(search.runs)[config[TRIAL]]
        chosen = search.runs[self.run]
        self.ticks: Generator[Tick, str | None, None] | None = None
        self.reached = -math.inf  # epoch of the last report
        self.end: End | None = None
        again = bool(search.storage.list(checkpoint.folder(search.experiment, self.run)))  # begun before, by whomever
        if again or fresh:  # a new process may stand in for one that died
            self.end = ends(search.storage, search.experiment, {self.run: chosen}).get(self.run)
        if self.end is not None:
            return
        known = recorded(search.storage, search.experiment).get(self.run, {}) if again else {}
        known.pop("outcomes", None)  # one that is no end under this budget: the next is the last word
        home = Home(
            search.storage,
            search.experiment,
            search.attempt,
            slot=self.slot,
            recorded=known,
            keep_last=False,
            report_again=True,
            tensorboard=search.tensorboard,
            facts=search.facts,
            run=self.run,
        )
        self.ticks = self.launch(chosen, home)

    def launch(self, config: RunConfig, home: Home) -> Generator[Tick, str | None, None]:
        """The run's ticks, in this process. ValueError if this host has other data."""
        search = self.search
        set_threads(config.machine.threads)
        dataset = opened(config.data, search.data_root, search.download)
        if dataset.hash != search.data_hash:
            raise ValueError(
                f"data set {dataset.name} on host {socket.gethostname()} has hash {dataset.hash}, the driver's has "
                f"{search.data_hash}; bring the same files to every host"
            )
        home = replace(home, facts={**home.facts, "hosts": [socket.gethostname()]})
        device = resolve_device(config.machine.device)
        weights, root = config.machine.inception_weights, search.data_root
        judge = judge_of(config.data, config.evaluate, weights, root, search.download, search.storage.place, device)
        dataset = with_codes(config, dataset, search.storage, device)
        return fit(config, dataset, device=device, home=home, judge=judge)

    def step(self) -> dict[str, Any]:
        """The run's next tick, as what the scheduler compares and the driver prints."""
        if self.end is not None:
            end = self.end
            report = {TICK: end.tick, EPOCH: end.epoch, VALUE: end.best, LAST: end.last, SECONDS: end.seconds}
            return report | {RUN: self.run, "done": True, "ended": end.status, REPLAYED: True}
        assert self.ticks is not None
        now = next(self.ticks)
        self.reached = now.epoch
        if now.ended:
            self.ticks = None
        report = {TICK: now.tick, EPOCH: now.epoch, VALUE: now.best, LAST: now.value, SECONDS: now.seconds}
        return report | {RUN: self.run, "done": bool(now.ended), "ended": now.ended, "why": now.why}

    def leave(self) -> None:
        """Ends a run that the scheduler stopped with its outcome; one that was interrupted is left to go on later."""
        ticks, self.ticks = self.ticks, None
        if ticks is None:
            return
        if inspect.getgeneratorstate(ticks) == inspect.GEN_SUSPENDED and (why := self.reason_of_stop()):
            ticks.send(f"stopped by the scheduler: {why}")
        ticks.close()

    def reason_of_stop(self) -> str:
        """Why the scheduler stopped this run where it stands: it wrote so before it told Tune. "" if it did not.

        Reads the newest files first: a long search's table is not read whole at each stop.
        """
        storage, folder = self.search.storage, f"{self.search.experiment}/events"
        for name in reversed([name for name in storage.list(folder) if SCHEDULER in name]):
            file = io.BytesIO(storage.get(f"{folder}/{name}") or b"")
            rows = pq.read_table(file, columns=["run", "epoch", "kind", "decision", "why"]).to_pylist()
            for row in reversed(rows):
                if (row["run"], row["kind"], row["decision"]) == (self.run, KIND, "stop"):
                    return str(row["why"]) if row["epoch"] <= self.reached else ""
        return ""
