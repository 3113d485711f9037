"""Asynchronous successive halving (Li et al. 2018, https://arxiv.org/abs/1810.05934) with its decisions on record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from gen.on_ray.replay import KIND, Decision
from gen.results.ledger import Slot

RUN, TICK, EPOCH = "run", "tick", "epoch"  # what a trial reports, beside ...
VALUE = "value"  # ... the best so far of the figure that steers: a late collapse does not hide a good model
LAST = "last"  # ... that figure as it is now: one that is not finite ends the trial
SECONDS = "seconds"  # ... what the run has cost so far: training and evaluation, over all attempts
REPLAYED = "replayed"  # the end of a run that was on record already

Merit = tuple[float, float]
"""What is compared at a rung, the larger the better: the value, signed, and among equal values minus the seconds."""


class Rungs(_Bracket):
    """Ray's rungs, with merits in the place of bare values and runs in that of trials."""

    def cutoff(self, recorded: Mapping[str, Merit]) -> Any:
        """The merit below which a run stops: Ray's interpolated percentile, over merits in their order.

        A run whose value is not finite stands with the worst finite one: as a huge number it would drag the cutoff down
        to itself by interpolation, and the next run would go on whatever its value. None while no value is finite.
        """
        finite = sorted(merit for merit in recorded.values() if math.isfinite(merit[0]))
        if not finite:
            return None
        merits = [finite[0]] * (len(recorded) - len(finite)) + finite
        place = (len(merits) - 1) * (self.rf - 1) / self.rf
        value, cost = (float(np.interp(place, range(len(merits)), column)) for column in zip(*merits, strict=True))
        return value, cost


class RecordedHalving(ASHAScheduler):
    """Ray's ASHA over absolute epochs, by each run's best value so far. Among equal values the run that took fewer
    seconds goes on: the search's budget is time.

    Every decision at a rung is a row of `events`, in storage before it takes effect; `history` are those of earlier
    attempts, from which the rungs are rebuilt. A value that is not finite counts as the worst and ends its trial.
    """

    def __init__(
        self,
        slot: Slot,
        experiment: str,
        attempt: str,
        mode: str,
        epochs: int,
        grace: int,
        reduction: int,
        history: Iterable[Decision] = (),
    ) -> None:
        super().__init__(
            time_attr=EPOCH,
            metric=VALUE,
            mode=mode,
            max_t=epochs,
            grace_period=grace,
            reduction_factor=reduction,
            stop_last_trials=False,  # a run ends itself; and a skipped rung is not filled with a later value
        )
        self.slot, self.experiment, self.attempt, self.sign = slot, experiment, attempt, -1 if mode == "min" else 1
        self.rungs: Any = Rungs(grace, epochs, reduction, 0, stop_last_trials=False)
        self._brackets = [self.rungs]
        self.stops: dict[str, float] = {}  # run -> epoch at which it was stopped
        values = dict(self.rungs._rungs)
        for past in history:
            if past.rung in values:
                values[past.rung].setdefault(past.run, self.merit(past.value, past.seconds))
            if past.decision == "stop":
                self.stops[past.run] = past.epoch

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None: Tune itself gives a free slot a trial that nobody waits for. Ray's choice, the first trial pending, is
        the one for which a process is starting: that process would be thrown away, and as long as runs are shorter than
        a start one slot would do all the work."""
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the run goes on. ValueError if it did not report what is compared."""
        return self.decide(result, ended=False)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A run that ended by itself counts at the rung that it ends on."""
        self.decide(result, ended=True)

    def decide(self, result: Mapping[str, Any], ended: bool) -> str:
        """Compares and records a report. What was decided before, by whatever attempt, stands."""
        absent = [key for key in (RUN, TICK, EPOCH, VALUE, LAST, SECONDS) if key not in result]
        if absent:
            raise ValueError(f"a trial reported no {', '.join(absent)}: its run cannot be compared")
        run, epoch = result[RUN], float(result[EPOCH])
        if run in self.stops:  # before that epoch only where it is trained again, after a kill
            return str(TrialScheduler.STOP if epoch >= self.stops[run] else TrialScheduler.CONTINUE)
        finite = all(value is not None and math.isfinite(value) for value in (result[VALUE], result[LAST]))
        value = float(result[VALUE]) if finite else math.nan
        rung, recorded = next((rung for rung in self.rungs._rungs if epoch >= rung[0]), (None, {}))
        new = rung is not None and run not in recorded
        cutoff = self.rungs.cutoff(recorded) if new else None
        decision = self.rungs.on_result(SimpleNamespace(trial_id=run), epoch, self.merit(value, result[SECONDS]))
        if not finite:
            decision = TrialScheduler.STOP
        if new or (not finite and not ended):
            self.record(result, "end" if ended else decision, value, rung if new else None, cutoff)
        if decision == TrialScheduler.STOP and not ended:
            self.stops[run] = epoch
            self._num_stopped += 1
        return str(decision)

    def merit(self, value: float, seconds: float) -> Merit:
        """What is compared of a run."""
        return (self.sign * value if math.isfinite(value) else -math.inf, -seconds)

    def record(
        self, result: Mapping[str, Any], decision: str, value: float, rung: float | None, cutoff: Merit | None
    ) -> None:
        """Writes one row of `events`; it is in storage when this returns."""
        limit = None if cutoff is None else self.sign * cutoff[0]
        row = {
            "experiment": self.experiment,
            "run": result[RUN],
            "attempt": self.attempt,
            "tick": int(result[TICK]),
            "epoch": float(result[EPOCH]),
            "kind": KIND,
            "decision": {TrialScheduler.STOP: "stop", TrialScheduler.CONTINUE: "continue"}.get(decision, decision),
            "value": value,
            "why": reason(decision, value, float(result[EPOCH]), limit),
            "detail": json.dumps(
                {
                    "rung": rung,
                    "cutoff": limit,
                    "cutoff_seconds": None if cutoff is None else -cutoff[1],
                    "seconds": float(result[SECONDS]),
                    "last": None if result[LAST] is None or not math.isfinite(result[LAST]) else float(result[LAST]),
                    "reduction": self._reduction_factor,
                }
            ),
            "time": datetime.now(UTC),
        }
        self.slot.extend({"events": [row]})


def reason(decision: str, value: float, epoch: float, cutoff: float | None) -> str:
    """A decision in words."""
    if not math.isfinite(value):
        return f"its value at epoch {epoch:g} is not finite"
    if decision == "end":
        return f"its last epoch, {epoch:g}"
    if cutoff is None:
        return f"first at epoch {epoch:g}"
    if decision == TrialScheduler.CONTINUE:
        return f"{value:.6g} is within the cutoff {cutoff:.6g} at epoch {epoch:g}"
    if value == cutoff:
        return f"{value:.6g} is the cutoff at epoch {epoch:g}, and others reached it in fewer seconds"
    return f"{value:.6g} is worse than the cutoff {cutoff:.6g} at epoch {epoch:g}"
