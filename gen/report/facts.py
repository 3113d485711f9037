"""What the page tells, as numbers: read from the tables once, and tested without a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gen import results
from gen.damage import is_sealed
from gen.metrics.table import direction, is_known
from gen.metrics.table import metric as metric_of
from gen.results.comparison import configuration_of
from gen.results.confirmation import fresh_runs
from gen.results.fence import holder_of
from gen.results.forget import KIND as FORGET
from gen.results.forget import why_forgotten
from gen.results.ranking import COLLAPSE, NO_COLUMN, collapses, costs, devices_on_record
from gen.results.schema import WORST
from gen.results.storage import Storage

ENDS = (
    "status",
    "why",
    "metric",
    "best",
    "best_epoch",
    "last",
    "epochs",
    "seconds",
    "ended",
    "checkpoint",
    "collapsed",
)
RUNNING, LEFT = "running", "unfinished"
NOTE = "_experiment.json"  # what an experiment stands for, as the jobs write it
STATES = ("finished", "stopped", "failed", RUNNING, LEFT)


@dataclass(frozen=True)
class Experiment:
    """One experiment. `runs` has one row for each run that was begun: what `results.runs` and `results.outcomes` tell,
    `status` (one of `STATES`), `devices` (that it takes, maybe a part), `device_seconds` (with those of measuring),
    `fresh` (whether it confirms, by a seed that the search did not use), `forgotten` (why it is ranked no more; "": it
    is ranked), `budget` (epochs that it may train) and `configuration` (a number, the same for runs that differ by
    seeds alone)."""

    storage: Storage
    name: str
    holder: str | None  # the attempt that writes it; None: nobody does
    runs: pd.DataFrame
    settings: pd.DataFrame  # wide: one row a run, one column a dotted key
    varying: Sequence[str]  # keys of the settings that differ among the runs, seeds apart
    events: pd.DataFrame
    configurations: pd.DataFrame  # results.leaderboard by configuration; empty where `unranked` says why
    unranked: str
    note: Mapping[str, Any]  # what the job noted of it: the space, the rungs, the budgets; empty where that is lost

    @property
    def metric(self) -> str:
        """The figure that steered the runs; "" before the first end, or where several did."""
        found = self.runs["metric"].dropna().unique()
        return str(found[0]) if len(found) == 1 else ""

    @property
    def mode(self) -> str:
        """Whether small ("min") or large ("max") values of it are good."""
        return str(direction(self.metric)) if self.metric else "min"

    @property
    def unit(self) -> str:
        """The unit of it; "" where nobody knows."""
        return unit_of(self.metric)

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What the full figures are of, as the leaderboard tells it."""
        found: Mapping[str, Any] = self.configurations.attrs.get("protocol", {})
        return found

    @cached_property
    def board(self) -> pd.DataFrame:
        """`results.leaderboard`, a row a run; empty where `unranked` says why."""
        return pd.DataFrame() if self.unranked else results.leaderboard(self.storage, self.name)

    @property
    def figure(self) -> str:
        """The name of the full figure by which the leaderboard ranks; "" where no run was measured in full."""
        about = self.protocol
        if not about.get("metric"):
            return ""
        return str(results.FigureName(about["metric"], about["subject"], about["column"]))

    @property
    def searched(self) -> pd.DataFrame:
        """The rows of `runs` that the search compares: those that confirm, and those that are ranked no more, are no
        rivals."""
        return self.runs[~self.runs["fresh"] & (self.runs["forgotten"] == "")]

    @property
    def forgotten(self) -> Mapping[str, str]:
        """Run -> why it is ranked no more."""
        gone = self.runs[self.runs["forgotten"] != ""]
        return dict(zip(gone["run"].astype(str), gone["forgotten"], strict=True))

    @property
    def objectives(self) -> Sequence[str]:
        """The figures that the search goes by, where they are several."""
        also = self.note.get("search", {}).get("also", ())
        return (self.metric, *also) if also and self.metric else ()

    def count(self, status: str) -> int:
        """How many runs have a status."""
        return int((self.runs["status"] == status).sum())


