"""Asynchronous successive halving (Li et al. 2018, https://arxiv.org/abs/1810.05934): which runs go on at a rung.

A rung is an epoch at which configurations are compared, each by the mean of its runs, which differ by their seeds
alone: they rise or stop together, and end at the same epoch. Reports go in and decisions come out; earlier decisions
are enough to rebuild the rungs.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gen.checks import at_least
from gen.metrics.table import WORST

Merit = tuple[float, float]
"""What is compared, the larger the better: the value, negated where small is good, then minus the seconds."""


@dataclass(frozen=True)
class Report:
    """What a run tells after a tick."""

    run: str
    tick: int
    epoch: float
    value: float | None  # the best so far of the figure that steers: a late collapse does not hide a good model
    last: float | None  # that figure at this tick: the run ends if it is not finite
    seconds: float  # what the run has cost so far: training and evaluation, over all attempts
    waits: bool = False  # it gave its slot away, and goes on when its configuration may

    @property
    def finite_value(self) -> float:
        """The value; NaN if it, or `last`, is not finite."""
        if self.value is None or self.last is None or not math.isfinite(self.last):
            return math.nan
        return float(self.value) if math.isfinite(self.value) else math.nan


@dataclass(frozen=True)
class Decision:
    """What was decided about a run: "stop" at an epoch, "continue" from it, or "end" where the run ended by itself."""

    run: str
    epoch: float
    decision: str
    value: float  # the run's own; NaN: not finite
    seconds: float
    rung: float | None  # in epochs; None between rungs, where only a value that is not finite stops a run
    cutoff: float | None = None  # the value to reach at that rung; None for the first run there
    cutoff_seconds: float | None = None  # ... and in how many seconds at most
    why: str = ""
    of: int | None = None  # runs whose mean was compared; 0: none yet, for others are awaited; None: it has no siblings
    mean: float | None = None  # ... of their values, NaN: not finite; None if none was compared
    mean_seconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What was decided about a configuration at a rung."""

    rung: float  # in epochs
    limit: Merit | None  # the cutoff; None: no other configuration stood there with a finite value
    of: int  # runs whose mean was compared
    mean: float  # of their values; NaN: one is not finite
    seconds: float  # the mean of their seconds
    until: float | None  # the epoch at which its runs end; None: they go on
    alive: Collection[str]  # its runs that have reported and did not end before
    put_off: bool  # it lost so late that its runs go on


