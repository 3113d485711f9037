"""The leaderboard by configuration: of the best, as many rows as a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gen.report.again import again
from gen.report.facts import Experiment, Facts
from gen.report.section import Section, number, render
from gen.report.winner import short_names
from gen.report.words import left_out, protocol

MOST = 200  # rows of the page
HEADINGS = {
    "rank": "rank",
    "mean": "mean",
    "interval": "95 % interval",
    "n": "seeds measured",
    "confirmed": "confirmed mean",
    "confirmed interval": "its 95 % interval",
    "confirmed_n": "fresh seeds",
    "runs": "runs",
    "steering": "steering",
    "steering_n": "runs in steering",
    "states": "ended as",
    "epochs": "epochs",
    "seconds": "device-seconds",
}


@dataclass(frozen=True)
class Row:
    """A configuration: what its cells show, what they sort by, its best run and the command that trains that again."""

    cells: Sequence[tuple[str, str]]  # text, and what it sorts by: "" is the last
    run: str
    command: str
    without: str  # why it has no command; "": it has one, or none is to be had of any run


def section(facts: Facts) -> Section | None:
    """A row for each configuration, the best first; None before the first end."""
    experiment = facts.first
    table = configurations(experiment)
    if table.empty:
        return None
    commands = again(experiment, list(table["run"].head(MOST)))
    names = list(short_names(experiment.varying).values())
    shown = [name for name in HEADINGS if name in table and table[name].notna().any() and (table[name] != "").any()]
    rows = [
        Row(
            [cell(row[name], row.get(f"{name} by")) for name in [*shown, *names]],
            row["run"],
            commands.own.get(row["run"], ""),
            commands.without.get(row["run"], ""),
        )
        for row in table.head(MOST).to_dict("records")
    ]
    html = render(
        "board.html",
        experiment=experiment,
        headings=[HEADINGS.get(name, name) for name in shown] + names,
        numeric=[name not in ("interval", "confirmed interval", "states") for name in shown]
        + [is_numeric(table[name]) for name in names],
        rows=rows,
        total=len(table),
        confirmed=int(table["confirmed"].notna().sum()),
        ranked=int(table["rank"].notna().sum()),
        shared=commands.shared,
        protocol=protocol(experiment),
        forgotten=experiment.forgotten,
        left_out=left_out(experiment),
    )
    return Section("Leaderboard", "leaderboard", html)


def configurations(experiment: Experiment) -> pd.DataFrame:
    """One row for each configuration of the search of which a run ended: those that `results.leaderboard` ranks, in
    their order, then the others by `steering`, the mean of the cheap figures that steered `steering_n` of their runs.
    With their best `run`, `runs`, `states` (how these ended), `epochs` and `seconds` of all of them, what fresh seeds
    gave, and the settings that vary."""
    runs = experiment.searched[experiment.searched["ended"].notna()]
    sign = 1.0 if experiment.mode == "min" else -1.0
    groups = runs.groupby("configuration", sort=False)
    ordered = runs.assign(merit=sign * runs["best"]).sort_values(["configuration", "merit"], kind="stable")
    table = pd.DataFrame(
        {
            "steering": groups["best"].mean(),
            "steering_n": groups["best"].count(),
            "runs": groups.size(),
            "epochs": groups["epochs"].sum(),
            "seconds": groups["device_seconds"].sum().round(1),
            "run": ordered.groupby("configuration", sort=False)["run"].first(),
            "states": ordered.groupby("configuration", sort=False)["status"].agg(tally),
        }
    )
    told = experiment.configurations
    if len(told):
        own = dict(zip(experiment.runs["run"], experiment.runs["configuration"], strict=True))
        told = told.assign(configuration=told["run"].map(own)).set_index("configuration")
        table["run"] = told["run"].astype(object).reindex(table.index).fillna(table["run"])
    for name in ("rank", "mean", "low", "high", "n", "confirmed", "confirmed_low", "confirmed_high", "confirmed_n"):
        there = told[name].astype("Float64").astype(float).reindex(table.index) if name in told else np.nan
        table[name] = there
    table["confirmed_n"] = table["confirmed_n"].where(table["confirmed_n"] > 0)
    for name, before in (("interval", ""), ("confirmed interval", "confirmed_")):
        table[name] = [between(*ends) for ends in zip(table[f"{before}low"], table[f"{before}high"], strict=True)]
        table[f"{name} by"] = table[f"{before}low"]
    keys = short_names(experiment.varying)
    table = table.merge(experiment.settings[["run", *keys]].rename(columns=keys), on="run", how="left")
    order = np.lexsort([sign * table["steering"].to_numpy(dtype=float), table["rank"].to_numpy(dtype=float)])
    return table.iloc[order].reset_index(drop=True)


def between(low: float, high: float) -> str:
    """An interval in words; "" where there is none."""
    return "" if np.isnan(low) else f"{number(low)} to {number(high)}"


def tally(states: pd.Series[str]) -> str:
    """How runs ended: "2 finished, 1 stopped", or the word alone of one run."""
    counts = states.value_counts(sort=False)
    return str(states.iloc[0]) if len(states) == 1 else ", ".join(f"{count} {state}" for state, count in counts.items())


def cell(value: Any, by: Any = None) -> tuple[str, str]:
    """What a cell shows, and what it sorts by."""
    if value is None or value is pd.NA or value != value or value == "":
        return "", ""
    order = value if by is None else by
    return number(value), repr(float(order)) if isinstance(order, (int, float)) else str(order)


def is_numeric(values: pd.Series[Any]) -> bool:
    """Whether a column is of numbers."""
    return bool(pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values))
