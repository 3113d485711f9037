"""Two objectives at once: which configurations no other one beats in both."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gen import results
from gen.metrics.table import direction
from gen.report.facts import Facts
from gen.report.section import COLORS, Plot, Section, number, plain, render
from gen.report.thin import thin

CLOUD = 600  # configurations in the plot that are beaten
MOST = 50  # rows of the table


def section(facts: Facts) -> Section | None:
    """The configurations by two figures; None where the reader did not ask for two. ValueError as `results.pareto`."""
    if not facts.objectives:
        return None
    table = results.pareto(facts.first.storage, facts.first.name, facts.objectives)
    front = table[table["front"]]
    plots = [plot(table, *facts.objectives)] if len(front) else []
    shown = front.head(MOST)
    html = render(
        "pareto.html",
        plots=plots,
        objectives=facts.objectives,
        good=["small" if direction(name) == "min" else "large" for name in facts.objectives],
        front=len(front),
        total=len(table),
        without=int(table[list(facts.objectives)].isna().any(axis=1).sum()),
        headings=list(shown.columns[1:]),
        rows=[[number(value) for value in row[1:]] for row in shown.itertuples(index=False)],
    )
    return Section("Two objectives", "pareto", html, plots)


def plot(table: pd.DataFrame, first: str, second: str) -> Plot:
    """All configurations, and the front as a line."""
    import plotly.graph_objects as go

    whole = table[np.isfinite(table[[first, second]].to_numpy(dtype=float, na_value=np.nan)).all(axis=1)]
    front, beaten = whole[whole["front"]].sort_values(first), whole[~whole["front"]]
    beaten = beaten.iloc[thin(len(beaten), CLOUD)]
    figure = go.Figure()
    figure.add_scatter(
        x=beaten[first], y=beaten[second], mode="markers", name="beaten", text=beaten["run"].map(plain),
        marker={"size": 6, "opacity": 0.6, "color": COLORS[0]},
    )  # fmt: skip
    figure.add_scatter(
        x=front[first], y=front[second], mode="lines+markers", name="beaten by none", text=front["run"].map(plain),
        marker={"size": 10, "color": COLORS[1], "symbol": "diamond"}, line={"shape": "hv", "color": COLORS[1]},
    )  # fmt: skip
    figure.update_layout(xaxis={"title": plain(first)}, yaxis={"title": plain(second)})
    told = f"{len(front)} of {len(whole)} configurations are beaten by none in both {first} and {second}"
    return Plot("pareto", f"A point is a configuration, the mean over its runs. {told}.", told, figure)
