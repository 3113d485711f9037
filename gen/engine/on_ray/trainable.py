"""A trial of a search, in a process that stays: the next trial finds Python, torch, the data and the judge loaded."""

from __future__ import annotations

import functools
import socket
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ray import tune

from gen.config import DataConfig, RunConfig, identity
from gen.data.dataset import Dataset, open_dataset
from gen.engine import checkpoint
from gen.engine.fit import Home, Tick, fit
from gen.engine.judge import Judge, shared_classifier
from gen.engine.machine import resolve_device, set_threads
from gen.engine.on_ray.replay import Told, told
from gen.engine.on_ray.scheduler import EPOCH, KIND, REPLAYED, RUN, VALUE
from gen.results import queries
from gen.results.ledger import Slot, recorded
from gen.results.storage import Storage

TRIAL = "trial"  # the only thing that Tune varies: a position in `Search.configs`


@dataclass(frozen=True)
class Search:
    """What a driver sends to the processes of its trials. Picklable."""

    configs: Sequence[RunConfig]  # drawn up front: a search submitted again has the same trials
    told: Mapping[str, Told]  # run -> what the tables hold of it, for runs that need no training
    storage: Storage
    experiment: str
    attempt: str
    data_hash: str
    data_root: str | None
    download: bool
    facts: Mapping[str, Any]  # columns of `runs` that the driver knows


@functools.lru_cache(maxsize=2)
def opened(config: DataConfig, root: str | None, download: bool) -> Dataset:
    """The data set, once a process."""
    return open_dataset(config, root, download)


@functools.lru_cache(maxsize=2)
def judge_of(
    config: DataConfig, root: str | None, download: bool, place: str, device: torch.device, batch: int
) -> Judge:
    """The judge of a data set, once a process: its classifier and the statistics of the real images."""
    dataset = opened(config, root, download)
    return Judge(dataset, shared_classifier(dataset, Storage(place), device), device, batch)


class Resident(tune.Trainable):
    """One trial after another, each a run of `fit` whose ticks are Tune's steps."""

    def setup(self, config: dict[str, Any], search: Search | None = None) -> None:
        """The first trial of this process."""
        assert search is not None
        self.search = search
        self.slot = Slot(search.storage, search.experiment, f"{search.attempt}-{uuid.uuid4().hex[:8]}")
        self.begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next trial of this process."""
        self.leave()
        self.begin(new_config)
        return True

    def cleanup(self) -> None:
        """The end of this process."""
        self.leave()

    def begin(self, config: Mapping[str, Any]) -> None:
        """Starts a run, or the replay of one whose outcome is on record. ValueError if this host has other data."""
        search = self.search
        chosen = search.configs[config[TRIAL]]
        self.run = identity(chosen, search.data_hash)
        self.ticks: Generator[Tick, str | None, None] | None = None
        self.replay: Iterator[tuple[int, float, float]] | None = None
        known = search.told.get(self.run)
        again = bool(search.storage.list(checkpoint.folder(search.experiment, self.run)))  # begun before, by whomever
        if known is None and again:
            known = told(search.storage, search.experiment, {self.run: chosen}).get(self.run)
        if known is not None:
            self.replay, self.left = iter(known), len(known)
            return
        set_threads(chosen.machine.threads)
        dataset = opened(chosen.data, search.data_root, search.download)
        if dataset.hash != search.data_hash:
            raise ValueError(
                f"data set {dataset.name} on host {socket.gethostname()} has hash {dataset.hash}, the driver's has "
                f"{search.data_hash}; bring the same files to every host"
            )
        home = Home(
            search.storage,
            search.experiment,
            search.attempt,
            slot=self.slot,
            recorded=recorded(search.storage, search.experiment).get(self.run, {}) if again else {},
            keep_last=False,
            facts={**search.facts, "hosts": [socket.gethostname()]},
        )
        device = resolve_device(chosen.machine.device)
        judge = judge_of(
            chosen.data, search.data_root, search.download, search.storage.place, device, chosen.evaluate.batch
        )
        self.ticks = fit(chosen, dataset, device=device, home=home, judge=judge)

    def step(self) -> dict[str, Any]:
        """The run's next tick, as what the scheduler compares and the driver prints."""
        if self.replay is not None:
            tick, epoch, value = next(self.replay)
            self.left -= 1
            return {"tick": tick, EPOCH: epoch, VALUE: value, RUN: self.run, "done": not self.left, REPLAYED: True}
        assert self.ticks is not None
        now = next(self.ticks)
        if now.ended:
            self.ticks = None
        report = {"tick": now.tick, EPOCH: now.epoch, VALUE: now.value, RUN: self.run, "done": bool(now.ended)}
        return report | {"best": now.best, "ended": now.ended, "why": now.why, "images": now.images}

    def leave(self) -> None:
        """Ends a run that the scheduler stopped with its outcome; one that was interrupted is left to go on later."""
        if self.ticks is None:
            return
        why = self.stopped_why()
        if why:
            self.ticks.send(f"stopped by the scheduler: {why}")
        self.ticks.close()
        self.ticks = None

    def stopped_why(self) -> str:
        """The scheduler's reason to stop this run, which it wrote before it told Tune; "" if it did not stop it."""
        rows = queries.events(self.search.storage, self.search.experiment, kind=KIND, run=self.run)
        mine = rows[(rows["attempt"] == self.search.attempt) & (rows["decision"] == "stop")]
        return str(mine["why"].iloc[-1]) if len(mine) else ""
