"""Asynchronous successive halving (Li et al. 2018, https://arxiv.org/abs/1810.05934): which runs go on at a rung.

A rung is an epoch at which runs are compared. Reports go in and decisions come out; earlier decisions are enough to
rebuild the rungs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gen.checks import at_least

Merit = tuple[float, float]
"""What runs are compared by, the larger the better: the value, negated where small is good, then minus the seconds."""


@dataclass(frozen=True)
class Report:
    """What a run tells after a tick."""

    run: str
    tick: int
    epoch: float
    value: float | None  # the best so far of the figure that steers: a late collapse does not hide a good model
    last: float | None  # that figure at this tick: the run ends if it is not finite
    seconds: float  # what the run has cost so far: training and evaluation, over all attempts

    @property
    def finite_value(self) -> float:
        """The value; NaN if it, or `last`, is not finite."""
        if self.value is None or self.last is None or not math.isfinite(self.last):
            return math.nan
        return float(self.value) if math.isfinite(self.value) else math.nan


@dataclass(frozen=True)
class Decision:
    """What was decided about a run at an epoch: "stop" or "continue"; "end" where the run ended by itself."""

    run: str
    epoch: float
    decision: str
    value: float  # NaN: not finite
    seconds: float
    rung: float | None  # in epochs; None between rungs, where only a value that is not finite stops a run
    cutoff: float | None = None  # the value to reach at that rung; None for the first run there
    cutoff_seconds: float | None = None  # ... and in how many seconds at most
    why: str = ""


class Halving:
    """The rungs of a search, and which runs stand on them.

    A report is compared at the highest rung that its epoch has reached, with the runs that stand there already. The run
    goes on if it is no worse than the cutoff, which about one run in `reduction` reaches. Of two runs with equal values
    the one that took fewer seconds is better, for a search's budget is time. A run is compared once a rung; `history`
    are the decisions of earlier attempts, which stand.
    """

    def __init__(
        self,
        mode: str,
        epochs: int,
        grace: int,
        reduction: int,
        history: Iterable[Decision] = (),
    ) -> None:
        self.sign, self.reduction = -1 if mode == "min" else 1, reduction
        self.standing: dict[float, dict[str, Merit]] = {rung: {} for rung in rungs(epochs, grace, reduction)}
        self.stopped: dict[str, float] = {}  # run -> epoch at which it was stopped
        for past in history:
            if past.rung in self.standing:
                self.standing[past.rung].setdefault(past.run, self.merit(past.value, past.seconds))
            if past.decision == "stop":
                self.stopped[past.run] = past.epoch

    def decide(self, report: Report, ended: bool = False) -> Decision | None:
        """The decision about a run that reports, for the caller to record; None between rungs, and for a run that was
        stopped or compared before. A run that `ended` by itself is compared too: the others' cutoff depends on it."""
        if report.run in self.stopped:
            return None
        value, merit = report.finite_value, self.merit(report.finite_value, report.seconds)
        rung = next((rung for rung in self.standing if report.epoch >= rung), None)
        if rung is not None and report.run in self.standing[rung]:
            rung = None
        limit = None
        if rung is not None:
            limit = cutoff(self.standing[rung], self.reduction)
            self.standing[rung][report.run] = merit
        finite = math.isfinite(value)
        if rung is None and (finite or ended):
            return None
        stop = not finite or (limit is not None and merit < limit)
        if stop and not ended:
            self.stopped[report.run] = report.epoch
        decision = "end" if ended else "stop" if stop else "continue"
        to_reach = None if limit is None else self.sign * limit[0]
        return Decision(
            report.run,
            report.epoch,
            decision,
            value,
            report.seconds,
            rung,
            to_reach,
            None if limit is None else -limit[1],
            reason(decision, value, report.epoch, to_reach),
        )

    def goes_on(self, report: Report) -> bool:
        """Whether a run that reported goes on. A stopped run goes on up to the epoch of its stop: after a kill it is
        trained again up to there."""
        return report.epoch < self.stopped.get(report.run, math.inf)

    def merit(self, value: float, seconds: float) -> Merit:
        """What a run is compared by: a value that is not finite is worse than all finite ones."""
        return (self.sign * value if math.isfinite(value) else -math.inf, -seconds)


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
    finite = sorted(merit for merit in standing.values() if math.isfinite(merit[0]))
    if not finite:
        return None
    merits = [finite[0]] * (len(standing) - len(finite)) + finite
    place = (len(merits) - 1) * (reduction - 1) / reduction
    value, cost = (float(np.interp(place, range(len(merits)), column)) for column in zip(*merits, strict=True))
    return value, cost


def reason(decision: str, value: float, epoch: float, to_reach: float | None) -> str:
    """A decision in words."""
    if not math.isfinite(value):
        return f"its value at epoch {epoch:g} is not finite"
    if decision == "end":
        return f"its last epoch, {epoch:g}"
    if to_reach is None:
        return f"first at epoch {epoch:g}"
    if decision == "continue":
        return f"{value:.6g} is within the cutoff {to_reach:.6g} at epoch {epoch:g}"
    if value == to_reach:
        return f"{value:.6g} is the cutoff at epoch {epoch:g}, and others reached it in fewer seconds"
    return f"{value:.6g} is worse than the cutoff {to_reach:.6g} at epoch {epoch:g}"


def expected_epochs(epochs: int, grace: int, reduction: int) -> float:
    """Epochs of an average run when at every rung one run in `reduction` goes on."""
    total, share, last = 0.0, 1.0, 0
    for rung in reversed(rungs(epochs, grace, reduction)):
        if rung < epochs:
            total += share * (rung - last)
            last, share = rung, share / reduction
    return total + share * (epochs - last)
