"""What an experiment was, in words."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from gen.metrics.table import direction
from gen.report.facts import Experiment, unit_of
from gen.report.section import count, number
from gen.search.samplers import PROPOSAL, QUEUE

MOST = 4  # names that a sentence lists


def listed(values: Iterable[object], most: int = MOST) -> str:
    """A few values, and how many more there are."""
    found = sorted({str(value) for value in values})
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def about(experiment: Experiment) -> str:
    """What was searched, and how."""
    runs, search = experiment.runs, experiment.note.get("search", {})
    entries, data = listed(runs["entry"].unique()), listed(runs["data"].unique())
    configurations, seeds = runs["configuration"].nunique(), runs["seed"].nunique()
    what = f"{entries} on {data}: {count(len(runs), 'run')}"
    if len(runs) == 1:
        return f"{what} of {number(runs['budget'].iloc[0])} epochs, without a search."
    what += f" of {count(configurations, 'configuration')}, {count(seeds, 'seed')}"
    if experiment.varying:
        what += f", {count(len(experiment.varying), 'setting')} searched"
    events = experiment.events
    if proposed := set(events["decision"][events["kind"] == PROPOSAL].dropna()) - {QUEUE}:
        what += f", proposed by {listed(proposed)}"
    stops = events[events["kind"] == "rung"]
    if 0 < search.get("grace", 0) < runs["budget"].max() and len(stops):  # else no run is ever stopped
        what += f"; successive halving from epoch {search['grace']} on, one in {search.get('reduction', '?')} goes on"
    return f"{what}; up to {listed(runs['budget'].dropna().map(number))} epochs each."


def left_out(experiment: Experiment) -> str:
    """What the search's own comparisons leave out, counted; "" where that is nothing."""
    fresh, gone = (
        int((experiment.runs["fresh"] & (experiment.runs["forgotten"] == "")).sum()),
        len(experiment.forgotten),
    )
    parts = [f"{count(fresh, 'run')} with fresh seeds, which confirm"] if fresh else []
    parts += [f"{count(gone, 'run')} that {'is' if gone == 1 else 'are'} ranked no more"] if gone else []
    return f"Left out: {' and '.join(parts)}." if parts else ""


def protocol(experiment: Experiment) -> str:
    """What the ranked figure is of; "" where nothing was measured in full."""
    told = experiment.protocol
    if not told.get("metric"):
        return ""
    good = {"min": "small", "max": "large"}[direction(told["metric"])]
    unit = f" ({unit_of(experiment.figure)})" if unit_of(experiment.figure) else ""
    weights = f"{told['weights']} weights"
    parts = [f"{experiment.figure}{unit}, {good} is good, of the best weights of each run ({weights})"]
    parts.append(f"on {number(told['n_real'])} {told['split']} images of {told['data']}")
    if given(told, "n_fake"):
        parts.append(f"against {number(told['n_fake'])} {told['subject']}")
    if given(told, "features"):
        parts.append(f"in the features of {told['features']} (hash {told['features_hash']})")
    parts += [
        f"{name.replace('_', ' ')} {told[name]}" for name in ("variant", "likelihood", "labels") if given(told, name)
    ]
    if given(told, "n_samples"):
        parts.append(f"{told['n_samples']} importance samples an image")
    return f"{'; '.join(parts)}. Protocol {told['protocol']}: figures of other protocols are not ranked with these."


def given(told: object, name: str) -> bool:
    """Whether a protocol says something under a name."""
    value = told.get(name) if hasattr(told, "get") else None
    return value is not None and value is not pd.NA
