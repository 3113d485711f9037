"""The lineage of a population: from whom each run took over its state, when, and with which settings it went on."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from gen.results import queries
from gen.results.storage import Storage

EXPLOIT = "exploit"  # kind of the rows of `events` that hold what a population decided, one a member and generation
STAY = "stay"  # that a member goes on from its own state
COLUMNS = {
    "run": "string[pyarrow]",
    "from_epoch": "double[pyarrow]",
    "to_epoch": "double[pyarrow]",
    "source_run": "string[pyarrow]",
    "source_epoch": "double[pyarrow]",
    "settings": "string[pyarrow]",
    "changed": "string[pyarrow]",
    "value": "double[pyarrow]",
}


def lineage(place: str | Storage, experiment: str) -> pd.DataFrame:
    """One row for each run of a population and span of its epochs in which its settings stayed, in this order.

    `source_run`, `source_epoch`: from whose state the span went on, null for the first one, which began by itself;
    `settings`: those that are searched, whole, as JSON; `changed`: those of them that are other than in the run's span
    before, as JSON; `value`: of the figure that steers, at the span's last epoch: null if the run is still in it. Spans
    that are not over yet end where the run's rows do. Empty for an experiment without a population; ValueError if there
    is no such experiment.
    """
    events = queries.events(place, experiment, kind=EXPLOIT).sort_values(["tick", "attempt"], kind="stable")
    events = events.drop_duplicates(["run", "tick"])
    outcomes = queries.outcomes(place, experiment, columns=["run", "epochs", "last"])
    ends = {row["run"]: (row["epochs"], row["last"]) for row in outcomes.to_dict("records")}
    rows = list[dict[str, Any]]()
    reached = last_epochs(place, experiment) if len(events) else {}
    for run, own in events.groupby("run", sort=True):
        begin, source, before = 0.0, None, dict[str, Any]()
        settings = json.loads(own["detail"].iloc[0])["before"]
        for event in own[own["decision"] == EXPLOIT].to_dict("records"):
            rows.append(span(run, begin, event["epoch"], source, before, settings, event["value"]))
            detail = json.loads(event["detail"])
            begin, source, before, settings = event["epoch"], detail["source"], settings, detail["settings"]
        end, value = ends.get(run, (-1.0, None))
        if end < begin or end < reached.get(str(run), begin):  # it goes on, under a larger budget
            end, value = max(reached.get(str(run), begin), begin), None
        rows.append(span(run, begin, end, source, before, settings, value))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def span(
    run: Any, begin: float, end: float, source: str | None, before: dict[str, Any], settings: dict[str, Any], value: Any
) -> dict[str, Any]:
    """A row. `before`: the settings of the span before; none if there is none."""
    changed = {key: now for key, now in settings.items() if source and before.get(key) != now}
    return {
        "run": run,
        "from_epoch": begin,
        "to_epoch": end,
        "source_run": source,
        "source_epoch": begin if source else None,
        "settings": json.dumps(settings),
        "changed": json.dumps(changed),
        "value": value,
    }


def last_epochs(place: str | Storage, experiment: str) -> dict[str, float]:
    """Run -> the last epoch of which it has rows."""
    rows = queries.read(place, experiment, "metrics", columns=["run", "epoch"])
    return {str(run): float(epoch) for run, epoch in rows.groupby("run")["epoch"].max().items()}
