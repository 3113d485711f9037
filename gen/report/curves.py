"""Learning curves of any number that was logged or measured at ticks, of some of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gen.report.facts import Experiment, Facts
from gen.report.section import DASH, SOFT, Plot, Section, number, render
from gen.report.thin import thin
from gen.report.words import left_out
from gen.results.queries import last, read_arrow

RUNS = 40  # whose curves are in the page
BEST = 10  # of them the best
POINTS = 120_000  # in the page, of all curves together
RUNGS = 20  # lines that stand for them, at most
LEAST = 12  # points of a curve, however many there are


@dataclass(frozen=True)
class Curves:
    """What the page embeds: for each name its curves, by the places of their runs in `runs`."""

    runs: pd.DataFrame  # run, status, epochs, why, place in the ranking by what steered
    names: Mapping[str, Sequence[tuple[int, list[float], list[float]]]]  # name -> run's place, epochs, values
    rungs: Sequence[float]  # epochs at which runs were compared
    most: int  # points of the longest curve before thinning
    kept: int  # ... and after


def section(facts: Facts) -> Section | None:
    """A plot whose metric, smoothing and scale the reader chooses; None before the first tick."""
    experiment = facts.first
    found = curves(experiment)
    if not found.names:
        return None
    steering = f"best {experiment.metric}" if experiment.metric else ""
    first = experiment.metric if experiment.metric in found.names else next(iter(found.names))
    plot = Plot(
        "curves",
        "Each line is a run; a cross is where the scheduler stopped it, a square where it failed. Dotted lines are "
        "rungs, at which runs are compared.",
        f"{first} by epoch of {len(found.runs)} runs",
        empty(found.rungs),
        520,
    )
    html = render(
        "curves.html",
        plot=plot,
        names=list(found.names),
        first=first,
        shown=len(found.runs),
        total=len(experiment.searched),
        left_out=left_out(experiment),
        best=min(BEST, len(found.runs)),
        most=found.most,
        kept=found.kept,
        headings=["rank", "run", "ended as", "epochs", *([steering] if steering else []), "why"],
        rows=in_rows(found, bool(steering)),
    )
    return Section("Learning curves", "curves", html, [plot], {"curves": embedded(found)})


def curves(experiment: Experiment, runs: int = RUNS, points: int = POINTS) -> Curves:
    """The curves of some runs: the best ones, and others evenly by their rank. Thinned to `points` in all."""
    chosen = choose(experiment, runs)
    frame = ticks(experiment, list(chosen["run"]))
    groups = dict(iter(frame.groupby("name", sort=True)))
    count = max(sum(part["run"].nunique() for part in groups.values()), 1)
    each = max(points // count, LEAST)
    place = {run: number for number, run in enumerate(chosen["run"])}
    names, most = dict[str, list[tuple[int, list[float], list[float]]]](), 0
    for name in sorted(groups, key=lambda one: (one != experiment.metric, one)):
        lines = []
        for run, part in groups[name].groupby("run", sort=False):
            most = max(most, len(part))
            few = part.iloc[thin(len(part), each)]
            lines.append((place[str(run)], digits(few["epoch"]), digits(few["value"])))
        names[str(name)] = sorted(lines)
    events = experiment.events[experiment.events["kind"] == "rung"]
    compared = {json.loads(detail).get("rung") for detail in events["detail"]}  # None: between rungs
    return Curves(chosen, names, sorted(map(float, compared - {None}))[:RUNGS], most, min(most, each))


def choose(experiment: Experiment, most: int) -> pd.DataFrame:
    """At most so many runs of the search: the best `BEST` by what steered, then evenly by rank, so that stopped and
    failed ones are among them. Columns: run, status, epochs, best, why, rank (0: none)."""
    sign = 1.0 if experiment.mode == "min" else -1.0
    runs = experiment.searched
    merit = (sign * runs["best"]).to_numpy(dtype=float)
    order = runs.iloc[np.argsort(merit, kind="stable")].reset_index(drop=True)
    order["rank"] = np.where(order["best"].notna(), np.arange(1, len(order) + 1), 0)
    best = min(BEST, most, len(order))
    places = [*range(best), *(best + thin(len(order) - best, most - best))]
    found: pd.DataFrame = order.iloc[places][["run", "status", "epochs", "best", "why", "rank"]].reset_index(drop=True)
    return found


def ticks(experiment: Experiment, runs: Sequence[str]) -> pd.DataFrame:
    """The finite numbers of these runs: `run`, `name` (of a figure NAME/SUBJECT), `tick`, `epoch` and `value`."""
    place, name, wanted = experiment.storage, experiment.name, set(runs)
    keys = ["run", "attempt", "tick", "epoch", "value"]
    logged = frame_of(read_arrow(place, name, "metrics", {"run": wanted}, [*keys, "name"]))
    about = ["metric", "subject", "column", "split"]
    judged = frame_of(
        read_arrow(place, name, "evals", {"scope": "tick", "run": wanted, "split": "validation"}, [*keys, *about])
    )
    column = ("/" + judged["column"]).where(judged["column"] != "image", "")
    judged = judged.assign(name=judged["metric"] + "/" + judged["subject"] + column)
    frame = pd.concat([part[[*keys, "name"]] for part in (logged, judged)], ignore_index=True)
    frame = frame[np.isfinite(frame["value"].to_numpy(dtype=float, na_value=np.nan))]
    return last(frame, ["run", "name", "tick"], ["attempt"])


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A table as a frame of pyarrow's types."""
    found: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return found


def in_rows(found: Curves, steered: bool) -> list[list[str]]:
    """The runs of the curves as rows of a table: what a mouse tells of each curve."""
    return [
        [
            number(row["rank"]) if row["rank"] else DASH,
            row["run"],
            row["status"],
            number(row["epochs"]),
            *([number(row["best"])] if steered else []),
            DASH if pd.isna(row["why"]) else str(row["why"]),
        ]
        for row in found.runs.to_dict("records")
    ]


def digits(values: pd.Series[float]) -> list[float]:
    """Numbers with as many digits as a plot shows."""
    return [float(f"{value:.4g}") for value in values]


def embedded(found: Curves) -> dict[str, Any]:
    """The curves as the page's script reads them."""
    runs = found.runs.drop(columns="best").assign(
        why=found.runs["why"].fillna(""), epochs=found.runs["epochs"].fillna(0.0)
    )
    return {"runs": runs.to_dict("list"), "names": found.names}


def empty(rungs: Sequence[float]) -> Any:
    """The plot without curves, which the script adds: the rungs alone."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for epoch in rungs:
        figure.add_vline(x=epoch, line={"dash": "dot", "width": 1, "color": SOFT})
    figure.update_layout(xaxis={"title": "epoch"}, showlegend=True)
    return figure
