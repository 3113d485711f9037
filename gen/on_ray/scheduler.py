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
WAITS = "waits"  # ... and whether it gives its slot away at a rung, until its siblings have come
ENDED = "ended"  # ... and how its run ended, if it did
REPLAYED = "replayed"  # ... and whether its run had ended before, so that its end was only read


class RecordedHalving(FIFOScheduler):
    """Successive halving over absolute epochs; trials start in the order of Tune's list.

    Every decision at a rung is a row of `events`, in storage before it takes effect. `history`: the decisions of
    earlier attempts, from which the rungs are rebuilt; `more`: further arguments of `Halving`.
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
        **more: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slot, self.experiment, self.attempt = slot, experiment, attempt
        self.halving = Halving(mode, epochs, grace, reduction, history, **more)

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
        """A run that ended by itself counts at the rung that it ends on; one that waits has not ended."""
        report = read_report(result)
        self.decide(report, ended=not report.waits)

    def decide(self, report: Report, ended: bool) -> None:
        """Decides about a run and its siblings, and records what was decided: all of it is in storage at once."""
        if made := self.halving.decide(report, ended):
            self.slot.extend({"events": [self.row(report, decision) for decision in made]})

    def row(self, report: Report, decision: Decision) -> dict[str, Any]:
        """A decision as a row of `events`. `report`: the one that led to it, of the same run or of a sibling."""
        own = report.run == decision.run
        last = report.last if own else None
        return {
            "experiment": self.experiment,
            "run": decision.run,
            "attempt": self.attempt,
            "tick": report.tick if own else round(decision.epoch / self.halving.every),
            "epoch": decision.epoch,
            "kind": KIND,
            "decision": decision.decision,
            "value": decision.value,
            "why": decision.why,
            "detail": json.dumps(
                {
                    "rung": decision.rung,
                    "cutoff": decision.cutoff,
                    "cutoff_seconds": decision.cutoff_seconds,
                    "seconds": decision.seconds,
                    "last": None if last is None or not math.isfinite(last) else last,
                    "reduction": self.halving.reduction,
                }
                | compared(decision)
            ),
            "time": datetime.now(UTC),
        }


def compared(decision: Decision) -> dict[str, float | None]:
    """What was compared where a configuration has several runs, for `detail`: the mean, and how many runs it is of."""
    if decision.of is None:
        return {}
    value = decision.mean
    value = None if value is None or not math.isfinite(value) else value
    return {"of": decision.of, "mean": value, "mean_seconds": decision.mean_seconds}


def read_report(result: Mapping[str, Any]) -> Report:
    """The report that a trial gave Tune. ValueError if a part of it is missing."""
    absent = [key for key in (RUN, TICK, EPOCH, VALUE, LAST, SECONDS) if key not in result]
    if absent:
        raise ValueError(f"a trial reported no {', '.join(absent)}: its run cannot be compared")
    value, last = (None if result[key] is None else float(result[key]) for key in (VALUE, LAST))
    return Report(
        result[RUN],
        int(result[TICK]),
        float(result[EPOCH]),
        value,
        last,
        float(result[SECONDS]),
        bool(result.get(WAITS)),
    )
