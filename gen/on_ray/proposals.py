"""What a search tries next: trials of a list, or of a sampler that learns, whose proposals are on record before they
start."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from ray import tune
from ray.tune.search import Searcher

from gen.config import RunConfig, to_json
from gen.on_ray.replay import End
from gen.on_ray.scheduler import EPOCH, VALUE
from gen.on_ray.submission import CONFIG, RUN, TRIAL
from gen.on_ray.turns import Turns
from gen.results import queries
from gen.results.ledger import Slot
from gen.results.schema import WORST
from gen.results.storage import Storage
from gen.search.halving import Halving
from gen.search.samplers import PROPOSAL, QUEUE, Sampler, Score, Settings, score

BATCH = 64  # proposals that are put on record at a time, where the next one does not depend on results: a write takes
# some 30 ms, and a draw under one
SOON = 0.1  # seconds that Tune waits for a proposal before it goes on with other things
REPEATS = 100  # proposals in a row that are no new runs, after which a sampler has no more


@dataclass(frozen=True)
class Proposal:
    """A configuration that a search tries."""

    entry: str
    number: int  # of the entry's configurations, from 0 up
    settings: Settings  # over those that the search has
    sampler: str  # who proposed it
    runs: frozenset[str]  # the names of its runs


def proposals(storage: Storage, experiment: str) -> list[Proposal]:
    """The proposals on record, in the order of their numbers."""
    if experiment not in storage.folders(""):
        return []
    rows = queries.events(storage, experiment, kind=PROPOSAL).sort_values("attempt", kind="stable")
    found, runs = dict[tuple[int, str], tuple[Settings, str]](), dict[tuple[int, str], set[str]]()
    for run, text, sampler in zip(rows["run"], rows["detail"], rows["decision"], strict=True):
        detail = json.loads(text)
        key = detail["number"], detail["entry"]
        found.setdefault(key, (detail["settings"], sampler))
        runs.setdefault(key, set()).add(run)
    return [
        Proposal(entry, number, *found[number, entry], frozenset(runs[number, entry]))
        for number, entry in sorted(found)
    ]


def record(slot: Slot, attempt: str, proposed: Iterable[Proposal]) -> None:
    """Writes a row of `events` for each run of each proposal; they are in storage when this returns."""
    rows = [
        {
            "experiment": slot.experiment,
            "run": run,
            "attempt": attempt,
            "tick": 0,
            "epoch": None,
            "kind": PROPOSAL,
            "decision": one.sampler,
            "value": None,
            "why": f"configuration {one.number} of {one.entry}",
            "detail": json.dumps({"entry": one.entry, "number": one.number, "settings": one.settings}),
            "time": datetime.now(UTC),
        }
        for one in proposed
        for run in sorted(one.runs)
    ]
    if rows:
        slot.extend({"events": rows})


class Source(Protocol):
    """The runs of a search as Tune gets them."""

    stage: str  # "" for the search itself; else what names its files apart from those of the search

    @property
    def endless(self) -> bool:
        """Whether nothing but a limit ends them."""

    @property
    def runs(self) -> Mapping[str, RunConfig]:
        """Those that are known so far, by their names."""

    @property
    def count(self) -> int:
        """How many they will be, as far as that is known."""

    def begin(self, on_record: Mapping[str, End]) -> int:
        """Leaves out the runs that have an end; gives how many are left."""

    def left(self, ended: int) -> int:
        """How many runs have no end when `ended` of those that `begin` left have one."""

    def trials(self, siblings: Halving | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Tune is told of the trials: the space of parameters, and more settings. `siblings`: the rungs at which
        the seeds of a configuration wait for each other, if they do."""


@dataclass(frozen=True)
class Part:
    """The configurations of one entry."""

    entry: str
    name: str  # of the sampler
    sampler: Sampler
    first: int  # so many configurations were known before
    samples: float  # configurations in all
    runs: Callable[[Settings], Mapping[str, RunConfig]]  # the runs of a configuration, by their names


