"""Successive halving as a scheduler of Ray Tune, with its decisions on record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from gen.on_ray.replay import KIND
from gen.results.ledger import Slot
from gen.search.halving import Decision, Halving, Report

RUN, TICK, EPOCH = "run", "tick", "epoch"  # what a trial reports: the parts of a `Report`, ...
VALUE, LAST, SECONDS = "value", "last", "seconds"
EVALUATED = "evaluated"  # seconds of the tick's evaluation
REMARKS = "remarks"  # ... and lines on what was found damaged and made anew
REPLAYED = "replayed"  # ... and whether its run had ended before, so that its end was only read


class RecordedHalving(FIFOScheduler):
    """Successive halving over absolute epochs; trials start in the order of Tune's list.

    Every decision at a rung is a row of `events`, in storage before it takes effect. `history`: the decisions of
    earlier attempts, from which the rungs are rebuilt.
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
        super().__init__()  # type: ignore[no-untyped-call]
        self.slot, self.experiment, self.attempt = slot, experiment, attempt
        self.halving = Halving(mode, epochs, grace, reduction, history)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None, so that Tune itself chooses: it gives a process that became free to a trial for which no process is
        starting. Ray's own schedulers name the first trial that waits, for which a process is starting already. That
        process would be thrown away, and where runs are shorter than a start, one process would train all of them."""
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the run goes on, in Tune's words. ValueError if it did not report what is compared."""
        report = read_report(result)
        self.decide(report, ended=False)
        return str(TrialScheduler.CONTINUE if self.halving.goes_on(report) else TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A run that ended by itself counts at the rung that it ends on."""
        self.decide(read_report(result), ended=True)

    def decide(self, report: Report, ended: bool) -> None:
        """Decides about a run, and records the decision if there is one."""
        decision = self.halving.decide(report, ended)
        if decision is not None:
            self.record(report, decision)

    def record(self, report: Report, decision: Decision) -> None:
        """Writes one row of `events`; it is in storage when this returns."""
        row = {
            "experiment": self.experiment,
            "run": report.run,
            "attempt": self.attempt,
            "tick": report.tick,
            "epoch": report.epoch,
            "kind": KIND,
            "decision": decision.decision,
            "value": decision.value,
            "why": decision.why,
            "detail": json.dumps(
                {
                    "rung": decision.rung,
                    "cutoff": decision.cutoff,
                    "cutoff_seconds": decision.cutoff_seconds,
                    "seconds": report.seconds,
                    "last": None if report.last is None or not math.isfinite(report.last) else report.last,
                    "reduction": self.halving.reduction,
                }
            ),
            "time": datetime.now(UTC),
        }
        self.slot.extend({"events": [row]})


def read_report(result: Mapping[str, Any]) -> Report:
    """The report that a trial gave Tune. ValueError if a part of it is missing."""
    absent = [key for key in (RUN, TICK, EPOCH, VALUE, LAST, SECONDS) if key not in result]
    if absent:
        raise ValueError(f"a trial reported no {', '.join(absent)}: its run cannot be compared")
    value, last = (None if result[key] is None else float(result[key]) for key in (VALUE, LAST))
    return Report(result[RUN], int(result[TICK]), float(result[EPOCH]), value, last, float(result[SECONDS]))
