"""The confirmation of a search as Tune trains it: the best configurations again, with fresh seeds, in a race. What is
decided is on record before it takes effect, so that a race that was cut goes on as the same race."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from gen.config import RunConfig, to_json
from gen.judge.judge import silence
from gen.metrics.table import direction
from gen.on_ray.replay import End
from gen.on_ray.scheduler import LAST, VALUE
from gen.on_ray.submission import CONFIG, RUN
from gen.results import queries
from gen.results.board import leaderboard
from gen.results.comparison import configuration_of
from gen.results.confirmation import DROP, ENTER, KIND, WIN, Begun, fresh_runs
from gen.results.confirmation import RUN as TRAIN
from gen.results.forget import forgotten
from gen.results.ledger import Slot
from gen.results.schema import WORST
from gen.results.storage import Storage
from gen.search.halving import Halving
from gen.search.race import Drop, Race, mean, next_runs, race

AHEAD = 1  # seeds beyond the present one whose runs fill slots that would idle: a test may prove them needless
TOLD = {DROP: "dropped: the configuration of", WIN: "the race is over: the configuration of"}
FULL, STEERING = (
    "full",
    "steering",
)  # what chose a configuration: the full figure on validation images, or the cheap one


@dataclass(frozen=True)
class Contender:
    """A configuration of a search that may take part."""

    run: str  # its best run in the search, which names it
    value: float  # the mean of its figures, on validation images
    by: str  # FULL or STEERING

    def words(self, place: int, count: int) -> str:
        """Why it takes part."""
        what = {FULL: "its full figure on validation images", STEERING: "the figure that steered it"}[self.by]
        return f"place {place} of {count} by {what}: {self.value:.6g}"


def contenders(
    storage: Storage, experiment: str, names: Mapping[str, Any], count: int, full: bool = True
) -> list[Contender]:
    """The best `count` configurations among the runs `names` of a search: those with a rank by their full figure on
    validation images, in its order, then those whose runs all finished, by what steered them. Test images choose
    nothing. Without `full` all are chosen by what steered them. ValueError where the full figures do not compare."""
    found = list[Contender]()
    if full:
        board = leaderboard(storage, experiment, by="config")
        board = board[board["rank"].notna() & board["run"].isin(names)]
        found = [Contender(run, float(mean), FULL) for run, mean in zip(board["run"], board["mean"], strict=True)]
    if len(found) < count:
        told = queries.settings(storage, experiment)
        told = told[told["run"].isin(names) & ~told["run"].isin(fresh_runs(storage, experiment))]
        number = configuration_of(told)
        had = {number[one.run] for one in found}
        found += steered(storage, experiment, {run: of for run, of in number.items() if of not in had})
    return found[:count]


def steered(storage: Storage, experiment: str, number: Mapping[str, int]) -> list[Contender]:
    """The configurations (run -> its number) all of whose runs that ended have finished, the best by the mean of what
    steered them first."""
    ends = queries.outcomes(storage, experiment, columns=("run", "status", "metric", "best"))
    ends = ends[ends["run"].isin(number) & ~ends["run"].isin(forgotten(storage, experiment))]
    if ends.empty:
        return []
    sign = 1 if direction(ends["metric"].iloc[0]) == "min" else -1
    best = ends["best"].to_numpy(dtype=float, na_value=np.nan)
    good = (ends["status"] == "finished").to_numpy(dtype=bool) & np.isfinite(best) & (np.abs(best) < WORST)
    ends = ends.assign(cost=np.where(good, sign * best, np.nan)).sort_values("cost", kind="stable")
    rows = [
        (group["cost"].mean(skipna=False), group["run"].iloc[0]) for _, group in ends.groupby(ends["run"].map(number))
    ]
    return [Contender(str(run), float(sign * cost), STEERING) for cost, run in sorted(rows) if math.isfinite(cost)]


def event(slot: Slot, attempt: str, run: str, decision: str, why: str, value: float | None, **detail: Any) -> Any:
    """A row of `events`. What is not finite in the detail is null."""
    plain = {key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in detail.items()}
    row = {"experiment": slot.experiment, "run": run, "attempt": attempt, "tick": 0, "epoch": None, "kind": KIND}
    row |= {"decision": decision, "value": value, "why": why, "detail": json.dumps(plain)}
    return row | {"time": datetime.now(UTC)}


def enter(
    slot: Slot, attempt: str, those: Sequence[Contender], number: int, first: int, terms: Mapping[str, Any]
) -> None:
    """Puts on record who takes part in race `number`, in which order, and which seed is the first: all at once."""
    shared = {"race": number, "first": first, "terms": dict(terms)}
    rows = [
        event(slot, attempt, one.run, ENTER, one.words(place, len(those)), one.value, place=place, by=one.by, **shared)
        for place, one in enumerate(those, 1)
    ]
    slot.extend({"events": rows})


class Confirmation:
    """The runs of a race as a search trains them (`Source`), from what is on record of it.

    `runs`: configuration and number of a seed -> its run's name and config. A run that has no end yet because an error
    of the program broke it is not trained again before the next submission, and the race waits for it. One that is to
    be ranked no more is not trained, and counts in no test and in no mean; what it had decided stands.
    """

    stage, endless = "confirm", False

    def __init__(
        self,
        begun: Begun,
        runs: Mapping[tuple[str, int], tuple[str, RunConfig]],
        mode: str,
        level: float,
        slot: Slot,
        attempt: str,
        tell: Callable[[str], None] = silence,
    ) -> None:
        """`tell` hears a line on each drop, and on the end."""
        self.tell = tell
        self.begun, self.mode, self.level, self.slot, self.attempt = begun, mode, level, slot, attempt
        self.seeds = sorted({number for _, number in runs})
        self.names = {key: run for key, (run, _) in runs.items()}
        self.of = {run: key for key, run in self.names.items()}
        self.runs = dict(runs.values())
        parts = ("configuration", "rival", "of", "chance", "why")
        self.history = [
            Drop(**{part: one[part] for part in parts}, pairs=one.get("pairs", one["of"])) for one in begun.drops
        ]
        self.told, self.won, self.winner = set(begun.runs), begun.won, begun.winner
        self.figures: dict[str, dict[int, float | None]] = {one: {} for one in begun.entrants}
        self.training, self.broken, self.unended = set[str](), set[str](), 0
        self.forgotten = forgotten(slot.storage, slot.experiment).keys() & self.of.keys()

    @property
    def state(self) -> Race:
        """How the race stands."""
        return race(self.begun.entrants, self.seeds, self.figures, self.mode, self.level, self.history)

    @property
    def done(self) -> int:
        """How many runs have an end."""
        return sum(map(len, self.figures.values())) - self.unended

    @property
    def count(self) -> int:
        """How many runs the race has at most."""
        now = self.state
        more = 0 if now.over else sum(len(set(self.seeds) - self.figures[one].keys()) for one in now.order)
        return self.done + more

    def begin(self, on_record: Mapping[str, End]) -> int:
        """Takes the figures of the runs that have an end, and decides what follows from them; gives how many runs are
        left at most."""
        self.figures = {one: {} for one in self.begun.entrants}
        self.broken.clear()
        for run, end in on_record.items():
            self.note(run, end.best, end.status)
        for run in (without := self.forgotten - on_record.keys()):
            self.note(run, None, "")
        self.unended = len(without)
        self.decide()
        return self.left(0)

    def left(self, ended: int) -> int:
        """How many runs are left at most; 0 if the race is over, or waits for what broke."""
        return self.count - self.done if self.wanted() else 0

    def trials(self, siblings: Halving | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Tune is told of the trials: the space of parameters, and more settings."""
        return {}, {"search_alg": Racer(self), "num_samples": -1}

    def note(self, run: str, value: float | None, status: str) -> None:
        """Notes what a run came to: the best value of the figure that steers; NaN if it failed, or lies below the
        floor; None if it is to be ranked no more."""
        good = status != "failed" and value is not None and abs(value) < WORST
        configuration, number = self.of[run]
        figure = float(value) if good and value is not None else math.nan
        self.figures[configuration][number] = None if run in self.forgotten else figure

    def wanted(self) -> list[str]:
        """The runs to train next, the most urgent first, and those that train; without what broke."""
        keys = next_runs(self.begun.entrants, self.seeds, self.figures, self.mode, self.level, self.history, AHEAD)
        return [run for key in keys if (run := self.names[key]) not in self.broken]

    def next(self) -> str | None:
        """The run to start next; None if none is to be started now. It is on record as the confirmation's."""
        waiting = [run for run in self.wanted() if run not in self.training]
        if new := [run for run in waiting if run not in self.told]:
            self.slot.extend({"events": [self.begins(run) for run in new]})
            self.told.update(new)
        if not waiting:
            return None
        self.training.add(waiting[0])
        return waiting[0]

    def begins(self, run: str) -> Any:
        """A row of `events`: that a run is one of the race."""
        (configuration, number), seed = self.of[run], self.runs[run].seed
        detail = {"race": self.begun.number, "configuration": configuration, "number": number, "seed": seed}
        why = f"seed {seed} of the configuration of run {configuration}"
        return event(self.slot, self.attempt, run, TRAIN, why, None, **detail)

    def end(self, run: str, value: float | None, status: str) -> None:
        """Hears the end of a run, and decides what follows from it."""
        self.note(run, value, status)
        self.decide()

    def decide(self) -> None:
        """Puts on record who drops out, and who won."""
        now, known = self.state, {drop.configuration for drop in self.history}
        new = [drop for drop in now.drops if drop.configuration not in known]
        rows = [self.drops(drop, now) for drop in new]
        ends = now.over and (self.won, self.winner) != (len(now.seeds), now.leader)
        if ends:
            rows.append(self.wins(now))
        if rows:
            self.slot.extend({"events": rows})
        for row in rows:
            self.tell(f"{TOLD[row['decision']]} run {row['run']}: {row['why']}")
        self.history += new
        if ends:
            self.won, self.winner = len(now.seeds), now.leader

    def drops(self, drop: Drop, now: Race) -> Any:
        """A row of `events`: that a configuration drops out."""
        own, rivals = now.means[drop.configuration], [self.figures[drop.rival][seed] for seed in now.seeds[: drop.of]]
        detail = {"race": self.begun.number, "rival": drop.rival, "of": drop.of, "pairs": drop.pairs}
        detail |= {"chance": drop.chance, "level": self.level, "mean": own, "rival_mean": mean(rivals)}
        return event(self.slot, self.attempt, drop.configuration, DROP, drop.why, own, **detail)

    def wins(self, now: Race) -> Any:
        """A row of `events`: that the race is over."""
        count, own, runs = len(now.seeds), now.means[now.leader], now.of[now.leader]
        few = "" if runs == count else f" of {runs} runs"  # the others are to be ranked no more
        why = f"alone of {len(self.begun.entrants)} after {count} seeds, with a mean of {own:.6g}{few}"
        if len(now.order) > 1:
            why = f"the best mean, {own:.6g}{few}, of {len(now.order)} that no test told apart over {count} seeds"
        detail = {"race": self.begun.number, "of": count, "runs": runs, "order": list(now.order), "trained": self.done}
        return event(self.slot, self.attempt, now.leader, WIN, why, own, **detail)


