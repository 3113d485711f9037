"""A trial of a search, in a process that stays: the next trial finds Python, torch, the data and the judge loaded."""

from __future__ import annotations

import inspect
import json
import math
import socket
import uuid
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from ray import tune

from gen.config import RunConfig
from gen.distributed.machine import resolve_device, set_threads
from gen.distributed.memory import fitting, limit_share, release
from gen.distributed.workers import ALONE
from gen.engine.fit import Tick, fit
from gen.on_ray.alive import end_with_head
from gen.on_ray.population import TAKEN, UNTIL
from gen.on_ray.replay import KIND, End, ends
from gen.on_ray.retry import failed_before
from gen.on_ray.scheduler import EPOCH, EVALUATED, LAST, REMARKS, REPLAYED, RUN, SECONDS, TICK, VALUE, WAITS
from gen.on_ray.submission import Search
from gen.record import checkpoint
from gen.record.record import Home
from gen.record.takeover import Exploit
from gen.results.ledger import Slot, last_ticks
from gen.results.parquet import read_bytes

SCHEDULER = "-scheduler-"  # in the names of the files that hold decisions


class Resident(tune.Trainable):
    """One trial after another, each a run of `fit` whose ticks are Tune's steps."""

    def setup(self, config: dict[str, Any], search: Search | None = None) -> None:
        """Begins the first trial of this process."""
        assert search is not None
        end_with_head()
        self.search = search
        self.slot = Slot(search.storage, search.experiment, f"{search.attempt}-{uuid.uuid4().hex[:8]}")
        self.begin(config, fresh=True)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begins the next trial of this process."""
        self.leave()
        self.begin(new_config)
        return True

    def cleanup(self) -> None:
        """Leaves the last trial: this process ends."""
        self.leave()

    def begin(self, config: Mapping[str, Any], fresh: bool = False) -> None:
        """Starts a run, or finds the end of one whose last process died after it had written its outcome."""
        search = self.search
        self.run, chosen = search.pick(config)
        self.ticks: Generator[Tick, str | None, None] | None = None
        self.every = chosen.evaluate.every
        self.until: int | None = config.get(UNTIL)  # epoch at which it waits for the rest of its population
        self.tells_again = False  # its next report is where it stood already
        self.reached = -math.inf  # epoch of the last report
        self.end: End | None = None
        again = bool(search.storage.list(checkpoint.folder(search.experiment, self.run)))  # it was begun before, ...
        again = again or self.run in search.begun  # ... or a process was killed while it wrote the run's rows
        if again or fresh or search.retry:  # a new process may stand in for one that died
            self.end = ends(search.storage, search.experiment, {self.run: chosen}).get(self.run)
        failed = None  # tick at which it failed, if it is to be trained again
        if search.retry and self.end is not None and self.end.status == "failed":
            failed = failed_before(search.storage, search.experiment, search.attempt).get(self.run)
        if self.end is not None and failed is None:
            return
        again, self.end = again or failed is not None, None
        known = last_ticks(search.storage, search.experiment, self.run).get(self.run, {}) if again else {}
        if failed is None:
            known.pop("outcomes", None)  # an outcome under a smaller budget is no end: the run writes another
        taken = config.get(TAKEN)
        home = search.home(
            self.run,
            slot=self.slot,
            last_ticks=known,
            keep_last=search.keep_last,
            report_again=True,
            taken=Exploit(taken["tick"], json.loads(taken["settings"])) if taken else None,
        )
        self.ticks, self.tells_again = self.launch(chosen, home), again

    def launch(self, config: RunConfig, home: Home) -> Generator[Tick, str | None, None]:
        """The run's ticks, in this process. ValueError if this host has other data, TooLargeError if the judge, or what
        a first stage makes of the data, has no room."""
        search = self.search
        set_threads(config.machine.threads)
        home = replace(home, facts={**home.facts, "hosts": [socket.gethostname()]})
        device = resolve_device(config.machine.device)
        with fitting(device, ALONE):
            limit_share(device, search.share)
            dataset, judge = search.dataset(config, device), search.judge(config, device)
        return fit(config, dataset, device=device, home=home, judge=judge)

    def step(self) -> dict[str, Any]:
        """Trains up to the run's next tick; gives what the scheduler compares and the driver prints."""
        if self.end is not None:
            end = self.end
            report = {TICK: end.tick, EPOCH: end.epoch, VALUE: end.best, LAST: end.last, SECONDS: end.seconds}
            return report | {RUN: self.run, "done": True, "ended": end.status, REPLAYED: True}
        assert self.ticks is not None
        now = next(self.ticks)
        self.reached = now.epoch
        waits, self.tells_again = not now.ended and self.comes_to_a_rung(now.epoch), False
        if waits:
            self.ticks.close()  # its checkpoint is in storage before anybody can begin it again
        if now.ended or waits:
            self.ticks = None
        if now.ended == "failed":  # perhaps for want of memory
            release()
        report = {TICK: now.tick, EPOCH: now.epoch, VALUE: now.best, LAST: now.value, SECONDS: now.seconds}
        report[EVALUATED] = now.metrics.get("engine/evaluate_seconds", 0.0)
        told = {"ended": now.ended, "why": now.why, "collapsed": now.collapsed, REMARKS: list(now.remarks)}
        return report | {RUN: self.run, "done": bool(now.ended) or waits, WAITS: waits} | told

    def comes_to_a_rung(self, epoch: float) -> bool:
        """Whether the run has just come to a rung at which it gives its slot away."""
        if self.until is not None:
            return epoch >= self.until
        return not self.tells_again and any(epoch - self.every < rung <= epoch for rung in self.search.rungs)

    def leave(self) -> None:
        """Ends a run that the scheduler stopped, with an outcome; an interrupted run is left to go on later."""
        ticks, self.ticks = self.ticks, None
        if ticks is None:
            return
        if inspect.getgeneratorstate(ticks) == inspect.GEN_SUSPENDED and (why := self.reason_of_stop()):
            ticks.send(f"stopped by the scheduler: {why}")
        ticks.close()

    def reason_of_stop(self) -> str:
        """Why the scheduler stopped this run at the epoch that it has reached, as its record says; "" if it did not.

        Reads the newest files first: a long search's table is not read whole at each stop.
        """
        storage, folder = self.search.storage, f"{self.search.experiment}/events"
        for name in reversed([name for name in storage.list(folder) if SCHEDULER in name]):
            data, wanted = storage.get(f"{folder}/{name}") or b"", ["run", "epoch", "kind", "decision", "why"]
            rows = read_bytes(data, f"{storage}/{folder}/{name}", wanted).to_pylist()
            for row in reversed(rows):
                if (row["run"], row["kind"], row["decision"]) == (self.run, KIND, "stop"):
                    return str(row["why"]) if row["epoch"] <= self.reached else ""
        return ""
