"""The lineage of a population: who took over whose state, when, and how the winner's settings came about."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from gen.report.facts import Facts
from gen.report.section import Plot, Section, count, number, plain, render
from gen.results.lineage import EXPLOIT, lineage

MOST = 60  # members that are drawn, the best of them


def section(facts: Facts) -> Section | None:
    """The lineage of the first experiment's population; None where there is none."""
    experiment = facts.first
    if not (experiment.events["kind"] == EXPLOIT).any():
        return None
    spans = lineage(experiment.storage, experiment.name)
    order = sorted(
        members(spans, experiment.mode), key=lambda run: run in experiment.forgotten
    )  # what is ranked no more comes last
    path = ancestry(spans, order[0])
    plots = [plot(spans, order[:MOST], path, experiment.metric)]
    html = render(
        "population.html",
        plots=plots,
        members=len(order),
        taken=int(spans["source_run"].notna().sum()),
        left=max(len(order) - MOST, 0),
        path=[{**one, "changes": changes(one)} for one in path],
        best=order[0],
    )
    return Section("Lineage", "lineage", html, plots)


def members(spans: pd.DataFrame, mode: str) -> list[str]:
    """The runs of a population, the best last value first; those without a value last."""
    last = spans.sort_values("to_epoch", kind="stable").groupby("run")["value"].last()
    known = last.astype(float).sort_values(ascending=mode == "min", na_position="last", kind="stable")
    return [str(run) for run in known.index]


def ancestry(spans: pd.DataFrame, run: str) -> list[dict[str, Any]]:
    """The spans that led to the last state of a run, the first one first: of each the run, from which epoch to which
    its state was passed on, settings, those that changed where it began, and the value there (None where the run went
    on beyond it: its lineage tells the value of a span's end)."""
    rows = spans.sort_values("from_epoch", kind="stable").to_dict("records")
    own = [row for row in rows if row["run"] == run]
    found = [own[-1]] if own else []
    while found and not pd.isna(found[0]["source_run"]):
        source, at = found[0]["source_run"], found[0]["source_epoch"]
        before = [row for row in rows if row["run"] == source and row["from_epoch"] < at]
        if not before:
            break
        whole = before[-1]["to_epoch"] == at
        found.insert(0, {**before[-1], "to_epoch": at, "value": before[-1]["value"] if whole else None})
    return [{str(key): value for key, value in row.items()} for row in found]


def changes(span: dict[str, Any]) -> str:
    """The settings of a first span, or those that are new in a later one, in words."""
    told = json.loads(span["settings"] if pd.isna(span["source_run"]) else span["changed"])
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {number(value)}" for key, value in told.items()) or "none"


def plot(spans: pd.DataFrame, order: list[str], path: list[dict[str, Any]], metric: str) -> Plot:
    """A row for each member, the best on top; a line where one took over from another; the winner's way is marked."""
    import plotly.graph_objects as go

    place = {run: number for number, run in enumerate(order)}
    shown = spans[spans["run"].isin(order)]
    figure = go.Figure()
    broken = [(row["run"], row["from_epoch"], row["to_epoch"]) for row in shown.to_dict("records")]
    figure.add_scatter(
        mode="lines", name="trains", line={"width": 6, "color": "#56b4e9"}, hoverinfo="skip",
        x=flat([(start, end) for _, start, end in broken]), y=flat([(place[run], place[run]) for run, _, _ in broken]),
    )  # fmt: skip
    taken = shown[shown["source_run"].isin(order)].to_dict("records")
    figure.add_scatter(
        mode="lines", name="takes over", line={"width": 1, "color": "gray"}, hoverinfo="skip",
        x=flat([(row["source_epoch"], row["from_epoch"]) for row in taken]),
        y=flat([(place[row["source_run"]], place[row["run"]]) for row in taken]),
    )  # fmt: skip
    way = [row for row in path if row["run"] in place]
    figure.add_scatter(
        mode="lines", name="the best one's way", line={"width": 3, "color": "#d55e00"}, hoverinfo="skip",
        x=[epoch for row in way for epoch in (row["from_epoch"], row["to_epoch"])],
        y=[place[row["run"]] for row in way for _ in range(2)],
    )  # fmt: skip
    ends = shown.to_dict("records")
    figure.add_scatter(
        mode="markers", name="value at the end of a span", hovertemplate="%{customdata}<extra></extra>",
        x=[row["to_epoch"] for row in ends], y=[place[row["run"]] for row in ends], customdata=list(map(hover, ends)),
        marker={
            "color": [None if pd.isna(row["value"]) else float(row["value"]) for row in ends], "colorscale": "Cividis",
            "size": 11, "line": {"color": "white", "width": 1}, "showscale": True,
            "colorbar": {"title": {"text": plain(metric), "side": "right"}},
        },
    )  # fmt: skip
    names = [f"{plain(run[:8])}" for run in order]
    figure.update_layout(
        xaxis={"title": "epochs"},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed", "showgrid": False},
    )
    words = f"{count(len(taken), 'time')} one of {count(len(order), 'member')} took over from another"
    caption = "A row is a member, the best on top. A thin line leads from whose state a member took over."
    return Plot("lineage-plot", caption, f"{words}; {way_in_words(path)}", figure, height=160 + 22 * len(order))


def flat(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Pairs one after another, with a gap after each."""
    return [value for first, second in pairs for value in (first, second, None)]


def hover(span: dict[Any, Any]) -> str:
    """What is told of a span."""
    value = "no value yet" if pd.isna(span["value"]) else f"value {number(float(span['value']))}"
    start = f"epochs {number(span['from_epoch'])} to {number(span['to_epoch'])}"
    source = "" if pd.isna(span["source_run"]) else f"<br>from run {plain(span['source_run'])}"
    settings = "<br>".join(f"{plain(key)} = {plain(value)}" for key, value in json.loads(span["settings"]).items())
    return f"run {plain(span['run'])}<br>{start}, {value}{source}<br>{settings}"


def way_in_words(path: list[dict[str, Any]]) -> str:
    """The way of the best member's state."""
    steps = [f"{row['run']} up to epoch {number(row['to_epoch'])}" for row in path if not math.isnan(row["to_epoch"])]
    return f"the best one's state is of {', then '.join(steps)}"
