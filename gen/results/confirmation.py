"""The confirmation of a search as its events tell it: who takes part, which runs are its own, who dropped out.

The best configurations of a search train again with fresh seeds. What is decided is an event of kind "confirm" before
it takes effect: "enter" (of the best run of a configuration in the search), "run" (of a run of the confirmation, before
it starts), "drop" and "win" (of the run that entered).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gen.results.queries import Place, outcomes, read

KIND = "confirm"  # of the events
ENTER, RUN, DROP, WIN = "enter", "run", "drop", "win"  # decisions


@dataclass(frozen=True)
class Begun:
    """A race on record. A configuration is named by the run that entered for it."""

    number: int  # of the experiment's races, from 1 up
    entrants: Sequence[str]  # the best of the search first
    values: Sequence[float]  # what chose each of them
    first: int  # number of its first seed, counted from the search's
    terms: Mapping[str, Any]  # what it was begun under; under others another race begins
    drops: Sequence[Mapping[str, Any]]  # what was told of each, in the order in which they dropped out
    runs: frozenset[str]  # its runs that are on record
    won: int  # after how many seeds its end is on record, as it was told last; 0: it is not
    winner: str  # ... and who won then; "": nobody yet


def fresh_runs(place: Place, experiment: str) -> dict[str, str]:
    """Run -> the run that entered for its configuration, for all runs of confirmations: the others are the search's."""
    rows = read(place, experiment, "events", {"kind": KIND, "decision": RUN}, ["run", "decision", "detail"])
    return fresh_of(rows)


def fresh_of(rows: pd.DataFrame) -> dict[str, str]:
    """As `fresh_runs`, from the rows of `events` that tell of confirmations."""
    rows = rows[rows["decision"] == RUN]
    return {run: json.loads(detail)["configuration"] for run, detail in zip(rows["run"], rows["detail"], strict=True)}


def shorter_runs(place: Place, experiment: str) -> set[str]:
    """Runs of confirmations that ended after fewer epochs than the latest race trains for: the epochs of the search
    have grown, and these runs have not gone on, or not yet. Their figures are no rivals of the figures of its runs."""
    rows = read(place, experiment, "events", {"kind": KIND}, ["run", "attempt", "decision", "detail"])
    told = [(row["run"], row["attempt"], row["decision"], json.loads(row["detail"])) for row in rows.to_dict("records")]
    epochs = {detail["race"]: detail["terms"].get("epochs", 0) for *_, what, detail in told if what == ENTER}
    most = max(epochs.values(), default=0)
    asked = dict[str, str]()  # run -> the first attempt that trained it for so many epochs; "": none did
    for run, attempt, what, detail in told:
        if what == RUN:
            long = attempt if epochs.get(detail["race"], most) == most else ""
            asked[run] = min(filter(None, (asked.get(run), long)), default="")
    ends = outcomes(place, experiment, columns=("run", "attempt")).set_index("run")["attempt"].to_dict()
    return {run for run, first in asked.items() if not first or ends.get(run, first) < first}


def last_race(place: Place, experiment: str) -> Begun | None:
    """The latest race on record; None if there is none."""
    rows = read(place, experiment, "events", {"kind": KIND}).sort_values(["attempt", "time"], kind="stable")
    told = [row | {"detail": json.loads(row["detail"])} for row in rows.to_dict("records")]
    number = max((row["detail"]["race"] for row in told), default=0)
    mine = [row for row in told if row["detail"]["race"] == number]
    if not mine:
        return None
    entered = sorted((row for row in mine if row["decision"] == ENTER), key=lambda row: row["detail"]["place"])
    drops = {row["run"]: row["detail"] | {"why": row["why"]} for row in reversed(mine) if row["decision"] == DROP}
    wins = [row for row in mine if row["decision"] == WIN]
    return Begun(
        number,
        [row["run"] for row in entered],
        [row["value"] for row in entered],
        entered[0]["detail"]["first"],
        entered[0]["detail"]["terms"],
        [{"configuration": run, **detail} for run, detail in reversed(drops.items())],
        frozenset(row["run"] for row in mine if row["decision"] == RUN),
        wins[-1]["detail"]["of"] if wins else 0,
        wins[-1]["run"] if wins else "",
    )
