"""Several experiments beside each other: the best of k runs at equal cost, and the best configurations over seeds."""

from __future__ import annotations

import pandas as pd

from gen import results
from gen.report.facts import Facts
from gen.report.section import COLORS, Plot, Section, number, plain, render
from gen.report.thin import thin
from gen.report.trials import is_wide
from gen.results.comparison import sound_lines
from gen.results.equal import budget_lines
from gen.results.floor import floor_lines

MOST = 200  # points of a curve


def section(facts: Facts) -> Section | None:
    """What is to be expected of a search of k runs, one curve an experiment or entry; None where nothing has
    ended."""
    curves, why = best_of_k(facts)
    if curves.empty and not why:
        return None
    plots = [plot(curves, facts)] if len(curves) else []
    table, unlike = compared(facts)
    html = render(
        "several.html",
        facts=facts,
        plots=plots,
        why=why,
        told=curves.attrs.get("protocol", {}),
        split=", ".join(sorted(curves["split"].unique())) if len(curves) else "",
        headings=list(table.columns),
        rows=[[number(value) for value in row] for row in table.itertuples(index=False)],
        unlike=unlike,
        lines=[*floor_lines(table), *sound_lines(table), *budget_lines(table)] if len(table) else [],
        confidence=95,
    )
    return Section("Comparison" if len(facts.experiments) > 1 else "Best of k", "comparison", html, plots)


def best_of_k(facts: Facts) -> tuple[pd.DataFrame, str]:
    """`results.best_of_k` of the experiments, and why there is none: a curve an experiment, or, where one of them has
    several entries, a curve of each of its entries. `name`: of the curve."""
    names = [one.name for one in facts.experiments if one.runs["ended"].notna().any()]
    if not names or (len(facts.experiments) == 1 and len(facts.first.runs) < 3):
        return pd.DataFrame(), ""
    entries = max(one.runs["entry"].nunique() for one in facts.experiments) > 1
    by = ["experiment", "entry"] if entries else ["experiment"]
    try:
        found = results.best_of_k(facts.first.storage, names, by=by)
        if found["split"].nunique() > 1:  # figures of different images are not to be compared
            found = results.best_of_k(facts.first.storage, names, split="validation", by=by)
        if len(several := found.attrs["protocols"]) > 1:  # one axis would rank their values together
            return pd.DataFrame(), f"they are of {len(several)} data sets: {', '.join(sorted(several))}"
        about = found.attrs
        shown = by[1:] if entries and len(names) == 1 else by
        found = found.assign(name=found[shown].astype(str).agg(", ".join, axis=1))
        found.attrs = about
        return (found if found["mean"].notna().any() else pd.DataFrame()), ""
    except ValueError as unlike:
        return pd.DataFrame(), str(unlike)


def compared(facts: Facts) -> tuple[pd.DataFrame, str]:
    """`results.compare` of the experiments, by entry, and why there is none."""
    if len(facts.experiments) < 2:
        return pd.DataFrame(), ""
    names = [one.name for one in facts.experiments if one.runs["ended"].notna().any()]
    for split in ("test", "validation"):
        try:
            return results.compare(facts.first.storage, names, "entry", split=split).assign(split=split), ""
        except ValueError as unlike:
            why = str(unlike)
    return pd.DataFrame(), why


def plot(curves: pd.DataFrame, facts: Facts) -> Plot:
    """The expected best against device-seconds, with the band in which it lies."""
    import plotly.graph_objects as go

    figure, told = go.Figure(), []
    for place, name in enumerate(curves["name"].unique()):
        part = curves[curves["name"] == name].dropna(subset="mean")
        part = part.iloc[thin(len(part), MOST)]
        if part.empty:
            continue
        color = COLORS[place % len(COLORS)]
        x, low, high = part["device_seconds"], part["low"], part["high"]
        around = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "line": {"width": 0}}
        figure.add_scatter(
            **around,
            fillcolor=color,
            opacity=0.18,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=str(place),
            mode="lines",
        )
        figure.add_scatter(
            x=x, y=part["mean"], mode="lines+markers", name=plain(name), legendgroup=str(place),
            line={"color": color, "width": 2.5}, customdata=part["k"],
            hovertemplate="%{y:.4g} expected of %{customdata} runs<extra></extra>",
        )  # fmt: skip
        told.append(f"{name}: {part['mean'].iloc[0]:.4g} of 1 run, {part['mean'].iloc[-1]:.4g} of {part['k'].iloc[-1]}")
    wide = {"type": "log"} if is_wide(curves["mean"].dropna()) else {}
    figure.update_layout(
        xaxis={"title": "device-seconds", "type": "log"}, yaxis={"title": plain(facts.first.metric), **wide}
    )
    caption = (
        "The best value that is to be expected when only so much had been paid; the band holds 95 % of such searches."
    )
    return Plot("best-of-k", caption, "; ".join(told), figure)
