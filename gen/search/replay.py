"""What a search would have cost and found with other numbers of slots and other rungs, from its recorded curves.

The simulator feeds `Halving` as a search does: runs start in order in a number of slots, a tick takes the seconds that
it took on record, a run whose siblings have yet to come to its rung gives its slot away, and a slot that gets free
takes one of which they have come, or the next run.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gen.search.budgets import Account, Budget
from gen.search.halving import Halving, Report, rungs

SAFE = 0.5  # rank correlation between a rung and the end, below which stopping at that rung is a matter of luck
FEWEST = 3  # configurations of which a rank correlation can be told
MARGINS = (0.01, 0.001)  # shares of the best value within which a search is near it
TIME_UP = "the time is up"


@dataclass(frozen=True)
class Curve:
    """What a run measured, tick by tick."""

    run: str
    configuration: str
    epochs: Sequence[float]
    values: Sequence[float]  # of the figure that steers, at each tick
    seconds: Sequence[float]  # that the run had cost by then


@dataclass(frozen=True)
class Rules:
    """How a search is run. `grace` 0: no run is stopped."""

    slots: int
    grace: int
    reduction: int
    seconds: float = math.inf  # after which it ends
    budget: Budget = field(default_factory=Budget)  # of all runs together
    devices: float = 1.0  # that a run takes

    @property
    def limits(self) -> bool:
        """Whether anything is limited."""
        return self.seconds < math.inf or self.budget.limits


@dataclass(frozen=True)
class Replay:
    """What came of a search under some rules."""

    rules: Rules
    seconds: float  # from its start to its end
    epochs: Mapping[str, float]  # run -> epochs that it trained
    near: Sequence[float]  # seconds until it was within each of MARGINS of the best on record; NaN: never
    best: float
    stopped: int  # runs that the rungs stopped
    saved: float  # epochs that those had to their end, of all runs that have as many
    unknown: float  # epochs behind the end of the records of runs that no rung stopped up to there
    begun: int  # runs that were begun before a limit was reached
    reached: str  # the limit that ended it, in words; "": none, all runs had ended


def so_far(values: Sequence[float], mode: str) -> list[float]:
    """The best finite value up to each tick; NaN before the first."""
    better = min if mode == "min" else max
    found, best = [], math.nan
    for value in values:
        if math.isfinite(value):
            best = better(best, value) if math.isfinite(best) else value
        found.append(best)
    return found


def replay(curves: Sequence[Curve], rules: Rules, mode: str, every: int) -> Replay:
    """Runs a search over recorded curves, in their order. A run ends where its record ends, if no rung stops it. At the
    first limit that is reached the search ends, if anything is left of it, without the ticks that are under way."""
    playing, now, reached = Playing(curves, rules, mode, every), 0.0, ""
    playing.fill(now)
    while playing.queue and not reached:
        if playing.queue[0][0] > rules.seconds:
            now, reached = rules.seconds, TIME_UP
            break
        now = playing.next_tick()
        reached = playing.account.reached(rules.budget) if playing.is_left() else ""
        if not reached:
            playing.fill(now)
    epochs = playing.epochs
    saved, unknown = (
        sum(playing.last - curves[number].epochs[tick] for number, tick in ends.items())
        for ends in (playing.halted, playing.over)
    )
    return Replay(
        rules, now, epochs, playing.near, playing.best, len(playing.halted), saved, unknown, len(epochs), reached
    )


class Playing:
    """A search that is played: what its rungs, its slots and its account hold."""

    def __init__(self, curves: Sequence[Curve], rules: Rules, mode: str, every: int) -> None:
        self.curves, self.rules, self.mode = curves, rules, mode
        self.last = max(curve.epochs[-1] for curve in curves)
        last = math.ceil(self.last)
        self.halving = Halving(
            mode,
            last,
            min(rules.grace or last, last),
            rules.reduction if rules.grace else max(2, rules.reduction),
            configurations={curve.run: curve.configuration for curve in curves},
            every=every,
        )
        self.bests = [so_far(curve.values, mode) for curve in curves]
        ends = (own[-1] for own in self.bests if math.isfinite(own[-1]))
        self.goal = (min if mode == "min" else max)(ends, default=math.nan)
        self.near, self.best = [math.nan] * len(MARGINS), math.nan
        self.account = Account(rules.devices)
        self.epochs: dict[str, float] = {}
        self.queue: list[tuple[float, int, int]] = []  # seconds at which a run comes to a tick, numbers of both
        self.waiting: dict[int, int] = {}  # number of a run that gave its slot away -> of its tick
        self.halted: dict[int, int] = {}  # number of a run that a rung stopped -> of its tick
        self.over: dict[int, int] = {}  # ... of one whose record has ended

    def is_left(self) -> bool:
        """Whether a run trains, waits, or is to be begun."""
        return bool(self.queue or self.waiting) or len(self.epochs) < len(self.curves)

    def fill(self, at: float) -> None:
        """Gives each free slot a run, as long as there are any."""
        while len(self.queue) < self.rules.slots and self.start(at):
            pass

    def start(self, at: float) -> bool:
        """Gives a slot a run that waited, or the next one; False if there is none."""
        ready = [number for number in self.waiting if not self.halving.awaits(self.curves[number].run)]
        if not ready and (number := len(self.epochs)) < len(self.curves):
            self.epochs[self.curves[number].run] = 0.0
            heapq.heappush(self.queue, (at + self.curves[number].seconds[0], number, 0))
            return True
        if chosen := ready or ([] if self.queue else list(self.waiting)):  # nobody is left for whom they could wait
            self.go_on(at, chosen[0], self.waiting.pop(chosen[0]))
        return bool(chosen)

    def next_tick(self) -> float:
        """The run that comes to a tick next reports it; gives the seconds at which it does."""
        now, number, tick = heapq.heappop(self.queue)
        curve = self.curves[number]
        self.epochs[curve.run] = curve.epochs[tick]
        self.account.note(curve.run, curve.epochs[tick], curve.seconds[tick])
        self.best = so_far([self.best, self.bests[number][tick]], self.mode)[-1]
        for place, margin in enumerate(MARGINS):
            if math.isnan(self.near[place]) and abs(self.best - self.goal) <= margin * abs(self.goal):
                self.near[place] = now
        report = self.report(number, tick, waits=True)
        whole = curve.epochs[tick] >= self.last or not math.isfinite(report.finite_value)
        ended = whole and self.is_last(number, tick)
        self.halving.decide(report, ended)
        if ended:
            self.over[number] = tick
        elif self.rules.grace and self.halving.awaits(curve.run):
            self.waiting[number] = tick
        else:
            self.go_on(now, number, tick)
        return now

    def is_last(self, number: int, tick: int) -> bool:
        """Whether the record of a run ends at a tick."""
        return tick + 1 == len(self.curves[number].epochs)

    def go_on(self, at: float, number: int, tick: int) -> None:
        """A run trains for its next tick, unless a rung stops it, or its record ends there."""
        self.halving.decide(self.report(number, tick))
        if self.rules.grace and not self.halving.goes_on(self.report(number, tick)):
            self.halted[number] = tick
            return
        if self.is_last(number, tick):
            self.halving.decide(self.report(number, tick), ended=True)
            self.over[number] = tick
            return
        seconds = self.curves[number].seconds
        heapq.heappush(self.queue, (at + seconds[tick + 1] - seconds[tick], number, tick + 1))

    def report(self, number: int, tick: int, waits: bool = False) -> Report:
        """What a run tells at a tick."""
        one, best = self.curves[number], self.bests[number][tick]
        return Report(one.run, tick, one.epochs[tick], best, one.values[tick], one.seconds[tick], waits)


def agreement(curves: Sequence[Curve], rung: float, mode: str) -> tuple[float, int]:
    """Spearman's rank correlation between the best values at a rung and at the end, and of how many configurations it
    is: of those of which every run is on record up to the last epoch, each by the mean of its runs. NaN if they are too
    few, or all equal at the rung or at the end."""
    from scipy import stats  # so late that nobody else waits for it

    last = max(curve.epochs[-1] for curve in curves)
    whole: dict[str, list[tuple[float, float]]] = {}
    short = {curve.configuration for curve in curves if curve.epochs[-1] < last or curve.epochs[0] > rung}
    for curve in curves:
        if curve.configuration not in short:
            own = so_far(curve.values, mode)
            at = own[max(tick for tick, epoch in enumerate(curve.epochs) if epoch <= rung)]
            whole.setdefault(curve.configuration, []).append((at, own[-1]))
    pairs = [[rank_value(column, mode) for column in zip(*runs, strict=True)] for runs in whole.values()]
    early, late = [one[0] for one in pairs], [one[1] for one in pairs]
    if len(pairs) < FEWEST or len({*early}) == 1 or len({*late}) == 1:
        return math.nan, len(pairs)
    return float(stats.spearmanr(early, late).statistic), len(pairs)


def rank_value(values: Sequence[float], mode: str) -> float:
    """The mean by which a configuration is ranked: what is not finite is the worst."""
    found = sum(values) / len(values)
    return found if math.isfinite(found) else math.inf if mode == "min" else -math.inf


def all_rungs(curves: Sequence[Curve], rules: Sequence[Rules]) -> list[int]:
    """The rungs of all rules below the last epoch, the lowest first."""
    last = math.ceil(max(curve.epochs[-1] for curve in curves))
    found = {rung for one in rules if one.grace for rung in rungs(last, min(one.grace, last), one.reduction)}
    return sorted(rung for rung in found if rung < last)
