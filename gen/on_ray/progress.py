"""How far a search is, as Tune tells it while the search goes on."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

from gen.config import RunConfig
from gen.on_ray.replay import End
from gen.on_ray.scheduler import EPOCH, EVALUATED, REMARKS, REPLAYED, RUN, VALUE, WAITS
from gen.results.lease import Lease
from gen.results.schema import WORST

QUIET = 5.0  # seconds between two reports on a search in which no run ends


@dataclass(frozen=True)
class Standing:
    """How far a search is, and what became of a run that has just ended."""

    runs: float  # in all, as far as is known; infinite where nothing but a limit ends the search
    ended: Mapping[str, int]  # status -> runs: finished, stopped, failed, and broken by an error
    running: int
    best: float  # of all runs so far; NaN before the first value
    best_run: str
    seconds: float  # since the search was submitted
    left: float  # estimate of the seconds to go; NaN before the first tick, and where a limit alone ends the search
    news: str = ""  # about the run that has just ended, or something damaged that was made anew; "": neither
    ticks: int = 0  # since the search was submitted

    @property
    def done(self) -> int:
        """Runs that ended, by now or before this submission."""
        return sum(self.ended.values())


class Runs(Protocol):
    """The runs of a search, as far as they are known, and how many they will be."""

    @property
    def endless(self) -> bool: ...

    @property
    def runs(self) -> Mapping[str, RunConfig]: ...

    @property
    def count(self) -> int: ...


class Teller(tune.Callback):
    """Tells `hear` about each run that ends and every few seconds how far the search is; ends the search if its lease
    went to another attempt."""

    def __init__(
        self,
        hear: Callable[[Standing], None],
        source: Runs,
        on_record: Mapping[str, End],
        lease: Lease,
        *,
        mode: str,
        every: int,
        expected: float,
        measuring: float = 0.0,
        unranked: Collection[str] = (),
    ) -> None:
        """`expected`: epochs of a run; `measuring`: how many evaluations of a tick it takes to measure the leaders;
        `unranked`: runs that are to be ranked no more, of which none is the best."""
        self.hear, self.source, self.lease, self.every = hear, source, lease, every
        self.sign = -1 if mode == "min" else 1
        self.ended: Counter[str] = Counter()
        self.failed = set[str]()  # runs that ended so in this search
        self.going = dict[str, float]()  # run that trains, or waits for its siblings -> epoch that it has reached
        self.over = dict[str, float]()  # run that ended -> its last epoch, ...
        self.total = 0.0  # ... and their sum, for thousands are not added up each time that one ends
        self.expected, self.best, self.best_run, self.unranked = expected, math.nan, "", unranked
        self.measuring, self.evaluated = measuring, 0.0
        self.ticks = self.completed = 0
        self.began = self.spoke = time.monotonic()
        for run, end in on_record.items():
            self.close(run, end.status, end.epoch)
            self.better(run, end.best)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks to restore a search, which here the tables do."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Counts a tick."""
        self.lease.check()
        self.ticks += 1
        self.evaluated += float(result.get(EVALUATED, 0.0))
        if result[RUN] not in self.over:
            self.going[result[RUN]] = max(float(result[EPOCH]), self.going.get(result[RUN], 0.0))
        self.better(result[RUN], result[VALUE])
        for line in result.get(REMARKS, ()):
            self.tell(trials, line)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tells how a run ended; one that waits for its siblings has not."""
        last = trial.last_result
        if last.get(WAITS):
            return
        self.completed += 1
        status = last.get("ended") or "stopped"
        self.close(last[RUN], status, float(last[EPOCH]))
        if status == "failed":
            self.failed.add(last[RUN])
        known = " (on record)" if last.get(REPLAYED) else ""
        told = f"; {last['why']}" if status == "failed" and last.get("why") else ""
        told += f"; collapsed at {last['collapsed']}" if last.get("collapsed") else ""
        self.tell(trials, f"run {last[RUN]} {status} at epoch {last[EPOCH]:g}{known}: {last[VALUE]:.6g}{told}")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tells of a run that an error of the program broke."""
        run = trial.last_result.get(RUN) if trial.last_result else None
        self.ended["broken"] += 1
        if run:
            self.leave(run, self.going.get(run, 0.0))
        self.tell(trials, f"run {run or 'of ' + str(trial)} broke")

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tells how far the search is, if nothing was told for some seconds. FullError ends a search whose storage is
        full: its runs would break one after another."""
        self.lease.check()
        if time.monotonic() - self.spoke >= QUIET:
            self.tell(trials)

    def close(self, run: str, status: str, epoch: float) -> None:
        """Counts a run that ended; a run that ends again is counted once."""
        if run not in self.over:
            self.ended[status] += 1
        self.leave(run, epoch)

    def leave(self, run: str, epoch: float) -> None:
        """Notes that a run goes on no more."""
        self.going.pop(run, None)
        self.total += epoch - self.over.get(run, 0.0)
        self.over[run] = epoch

    def better(self, run: str, value: float | None) -> None:
        """Keeps the best value so far that has a rank: it is finite, and not below the floor."""
        ranked = value is not None and math.isfinite(value) and abs(value) < WORST and run not in self.unranked
        if ranked and value is not None and not self.sign * value <= self.sign * self.best:
            self.best, self.best_run = value, run

    def left(self) -> float:
        """Seconds to go, if the other runs take as many epochs as those that ended, at the pace so far; with those of
        measuring the leaders, as many evaluations as that takes at the time of those so far."""
        if self.source.endless or not self.ticks:
            return math.nan
        if sum(self.ended.values()) >= self.source.count:  # not `over`: a run may break unnamed
            return math.nan
        later = self.measuring * self.evaluated / self.ticks
        average = (self.expected + self.total) / (1 + len(self.over))  # what halving lets expect counts as one run
        ahead = sum(max(average - at, self.every) for at in self.going.values())
        ahead += max(self.source.count - len(self.over) - len(self.going), 0) * max(average, self.every)
        return ahead * (time.monotonic() - self.began) / (self.ticks * self.every) + later

    def tell(self, trials: Sequence[Trial] = (), news: str = "") -> None:
        """Says where the search stands."""
        self.spoke = time.monotonic()
        running = sum(trial.status == Trial.RUNNING for trial in trials)
        passed = self.spoke - self.began
        self.hear(
            Standing(
                math.inf if self.source.endless else self.source.count,
                dict(self.ended),
                running,
                self.best,
                self.best_run,
                passed,
                self.left(),
                news=news,
                ticks=self.ticks,
            )
        )


class Tidy(tune.Callback):
    """Drops what Tune would keep of each trial for ever, and nobody asks for: of each metric a dozen statistics, some
    25 KB a trial, and an empty folder in those of Ray's session."""

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tidies up after a trial."""
        trial.metric_analysis.clear()
        trial.metric_n_steps.clear()
        with suppress(OSError):  # not there, or not empty
            Path(trial.local_path or "").rmdir()
