"""Where and with what an experiment ran: so that somebody else can run it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pandas as pd

from gen.report.facts import Experiment, Facts
from gen.report.section import DASH, Section, duration, number, render
from gen.report.spending import spent
from gen.report.words import listed, protocol


def section(facts: Facts) -> Section:
    """A column for each experiment, a row for each fact."""
    columns = [told(one) for one in facts.experiments]
    rows = [(name, [column.get(name, DASH) for column in columns]) for name in columns[0]]
    html = render(
        "environment.html",
        names=[one.name for one in facts.experiments],
        rows=rows,
        protocols={one.name: protocol(one) for one in facts.experiments},
    )
    return Section("Environment", "environment", html)


def told(experiment: Experiment) -> Mapping[str, str]:
    """What the tables say of the place and the code."""
    runs = experiment.runs
    cost, note = spent(experiment), experiment.note
    budget = note.get("budget", {}) if isinstance(note.get("budget"), dict) else {}
    attempts = pd.concat([runs["attempt"], experiment.events["attempt"]]).nunique()
    return {
        "runs": number(len(runs)),
        "entry": listed(runs["entry"].unique()),
        "data": listed(f"{row.data} (hash {row.data_hash})" for row in runs.drop_duplicates("data_hash").itertuples()),
        "held-out images": listed(runs["held_out"].dropna().unique()) or "not told",
        "seeds": listed(runs["seed"].unique(), 10),
        "parameters": spread(runs["parameters"]),
        "code version": listed(runs["code_version"].unique()),
        "packages": "; ".join(packages(runs["packages"].unique())),
        "hosts": listed({host for hosts in runs["hosts"] for host in hosts}, 8),
        "device": listed(runs["device"].unique()),
        "threads a process": spread(runs["threads"]),
        "processes a run": spread(runs["world_size"]),
        "submissions": number(attempts),
        "first start": moment(runs["started"].min()),
        "last end": moment(runs["ended"].max()),
        "device time": duration(cost.device_seconds),
        "cost": cost.in_money or "no price noted (--price of jobs.tune)",
        "budgets": ", ".join(f"{name} {number(value)}" for name, value in budget.items()) or "none noted",
    }


def spread(values: pd.Series[int]) -> str:
    """One value, or the least and the largest."""
    low, high = values.min(), values.max()
    return number(int(low)) if low == high else f"{number(int(low))} to {number(int(high))}"


def moment(time: pd.Timestamp | None) -> str:
    """A time, to the second."""
    return DASH if time is None or pd.isna(time) else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def packages(texts: Iterable[str]) -> list[str]:
    """The packages and their versions, one entry for each mixture that occurs."""
    found = []
    for text in texts:
        try:
            told = json.loads(text)
        except ValueError:
            told = {}
        found.append(", ".join(f"{name} {version}" for name, version in sorted(told.items())))
    return sorted({one for one in found if one}) or ["not told"]
