"""What a search would have cost and found with other numbers of slots and other rungs, from its recorded curves.

The simulator feeds `Halving` as a search does: runs start in order in a number of slots, a tick takes the seconds that
it took on record, a run whose siblings have yet to come to its rung gives its slot away, and a slot that gets free
takes one of which they have come, or the next run.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen.search.halving import Halving, Report, rungs

SAFE = 0.5  # rank correlation between a rung and the end, below which stopping at that rung is a matter of luck
FEWEST = 3  # configurations of which a rank correlation can be told
MARGINS = (0.01, 0.001)  # shares of the best value within which a search is near it


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


@dataclass(frozen=True)
class Replay:
    """What came of a search under some rules."""

    rules: Rules
    seconds: float  # from its start to its end
    epochs: Mapping[str, float]  # run -> epochs that it trained
    near: Sequence[float]  # seconds until it was within each of MARGINS of the best on record; NaN: never
    best: float
    stopped: int  # runs that the rungs stopped
    begun: int  # runs that were begun before the time was up


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
    """Runs a search over recorded curves, in their order. A run ends where its record ends, if no rung stops it."""
    last = math.ceil(max(curve.epochs[-1] for curve in curves))
    halving = Halving(
        mode,
        last,
        min(rules.grace or last, last),
        rules.reduction if rules.grace else max(2, rules.reduction),
        configurations={curve.run: curve.configuration for curve in curves},
        every=every,
    )
    bests = [so_far(curve.values, mode) for curve in curves]
    goal = (min if mode == "min" else max)((own[-1] for own in bests if math.isfinite(own[-1])), default=math.nan)
    near, best, now = [math.nan] * len(MARGINS), math.nan, 0.0
    epochs: dict[str, float] = {}
    queue: list[tuple[float, int, int]] = []  # seconds at which a run comes to a tick, number of the run, of the tick
    new, waiting = iter(range(len(curves))), dict[int, int]()  # the latter: number of a run -> of its tick
    halted: set[int] = set()

    def report(number: int, tick: int, waits: bool = False) -> Report:
        one = curves[number]
        return Report(one.run, tick, one.epochs[tick], bests[number][tick], one.values[tick], one.seconds[tick], waits)

    def go_on(at: float, number: int, tick: int) -> None:
        halving.decide(report(number, tick))
        if rules.grace and not halving.goes_on(report(number, tick)):
            halted.add(number)
            return
        seconds = curves[number].seconds
        heapq.heappush(queue, (at + seconds[tick + 1] - seconds[tick], number, tick + 1))

    def start(at: float) -> bool:
        ready = [number for number in waiting if not halving.awaits(curves[number].run)]
        if not ready and (number := next(new, None)) is not None:
            epochs[curves[number].run] = 0.0
            heapq.heappush(queue, (at + curves[number].seconds[0], number, 0))
            return True
        if chosen := ready or ([] if queue else list(waiting)):  # nobody is left for whom they could wait
            go_on(at, chosen[0], waiting.pop(chosen[0]))
        return bool(chosen)

    while len(queue) < rules.slots and start(0.0):
        pass
    while queue and queue[0][0] <= rules.seconds:
        now, number, tick = heapq.heappop(queue)
        curve, value = curves[number], bests[number][tick]
        epochs[curve.run] = curve.epochs[tick]
        best = so_far([best, value], mode)[-1]
        for place, margin in enumerate(MARGINS):
            if math.isnan(near[place]) and abs(best - goal) <= margin * abs(goal):
                near[place] = now
        ended = tick + 1 == len(curve.epochs)
        halving.decide(report(number, tick, waits=True), ended)
        if not ended and rules.grace and halving.awaits(curve.run):
            waiting[number] = tick
        elif not ended:
            go_on(now, number, tick)
        while len(queue) < rules.slots and start(now):
            pass
    return Replay(rules, rules.seconds if queue else now, epochs, near, best, len(halted), len(epochs))


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