class Halving:
    """The rungs of a search, and which configurations stand on them.

    A run's report counts at the highest rung that its epoch has reached, once. When all runs of its configuration have
    come to a rung, or have ended by themselves, their mean is compared with the means of the configurations that stand
    there already. The runs go on if their mean is no worse than the cutoff, which about one configuration in
    `reduction` reaches. Of two configurations with equal values the one that took fewer seconds is better, for a
    search's budget is time. A configuration of which one run is not finite counts as the worst.

    A run that is to wait for its siblings (`awaits`) gives its slot away. One that goes on instead may be past the rung
    at which they lose: all of them end where the foremost then is, the others train up to there; if that is the last
    epoch, none is stopped.

    `configurations`: run -> its configuration; a run that is not named is one of its own. `every`: epochs between two
    reports of a run. `history` are the decisions of earlier attempts, which stand: runs that are added later go as far
    as those of their configuration went. `reached`: run -> epoch up to which earlier attempts trained it. `forgotten`:
    runs that are ranked no more: decisions stand, but from now on nobody is compared with them or waits for them.
    """

    def __init__(
        self,
        mode: str,
        epochs: int,
        grace: int,
        reduction: int,
        history: Iterable[Decision] = (),
        *,
        configurations: Mapping[str, str] | None = None,
        every: int = 1,
        reached: Mapping[str, float] | None = None,
        forgotten: Collection[str] = (),
    ) -> None:
        self.sign, self.reduction, self.epochs, self.every = -1 if mode == "min" else 1, reduction, epochs, every
        self.configurations, self.reached = configurations or {}, reached or {}
        self.runs: dict[str, list[str]] = {}  # configuration -> its runs
        for run, configuration in self.configurations.items():
            if run not in forgotten:
                self.runs.setdefault(configuration, []).append(run)
        found = rungs(epochs, grace, reduction)
        self.standing: dict[float, dict[str, Merit]] = {rung: {} for rung in found}  # configurations with a verdict
        self.finite: dict[float, list[Merit]] = {rung: [] for rung in found}  # the finite merits there, in order
        self.told: dict[float, dict[str, tuple[float, float]]] = {rung: {} for rung in found}  # run -> value, seconds
        self.heard: dict[str, float] = {}  # run -> its last epoch
        self.working: set[str] = set()  # runs that have reported in this attempt, and are at work on the next report
        self.over: dict[str, tuple[float, float]] = {}  # run that ended by itself or is not finite -> value, seconds
        self.stopped: dict[str, float] = {}  # run -> epoch at which it was stopped
        self.until: dict[str, float] = {}  # configuration that was stopped -> epoch at which its runs end
        fewer = {self.configuration(run) for run in forgotten}
        self.rebuild([past for past in history if past.run not in forgotten], fewer)

    def rebuild(self, history: list[Decision], fewer: Collection[str]) -> None:
        """Takes over what earlier attempts decided. Decisions of versions that compared runs one by one stand too: such
        a configuration stands with the mean of those runs, and was stopped if all of them were. `fewer`:
        configurations of which a run was forgotten; each stands with the mean of its other runs, whatever mean is on
        record."""
        for past in history:
            own, configuration = (past.value, past.seconds), self.configuration(past.run)
            if past.rung in self.told:
                self.told[past.rung].setdefault(past.run, own)
                if past.of and past.mean is not None and past.mean_seconds is not None and configuration not in fewer:
                    self.stand(past.rung, configuration, past.mean, past.mean_seconds)
            if past.decision == "end" or not math.isfinite(past.value):
                self.over[past.run] = own
            if past.decision == "stop":
                self.stopped[past.run] = past.epoch
                if past.of and math.isfinite(past.value):
                    self.until[configuration] = past.epoch
            else:
                self.heard[past.run] = max(past.epoch, self.heard.get(past.run, 0.0))
        for past in history:
            if past.of and past.rung in self.told and (configuration := self.configuration(past.run)) in fewer:
                self.stand(past.rung, configuration, *mean(self.come(past.rung, configuration)))
        alone = [past for past in history if past.of is None]
        for rung in self.standing:
            by: dict[str, list[str]] = {}
            for run in dict.fromkeys(past.run for past in alone if past.rung == rung):
                by.setdefault(self.configuration(run), []).append(run)
            for configuration, runs in by.items():
                self.stand(rung, configuration, *mean(self.told[rung][run] for run in runs))
        known = {past.run for past in history}
        for configuration in {self.configuration(past.run) for past in alone if past.decision == "stop"}:
            ends = [self.stopped.get(run) for run in self.siblings(configuration) if run in known - self.over.keys()]
            if ends and None not in ends:
                self.until[configuration] = max(end for end in ends if end is not None)
        again = {one for one in fewer if self.alive(one)}  # who waited for a forgotten run reports again
        for configuration in {self.configuration(run) for run in known} - self.until.keys() - again:
            for rung, those in self.complete(configuration):  # all had ended: no decision is on record
                self.stand(rung, configuration, *mean(those))

    def decide(self, report: Report, ended: bool = False) -> list[Decision]:
        """What was decided because a run reports, about it and about its siblings, for the caller to record; nothing
        between rungs, and for a run that was stopped or compared before. A run that `ended` by itself is compared too:
        the others' cutoff depends on it."""
        run, value, configuration = report.run, report.finite_value, self.configuration(report.run)
        if run in self.stopped:
            return []
        finite, siblings = math.isfinite(value), self.siblings(configuration)
        self.heard[run] = max(report.epoch, self.heard.get(run, 0.0))
        (self.working.discard if report.waits or ended else self.working.add)(run)
        rung = next((rung for rung in self.standing if report.epoch >= rung), None)
        if rung is not None and run in self.told[rung]:
            rung = None
        if rung is not None:
            self.told[rung][run] = (value, report.seconds)
        if ended or not finite:
            self.over[run] = (value, report.seconds)
        if not finite and not ended:
            self.stopped[run] = report.epoch
        if configuration in self.until:
            return self.follow(report, rung, ended)
        found = [one for verdict in self.verdicts(report) for one in self.rows(report, rung, ended, verdict)]
        counts = rung is not None or not finite or (ended and len(siblings) > 1)
        if any(one.run == run for one in found) or not counts or (len(siblings) == 1 and ended):
            return found
        why = reason(value, report.epoch, ended)
        if not why and rung is not None:
            come = sum(one in self.over or one in self.told[rung] for one in siblings)
            why = f"{come} of {len(siblings)} runs of its configuration have come to epoch {rung:g}"
            if configuration in self.standing[rung]:
                why = f"its configuration went on from epoch {rung:g} before it came"
        decision = "end" if ended else "continue" if finite else "stop"
        of = 0 if len(siblings) > 1 else None
        return [Decision(run, report.epoch, decision, value, report.seconds, rung, why=why, of=of), *found]

    def follow(self, report: Report, rung: float | None, ended: bool) -> list[Decision]:
        """The decision about a run whose configuration was stopped before it came: it ends where the others ended."""
        until, value = self.until[self.configuration(report.run)], report.finite_value
        why = reason(value, report.epoch, ended)
        if ended or (report.epoch < until and not why):
            return []
        self.stopped[report.run] = report.epoch
        why = why or f"its configuration was stopped at epoch {until:g}"
        return [Decision(report.run, report.epoch, "stop", value, report.seconds, rung, why=why, of=0)]

    def verdicts(self, report: Report) -> Iterator[Verdict]:
        """What is decided about the configuration of a run that has just reported, from the lowest rung up."""
        configuration = self.configuration(report.run)
        for rung, those in self.complete(configuration):
            limit = reach(self.finite[rung], len(self.standing[rung]), self.reduction)
            value, seconds = mean(those)
            merit = self.stand(rung, configuration, value, seconds)
            lost = not math.isfinite(value) or (limit is not None and merit < limit)
            alive, siblings = self.alive(configuration), self.siblings(configuration)
            until = report.epoch
            if len(siblings) > 1:
                until = max(self.foremost(run, run == report.run) for run in siblings)
            put_off = lost and until >= self.epochs and len(siblings) > 1
            stop = lost and not put_off
            if stop and alive:
                self.until[configuration] = until
                self.stopped |= dict.fromkeys(alive, until)
            yield Verdict(rung, limit, len(those), value, seconds, until if stop else None, alive, put_off)
            if configuration in self.until:
                return

    def rows(self, report: Report, rung: float | None, ended: bool, verdict: Verdict) -> Iterator[Decision]:
        """A verdict as decisions about the runs of the configuration that train, and about the run that reports."""
        configuration = self.configuration(report.run)
        alone = len(self.siblings(configuration)) == 1
        mine = {report.run} if rung == verdict.rung else set()
        to_reach = None if verdict.limit is None else self.sign * verdict.limit[0]
        for run in self.siblings(configuration):
            if run not in mine | set(verdict.alive) or run not in self.told[verdict.rung]:
                continue
            value, seconds = self.told[verdict.rung][run]
            own = run == report.run and (ended or not math.isfinite(value))
            stop = verdict.until is not None
            epoch = report.epoch if run == report.run else self.heard[run]
            if stop and not own and verdict.until is not None:
                epoch = verdict.until
            yield Decision(
                run,
                epoch,
                "end" if own and ended else "stop" if own or stop else "continue",
                value,
                seconds,
                verdict.rung,
                to_reach,
                None if verdict.limit is None else -verdict.limit[1],
                (own and reason(value, report.epoch, ended)) or words(verdict, to_reach, alone, epoch),
                *((None, None, None) if alone else (verdict.of, verdict.mean, verdict.seconds)),
            )

    def complete(self, configuration: str) -> Iterator[tuple[float, list[tuple[float, float]]]]:
        """The rungs, the lowest first, at which a configuration has no verdict yet and no run of it is awaited, with
        the value and seconds of each. A run that ended by itself before counts with its last ones; one that was stopped
        before, by a version that compared runs one by one, does not."""
        siblings = self.siblings(configuration)
        for rung in reversed(self.standing):
            told = self.told[rung]
            awaited = [run for run in siblings if not (run in told or run in self.over or run in self.stopped)]
            if configuration not in self.standing[rung] and told.keys() & siblings and not awaited:
                yield rung, self.come(rung, configuration)

    def come(self, rung: float, configuration: str) -> list[tuple[float, float]]:
        """The value and seconds of each run of a configuration at a rung, or of its end if that was before."""
        found = (self.told[rung].get(run) or self.over.get(run) for run in self.siblings(configuration))
        return [one for one in found if one]

    def configuration(self, run: str) -> str:
        """The configuration of a run."""
        return self.configurations.get(run, run)

    def siblings(self, configuration: str) -> list[str]:
        """The runs of a configuration."""
        return self.runs.get(configuration, [configuration])

    def alive(self, configuration: str) -> list[str]:
        """The runs of a configuration that have reported and have not ended."""
        heard = [run for run in self.siblings(configuration) if run in self.heard]
        return [run for run in heard if run not in self.over and run not in self.stopped]

    def foremost(self, run: str, reports: bool) -> float:
        """The epoch up to which a run trains at least: one that works is on its way to its next report already, unless
        it `reports` right now. 0 for one that was stopped, or broke."""
        if run in self.stopped or (run in self.over and not math.isfinite(self.over[run][0])):
            return 0.0
        at = max(self.heard[run], self.reached.get(run, 0.0))
        return (
            at if reports or run not in self.working else float(min((at // self.every + 1) * self.every, self.epochs))
        )

    def awaits(self, run: str) -> bool:
        """Whether a run stands at a rung to which a sibling of it has yet to come."""
        configuration = self.configuration(run)
        if configuration in self.until or run in self.over or run in self.stopped:
            return False
        return any(run in self.told[rung] and configuration not in self.standing[rung] for rung in self.told)

    def goes_on(self, report: Report) -> bool:
        """Whether a run that reported goes on. A stopped run goes on up to the epoch of its stop: after a kill it is
        trained again up to there, and a sibling of one that is further comes up to it."""
        return report.epoch < self.stopped.get(report.run, math.inf)

    def stand(self, rung: float, configuration: str, value: float, seconds: float) -> Merit:
        """Puts a configuration on a rung, once; its merit there."""
        if configuration not in self.standing[rung]:
            merit = self.standing[rung][configuration] = self.merit(value, seconds)
            if math.isfinite(merit[0]):
                insort(self.finite[rung], merit)
        return self.standing[rung][configuration]

    def merit(self, value: float, seconds: float) -> Merit:
        """What a configuration is compared by: a value that is not finite, or below the floor, is worse than others."""
        return (self.sign * value if abs(value) < WORST else -math.inf, -seconds)


def mean(those: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The means of values and of seconds; of one run its own. With a run below the floor all are below it."""
    values, seconds = zip(*those, strict=True)
    value = sum(values) / len(values)
    low = next((one for one in values if abs(one) >= WORST), value)
    return value if math.isnan(value) else low, sum(seconds) / len(seconds)


def rungs(epochs: int, grace: int, reduction: int) -> list[int]:
    """The epochs at which runs are compared, the highest first: `grace` times each power of `reduction`, up to the
    budget of `epochs`. ValueError if there were no end of them."""
    at_least("grace", grace, 1)
    at_least("reduction", reduction, 2)
    found: list[int] = []
    rung = grace
    while rung <= epochs:
        found.insert(0, rung)
        rung *= reduction
    return found


def cutoff(standing: Mapping[str, Merit], reduction: int) -> Merit | None:
    """The merit that a run must reach to go on from a rung: the percentile 100 * (1 - 1 / reduction) of the merits of
    the runs that stand there already, which about one in `reduction` reaches. It is interpolated between two merits;
    None if no run there has a finite value.

    Runs whose value is not finite count with the worst finite merit. A huge number in its place would drag the cutoff
    down by interpolation, and the next run would go on whatever its value.
    """
    return reach(sorted(merit for merit in standing.values() if math.isfinite(merit[0])), len(standing), reduction)


def reach(finite: Sequence[Merit], count: int, reduction: int) -> Merit | None:
    """As `cutoff`, of `count` runs of which those with a `finite` merit are given in order."""
    if not finite:
        return None
    place, worse = (count - 1) * (reduction - 1) / reduction, count - len(finite)
    below = math.floor(place)
    beside = [finite[min(max(one - worse, 0), len(finite) - 1)] for one in (below, below + 1)]
    value, cost = (float(np.interp(place - below, (0, 1), column)) for column in zip(*beside, strict=True))
    return value, cost


def reason(value: float, epoch: float, ended: bool) -> str:
    """Why a run ends whatever the others do; "" if it does not."""
    if not math.isfinite(value):
        return f"its value at epoch {epoch:g} is not finite"
    return f"its last epoch, {epoch:g}" if ended else ""


def words(verdict: Verdict, to_reach: float | None, alone: bool, epoch: float) -> str:
    """A verdict in words. `epoch`: of the report, or at which the runs end."""
    at = f"at epoch {epoch if alone else verdict.rung:g}"
    several = f"{verdict.mean:.6g}, the mean of {verdict.of} runs,"
    if abs(verdict.mean) >= WORST:
        several = f"a configuration of {verdict.of} runs, not all of which are above the floor,"
    value = f"{verdict.mean:.6g}" if alone else several
    later = "" if alone else f"; they end at epoch {epoch:g}"
    if verdict.put_off:
        return f"{value} is worse than others {at}, but a run of its configuration trains for the last epoch already"
    if not math.isfinite(verdict.mean):
        return f"a run of its configuration is not finite {at}{later}"
    if to_reach is None:
        return f"first {at}" if alone else f"first {at}: {value[:-1]}"
    if verdict.until is None:
        return f"{value} is within the cutoff {to_reach:.6g} {at}"
    if verdict.mean == to_reach:
        return f"{value} is the cutoff {at}, and others reached it in fewer seconds{later}"
    return f"{value} is worse than the cutoff {to_reach:.6g} {at}{later}"


def expected_epochs(epochs: int, grace: int, reduction: int) -> float:
    """Epochs of an average run when at every rung one run in `reduction` goes on."""
    total, share, last = 0.0, 1.0, 0
    for rung in reversed(rungs(epochs, grace, reduction)):
        if rung < epochs:
            total += share * (rung - last)
            last, share = rung, share / reduction
    return total + share * (epochs - last)
