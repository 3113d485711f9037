"""Several objectives at once: which configurations no other one beats in all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gen import results
from gen.metrics.table import direction
from gen.report.facts import Facts
from gen.report.section import COLORS, Plot, Section, count, number, plain, render
from gen.report.thin import thin

CLOUD = 600  # configurations in the plot that are beaten
MOST = 50  # rows of the table


def section(facts: Facts) -> Section | None:
    """The configurations by two figures, those that the reader asked for, or by the search's own, where it has several;
    else None. ValueError as `results.pareto` for what the reader asked for."""
    objectives = facts.objectives or facts.first.objectives
    if not objectives:
        return None
    try:
        table = results.pareto(facts.first.storage, facts.first.name, objectives)
    except ValueError as unlike:
        if facts.objectives:
            raise
        return Section("Objectives", "pareto", render("pareto.html", why=str(unlike), plots=[], rows=[]))
    front, (first, *others) = table[table["front"]], objectives
    plots = [plot(table, first, other, len(others) > 1) for other in others] if len(front) else []
    shown = front.head(MOST)
    html = render(
        "pareto.html",
        why="",
        plots=plots,
        good=[(name, "small" if direction(name) == "min" else "large") for name in objectives],
        front=len(front),
        total=len(table),
        without=int(table[list(objectives)].isna().any(axis=1).sum()),
        headings=list(shown.columns[1:]),
        rows=[[number(value) for value in row[1:]] for row in shown.itertuples(index=False)],
    )
    return Section("Objectives", "pareto", html, plots)


def plot(table: pd.DataFrame, first: str, second: str, more: bool = False) -> Plot:
    """All configurations by two figures, and the front: as a line, unless there are `more` figures by which one may be
    beaten by none."""
    import plotly.graph_objects as go

    whole = table[np.isfinite(table[[first, second]].to_numpy(dtype=float, na_value=np.nan)).all(axis=1)]
    front, beaten = whole[whole["front"]].sort_values(first), whole[~whole["front"]]
    beaten = beaten.iloc[thin(len(beaten), CLOUD)]
    figure = go.Figure()
    figure.add_scatter(
        x=beaten[first], y=beaten[second], mode="markers", name="beaten", text=hover(beaten), hoverinfo="x+y+text",
        marker={"size": 6, "opacity": 0.6, "color": COLORS[0]},
    )  # fmt: skip
    figure.add_scatter(
        x=front[first], y=front[second], mode="markers" if more else "lines+markers", name="beaten by none",
        text=hover(front), hoverinfo="x+y+text", marker={"size": 10, "color": COLORS[1], "symbol": "diamond"},
        line={"shape": "hv", "color": COLORS[1]},
    )  # fmt: skip
    figure.update_layout(xaxis={"title": plain(first)}, yaxis={"title": plain(second)})
    by = "in all figures" if more else f"in both {first} and {second}"
    told = f"{len(front)} of {len(whole)} configurations are beaten by none {by}"
    caption = f"A point is a configuration, the mean over its runs. {told}."
    return Plot(f"pareto-{second.replace('/', '-')}" if more else "pareto-plot", caption, told, figure)


def hover(rows: pd.DataFrame) -> list[str]:
    """What is told of each point."""
    return [
        f"run {plain(run)}, mean of {count(int(runs), 'run')}"
        for run, runs in zip(rows["run"], rows["runs"], strict=True)
    ]