class Racer(Searcher):
    """A race as Tune asks for it: one trial after another, when a process is free."""

    def __init__(self, source: Confirmation) -> None:
        super().__init__()
        self.source = source
        self.trials: dict[str, str] = {}  # id of a trial -> its run
        source.training.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher to restore a search, which here the tables do."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next run, for the process that trains it; None while all wait for those that train."""
        run = self.source.next()
        if run is None:
            return None if self.trials else Searcher.FINISHED
        self.trials[trial_id] = run
        return {RUN: run, CONFIG: to_json(self.source.runs[run])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells the race how a run ended. One that an error of the program broke has no figure; one that was cut, by a
        limit of the search, has not ended."""
        run = self.trials.pop(trial_id)
        self.source.training.discard(run)
        if error:
            self.source.broken.add(run)
        elif result and (status := result.get("ended") or lost(result)):
            self.source.end(run, result[VALUE], status)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Tune keeps the state of a searcher to restore a search, which here the tables do."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


def lost(result: Mapping[str, Any]) -> str:
    """ "stopped" for a run that the scheduler stopped, as it does where a value is not finite; "" for one that was
    cut."""
    finite = all(result[key] is not None and math.isfinite(result[key]) for key in (VALUE, LAST))
    return "" if finite else "stopped"