class Listing:
    """Trials of runs that are all known when the search begins."""

    stage, endless = "", False

    def __init__(self, runs: Mapping[str, RunConfig]) -> None:
        self.runs, self.count = runs, len(runs)
        self.waiting: list[int] = []

    def begin(self, on_record: Mapping[str, End]) -> int:
        """Leaves out the runs that have an end; gives how many are left."""
        self.waiting = [place for place, run in enumerate(self.runs) if run not in on_record]
        return len(self.waiting)

    def left(self, ended: int) -> int:
        """How many runs have no end when `ended` of those that `begin` left have one."""
        return len(self.waiting) - ended

    def trials(self, siblings: Halving | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Tune is told of the trials."""
        if siblings is None:
            return {TRIAL: tune.grid_search(self.waiting)}, {}
        return {}, {"search_alg": Turns(list(self.runs), self.waiting, siblings), "num_samples": -1}


class Supply:
    """Trials of runs that a sampler proposes, one after another, up to the samples of each entry.

    What is on record is proposed again under its numbers, to a sampler that is told of it. A new proposal is a row of
    `events`, in storage before its first run starts.
    """

    stage = ""

    def __init__(
        self,
        parts: Sequence[Part],
        slot: Slot,
        attempt: str,
        recorded: Iterable[Proposal],
        others: Callable[[Sequence[str]], Mapping[str, Sequence[float]]] | None = None,
        forgotten: Collection[str] = (),
    ) -> None:
        """`others`: what the tables say of runs that ended by the further figures of a search that goes by several.
        `forgotten`: runs that are ranked no more. The sampler hears of the other runs of their configuration; where
        there are none, nothing of it."""
        self.others, self.forgotten = others, frozenset(forgotten)
        self.unread: list[tuple[tuple[str, int], list[str], Score]] = []  # configurations that lack those figures
        self.parts, self.slot, self.attempt = parts, slot, attempt
        self.runs: dict[str, RunConfig] = {}
        self.waiting: deque[str] = deque()
        self.batch = 1 if any(part.sampler.learns for part in parts) else BATCH
        self.proposer: Proposer | None = None
        self.over = False  # nothing more is proposed
        self.numbers = {part.entry: 0 for part in parts}  # entry -> number of its next configuration
        self.open: dict[tuple[str, int], list[str]] = {}  # entry and number -> runs of a configuration without a score
        self.asking: dict[str, list[tuple[str, int]]] = {}  # run -> those of them that wait for its end
        self.ended: dict[str, tuple[float, float, bool]] = {}  # run -> value, epoch, whether it went to its end
        by_entry = {part.entry: part for part in parts}
        more = []  # seeds that were asked for only now
        for one in recorded:
            part = by_entry[one.entry]
            if one.number == self.numbers[one.entry] and one.number < part.samples:
                if not one.runs or one.runs - self.forgotten:
                    part.sampler.begin(one.number, one.settings)
                more.append(replace(one, runs=self.add(part, one.settings) - one.runs))
        record(slot, attempt, more)

    @property
    def endless(self) -> bool:
        """Whether nothing but a limit ends the search."""
        return not self.over and any(part.samples == math.inf for part in self.parts)

    @property
    def count(self) -> int:
        """How many runs the search has in all, as far as is known."""
        return len(self.runs) + self.ahead()

    def ahead(self) -> int:
        """How many runs are still to be proposed; where that has no end, those of one more configuration."""
        if self.over:
            return 0
        to_go = [max(part.samples - self.numbers[part.entry], 0) for part in self.parts]
        each = max(len(self.runs) // max(sum(self.numbers.values()), 1), 1)
        return int(sum(to_go)) * each if math.isfinite(sum(to_go)) else each

    def begin(self, on_record: Mapping[str, End]) -> int:
        """Tells the sampler of the runs that have an end, and leaves these out; gives how many are left."""
        for run, end in on_record.items():
            self.hear(run, end.best if end.status != "failed" else math.nan, end.epoch, end.status == "finished")
        self.waiting = deque(run for run in self.runs if run not in on_record)
        return len(self.waiting) + self.ahead()

    def left(self, ended: int) -> int:
        """How many runs have no end."""
        if self.proposer is not None:
            self.proposer.settle()
        return len(self.runs.keys() - self.ended.keys()) + self.ahead()

    def trials(self, siblings: Halving | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Tune is told of the trials: the space of parameters, and more settings."""
        self.proposer = Proposer(self)
        return {}, {"search_alg": self.proposer, "num_samples": -1}

    def next(self) -> str | None:
        """The run to start next; None if there are no more."""
        for _ in range(REPEATS):
            if self.waiting or not self.propose():
                break
        if self.waiting:
            return self.waiting.popleft()
        self.over = True
        return None

    def propose(self) -> bool:
        """Takes the next configurations of each entry that has any; False if none has."""
        self.read()
        found = [one for _ in range(self.batch) for one in self.proposed()]
        record(self.slot, self.attempt, found)
        return bool(found)

    def proposed(self) -> Iterator[Proposal]:
        """The next configuration of each entry that has one."""
        for part in self.parts:
            number = self.numbers[part.entry]
            settings = part.sampler.propose(number) if number < part.samples else None
            if settings is not None:
                name = part.name if number >= part.first else QUEUE
                yield Proposal(part.entry, number, settings, name, self.add(part, settings))

    def add(self, part: Part, settings: Settings) -> frozenset[str]:
        """Adds the next configuration of an entry, and those of its runs that are new to those that wait; gives the
        names of its runs."""
        key = part.entry, self.numbers[part.entry]
        self.numbers[part.entry] += 1
        runs = part.runs(settings)
        self.waiting += [run for run in runs if run not in self.runs]
        self.runs |= runs
        if heard := [run for run in runs if run not in self.forgotten]:
            self.open[key] = heard
            for run in heard:
                self.asking.setdefault(run, []).append(key)
            self.close(key)
        return frozenset(runs)

    def hear(self, run: str, value: float, epoch: float, whole: bool) -> None:
        """Tells the sampler of a configuration when the last of its runs has ended. A value below the floor counts as
        one that is not finite: as the worst."""
        self.ended[run] = value if abs(value) < WORST else math.nan, epoch, whole
        for key in self.asking.pop(run, ()):
            self.close(key)

    def close(self, key: tuple[str, int]) -> None:
        """Tells the sampler of a configuration, if all of its runs have ended that are to be ranked."""
        runs = self.open[key]
        if all(run in self.ended for run in runs):
            del self.open[key]
            for run in runs:
                self.asking.pop(run, None)
            found = score([self.ended[run] for run in runs])
            if self.others:
                self.unread.append((key, runs, found))
            else:
                self.learn(key, found)

    def learn(self, key: tuple[str, int], found: Score) -> None:
        """Tells the sampler of a configuration."""
        entry, number = key
        next(part for part in self.parts if part.entry == entry).sampler.learn(number, found)

    def read(self) -> None:
        """Tells the sampler of the configurations that lacked further figures, which the tables have by now."""
        unread, self.unread = self.unread, []
        if unread and self.others:
            found = self.others([run for _, runs, _ in unread for run in runs])
            for key, runs, one in unread:
                lines = [found.get(run, ()) for run in runs]
                means = [sum(values) / len(values) for values in zip(*lines, strict=True)] if all(lines) else [math.nan]
                self.learn(key, replace(one, others=tuple(means)))


class Proposer(Searcher):
    """A supply as Tune asks for it: one trial after another, when a process is free. A proposal that takes
    long, as one from thousands of runs does, is made in a thread, while Tune goes on with the runs that train."""

    def __init__(self, supply: Supply) -> None:
        super().__init__()
        self.supply = supply
        self.trials: dict[str, str] = {}  # id of a trial -> its run
        self.pool = ThreadPoolExecutor(1)
        self.asked: Future[str | None] | None = None  # the next run, which the thread is asked for
        self.heard: list[tuple[str, float, float, bool]] = []  # what the supply is to hear when the thread is idle

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher to restore a search, which here the tables do."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next run, for the process that trains it; None, whereupon Tune asks again, if it is not known soon."""
        if self.asked is None:
            self.asked = self.pool.submit(self.supply.next)
        try:
            run = self.asked.result(timeout=SOON)
        except TimeoutError:
            if self.asked.done():  # an error of its own
                raise
            return None
        self.asked = None
        self.tell()
        if run is None:
            return Searcher.FINISHED
        self.trials[trial_id] = run
        return {RUN: run, CONFIG: to_json(self.supply.runs[run])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells the supply how a run ended; one that an error of the program broke counts as the worst."""
        run = self.trials.pop(trial_id)
        if error:
            self.heard.append((run, math.nan, 0.0, False))
        elif result:
            status = result.get("ended") or "stopped"
            value = math.nan if status == "failed" or result[VALUE] is None else float(result[VALUE])
            self.heard.append((run, value, float(result[EPOCH]), status == "finished"))
        if self.asked is None:
            self.tell()

    def tell(self) -> None:
        """Tells the supply what was heard, in its order."""
        heard, self.heard = self.heard, []
        for one in heard:
            self.supply.hear(*one)

    def settle(self) -> None:
        """Waits for the thread, and tells the supply the rest: Tune asks no more."""
        self.pool.shutdown()
        self.asked = None
        self.tell()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Tune keeps the state of a searcher to restore a search, which here the tables do."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""
