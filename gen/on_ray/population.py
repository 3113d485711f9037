"""Population-based training as a scheduler and a searcher of Ray Tune, with what is decided on record.

A member gives its slot away at each generation (`WAITS`) with its state in storage, and is handed out again when all
members have come. So generations need no more slots than there are, and nobody trains while it is decided. Ray's own
PBT keeps its state in its process and pauses trials there; this one is built anew from the rows of `events`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from gen.on_ray.replay import number
from gen.on_ray.scheduler import ENDED, RUN, WAITS, read_report
from gen.on_ray.submission import TRIAL, Search
from gen.record import takeover
from gen.results import queries
from gen.results.ledger import Slot
from gen.results.lineage import EXPLOIT, STAY
from gen.results.storage import Storage
from gen.search.population import Population, Rules, Turn
from gen.search.samplers import Questions, Settings

UNTIL, TAKEN = "until", "taken"  # what a trial is told: where it waits next, and what it took over last


def turns(storage: Storage, experiment: str) -> list[Turn]:
    """What was decided about the members of a population, generation by generation."""
    if experiment not in storage.folders(""):
        return []
    found = []
    rows = queries.events(storage, experiment, kind=EXPLOIT).sort_values(["tick", "attempt"], kind="stable")
    for row in rows.to_dict("records"):
        detail = json.loads(row["detail"])
        found.append(
            Turn(
                row["run"],
                int(row["epoch"]),
                number(row["value"]),
                detail["before"],
                detail["settings"],
                detail["source"] or "",
                number(detail["source_value"]),
                row["why"],
            )
        )
    return found


class RecordedPopulation(FIFOScheduler):
    """A population over absolute epochs. What is decided about a generation is in storage, all of it at once, before
    any of its members goes on; the states that are taken over are stored before that."""

    def __init__(
        self, slot: Slot, attempt: str, population: Population, runs: Sequence[str], every: int, ended: Iterable[str]
    ) -> None:
        """`every`: epochs of a tick; `ended`: runs that are no trial any more."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.slot, self.attempt, self.population = slot, attempt, population
        self.runs, self.every = runs, every
        for run in ended:
            population.end(run)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None, so that Tune itself chooses, as in `RecordedHalving`."""
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """That the run goes on: nobody is stopped. ValueError if it did not report what is compared."""
        read_report(result)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A run waits for its generation, or has ended."""
        if result.get(WAITS):
            report = read_report(result)
            self.record(self.population.arrive(report.run, report.epoch, report.last))
        elif result.get(ENDED):  # else the search ends before it, and it goes on when that is submitted again
            self.record(self.population.end(result[RUN]))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """No generation of this submission waits for a run that broke."""
        self.record(self.population.end(self.runs[trial.config[TRIAL]]))

    def record(self, made: Sequence[Turn]) -> None:
        """Stores the states that are taken over, then what was decided."""
        storage, experiment = self.slot.storage, self.slot.experiment
        for turn in made:
            if turn.source:
                takeover.store(storage, experiment, turn.run, turn.source, turn.epoch // self.every)
        if made:
            self.slot.extend({"events": [self.row(turn) for turn in made]})

    def row(self, turn: Turn) -> dict[str, Any]:
        """What was decided about a member as a row of `events`."""
        detail = {
            "source": turn.source or None,
            "source_epoch": float(turn.epoch) if turn.source else None,
            "source_value": turn.source_value if math.isfinite(turn.source_value) else None,
            "before": dict(turn.before),
            "settings": dict(turn.settings),
        }
        return {
            "experiment": self.slot.experiment,
            "run": turn.run,
            "attempt": self.attempt,
            "tick": turn.epoch // self.every,
            "epoch": float(turn.epoch),
            "kind": EXPLOIT,
            "decision": EXPLOIT if turn.source else STAY,
            "value": turn.value,
            "why": turn.why,
            "detail": json.dumps(detail),
            "time": datetime.now(UTC),
        }


@dataclass(frozen=True)
class Members:
    """The population that a search is to train."""

    rules: Rules
    questions: Questions  # about the settings that are searched
    settings: Mapping[str, Settings]  # run -> those of the searched settings with which it begins

    def arrange(
        self, slot: Slot, plan: Search, ended: Collection[str], mode: str
    ) -> tuple[RecordedPopulation, Generations]:
        """The scheduler and the searcher of a submission, as what earlier ones decided says."""
        runs, every = list(plan.runs), next(iter(plan.runs.values())).evaluate.every
        epochs = max(config.budget.epochs for config in plan.runs.values())
        past = turns(plan.storage, plan.experiment)
        population = Population(self.settings, self.questions, mode, epochs, self.rules, past)
        left = [place for place, run in enumerate(runs) if run not in ended]
        scheduler = RecordedPopulation(slot, plan.attempt, population, runs, every, ended)
        return scheduler, Generations(runs, left, population, every)


class Generations(Searcher):
    """Hands out the members, each again when its generation is complete."""

    def __init__(self, runs: Sequence[str], left: Sequence[int], population: Population, every: int) -> None:
        super().__init__()
        self.runs, self.population, self.every = runs, population, every
        self.left = list(left)  # positions in `runs` of those that do not train
        self.training: dict[str, int] = {}  # trial -> position

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher to restore a search, which here the tables do."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next run as the settings of a trial; None while all that are left wait, FINISHED where none is left."""
        ready = [one for one in self.left if not self.population.awaits(self.runs[one])]
        if not ready:  # where nobody trains, the search ends before a generation is complete
            return None if self.training else Searcher.FINISHED
        self.left.remove(ready[0])
        self.training[trial_id] = ready[0]
        return {TRIAL: ready[0], UNTIL: self.population.next, TAKEN: self.taken(self.runs[ready[0]])}

    def taken(self, run: str) -> Mapping[str, Any] | None:
        """What a run took over last, for the process that trains it."""
        turn = self.population.taken.get(run)
        return None if turn is None else {"tick": turn.epoch // self.every, "settings": json.dumps(dict(turn.settings))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Notes a run that gave its slot away; the others have ended."""
        ended = self.training.pop(trial_id, None)
        if ended is not None and not error and (result or {}).get(WAITS):
            self.left.append(ended)

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as `__getstate__`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""
