"""Asynchronous successive halving (Li et al. 2018, https://arxiv.org/abs/1810.05934) with its decisions on record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from gen.results.ledger import Slot

EPOCH, VALUE, RUN, REPLAYED = "epoch", "value", "run", "replayed"  # what a trial reports to the scheduler
WORST = 1e30  # stands for what is not finite: an infinity would make the percentile NaN, and NaN is never stopped
KIND = "rung"


class RecordedHalving(ASHAScheduler):
    """Ray's ASHA over absolute epochs. Every rung decision is a row of `events`, in storage before it takes effect."""

    def __init__(self, slot: Slot, experiment: str, attempt: str, mode: str, epochs: int, grace: int, reduction: int):
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

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """The decision at a rung. A value that is not finite counts as the worst and ends its trial."""
        if VALUE not in result or EPOCH not in result:
            raise ValueError(f"trial {trial.trial_id} reported no {VALUE} or {EPOCH}: it cannot be compared")
        value = result[VALUE]
        finite = value is not None and math.isfinite(value)
        known = self.rung_of(trial)
        cutoffs = {milestone: bracket.cutoff(recorded) for bracket, milestone, recorded in self.rungs()}
        ranked = result | {VALUE: value if finite else -self.sign * WORST}
        decision: str = super().on_trial_result(tune_controller, trial, ranked)
        rung = self.rung_of(trial)
        if result.get(REPLAYED):  # its values fill the rungs; what was decided then stands
            return str(TrialScheduler.CONTINUE)
        if not finite:
            decision = TrialScheduler.STOP
        if rung != known or decision == TrialScheduler.STOP:
            reached = None if rung is None else cutoffs.get(rung)
            cutoff = None if reached is None else self.sign * float(reached)
            self.record(result, rung, cutoff, decision, finite)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A run that ended by itself counts at the rung that it ends on."""
        value = result.get(VALUE)
        finite = value is not None and math.isfinite(value)
        super().on_trial_complete(tune_controller, trial, result | {VALUE: value if finite else -self.sign * WORST})

    def rungs(self) -> list[tuple[Any, float, dict[str, float]]]:
        """Every rung as (bracket, milestone in epochs, recorded values signed so that large is good)."""
        return [(bracket, milestone, recorded) for bracket in self._brackets for milestone, recorded in bracket._rungs]

    def rung_of(self, trial: Trial) -> float | None:
        """The highest milestone at which `trial` is on record."""
        return max((milestone for _, milestone, recorded in self.rungs() if trial.trial_id in recorded), default=None)

    def record(
        self, result: Mapping[str, Any], rung: float | None, cutoff: float | None, decision: str, finite: bool
    ) -> None:
        """Writes one row of `events`; it is in storage when this returns."""
        stopped = decision == TrialScheduler.STOP
        if not finite:
            why = f"its value at epoch {result[EPOCH]:g} is not finite"
        elif stopped:
            why = f"{result[VALUE]:.6g} is worse than the cutoff {cutoff:.6g} at epoch {rung:g}"
        else:
            why = f"first at epoch {rung:g}" if cutoff is None else f"within the cutoff {cutoff:.6g} at epoch {rung:g}"
        row = {
            "experiment": self.experiment,
            "run": result[RUN],
            "attempt": self.attempt,
            "tick": int(result["tick"]),
            "epoch": float(result[EPOCH]),
            "kind": KIND,
            "decision": "stop" if stopped else "continue",
            "value": result[VALUE],
            "why": why,
            "detail": json.dumps({"rung": rung, "cutoff": cutoff, "reduction": self._reduction_factor}),
            "time": datetime.now(UTC),
        }
        self.slot.extend({"events": [row]})