@dataclass(frozen=True)
class Facts:
    """All that the page tells."""

    experiments: Sequence[Experiment]
    made: datetime
    objectives: Sequence[str] = ()  # two figures of a Pareto set, where the reader asks for them

    @property
    def first(self) -> Experiment:
        """The experiment that the page is about; the others are compared with it."""
        return self.experiments[0]


def facts(
    storage: Storage, names: Sequence[str], made: datetime | None = None, objectives: Sequence[str] = ()
) -> Facts:
    """The facts of one or several experiments. ValueError if one is not there, or has no runs yet, and for `objectives`
    that are not two."""
    if objectives and len(objectives) != 2:
        raise ValueError(
            f"pareto={','.join(objectives)} names {len(objectives)}; name two figures, NAME/SUBJECT,NAME/SUBJECT"
        )
    return Facts(tuple(experiment(storage, name) for name in names), made or datetime.now(UTC), tuple(objectives))


def experiment(storage: Storage, name: str) -> Experiment:
    """The facts of one experiment. ValueError if it is not there, or has no runs yet."""
    begun = results.runs(storage, name)
    if begun.empty:
        raise ValueError(f"experiment {name} in {storage} has no runs yet; ask again once one has begun")
    holder = holder_of(storage, name)
    settings, ends = results.settings(storage, name), results.outcomes(storage, name)
    runs = begun.merge(ends[["run", *ENDS]], on="run", how="left").drop(columns=["config"])
    runs["status"] = runs["status"].astype(object).where(runs["status"].notna(), RUNNING if holder else LEFT)
    runs["fresh"] = runs["run"].isin(fresh_runs(storage, name))
    events = results.events(storage, name)
    runs["forgotten"] = runs["run"].map(why_forgotten(events[events["kind"] == FORGET])).astype(object).fillna("")
    runs["devices"] = devices_on_record(runs)
    seconds = runs["run"].map(costs(storage, name, ends)).astype(float)
    runs["device_seconds"] = seconds * runs["devices"]
    budget = settings.set_index("run")["budget.epochs"] if "budget.epochs" in settings else pd.Series(dtype=float)
    began = runs["run"].map(budget.astype(float).to_dict()).astype(float)
    runs["budget"] = np.fmax(began, finite(runs["epochs"]))  # the settings tell that of its beginning, which may grow
    runs["configuration"] = runs["run"].map(configuration_of(settings)).fillna(-1).astype(int)
    for column in ("best", "last", "best_epoch", "epochs", "seconds"):
        runs[column] = finite(runs[column])
    try:
        configurations, why = results.leaderboard(storage, name, by="config"), ""
        known = configurations["run"].isin(runs["run"])  # a run may have ended since the others were read
        configurations = configurations[known].reset_index(drop=True)
    except ValueError as unlike:
        configurations, why = pd.DataFrame(), str(unlike)
    told = collapses(events[events["kind"] == COLLAPSE], ends)  # by the runs, or when their best weights were measured
    runs["collapsed"] = runs["run"].map(dict(zip(ends["run"], told, strict=True)))
    varying = [
        key
        for key in settings.columns[2:]
        if key != "seed" and not key.startswith(NO_COLUMN) and settings[key].nunique() > 1
    ]
    return Experiment(
        storage,
        name,
        holder,
        runs,
        settings,
        varying,
        events,
        configurations,
        why,
        note(storage, name),
    )


def unit_of(figure: str) -> str:
    """The unit of a figure; "" where nobody knows."""
    return metric_of(figure).unit if figure and is_known(figure) else ""


def note(storage: Storage, name: str) -> dict[str, Any]:
    """The note of an experiment, as it is; empty where there is none, or a damaged one: the tables are the truth."""
    try:
        found = json.loads(storage.get(f"{name}/{NOTE}") or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and is_sealed(found) else {}


def finite(values: pd.Series[float]) -> pd.Series[float]:
    """Numbers as floats: NaN where there is none, where it is not finite, and for weights below the floor."""
    numbers = values.to_numpy(dtype=float, na_value=math.nan)
    return pd.Series(np.where(np.isfinite(numbers) & (np.abs(numbers) < WORST), numbers, math.nan), index=values.index)
