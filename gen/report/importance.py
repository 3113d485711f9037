"""Which settings matter: Optuna's analysis of the configurations on record."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gen.report.facts import Facts
from gen.report.section import INK, Plot, Section, number, plain, render
from gen.report.trials import MEMBERS, Trials, is_numeric, is_wide, trials
from gen.report.words import left_out

FEWEST = 8  # configurations below which nothing is told of importance
RESAMPLES = 30  # of the configurations, with replacement: how far an importance moves among them is its uncertainty
RESAMPLED = 300  # configurations at most that a resample is of
SLICES, CLOUD, LINES, CELLS = 8, 400, 400, 60  # settings with a plot of their own; points, lines and rows in plots
YARDSTICK = "a random number"  # a setting that decides nothing, to compare with
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of an axis of percentiles


def section(facts: Facts) -> Section | None:
    """Importance, slices, parallel coordinates and a contour; None where nothing varies, or nothing has a value."""
    experiment = facts.first
    found = trials(experiment)
    if not found.settings or len(found.table) < 2:
        return None
    figure = plain(experiment.metric)
    few = len(found.table) < FEWEST
    ranked = pd.DataFrame() if few else importance(found)
    order = list(found.settings) if few else [name for name in ranked["setting"] if name != YARDSTICK]
    plots = [] if few else [of_importance(ranked)]
    slices = list(of_slices(found.thinned(CLOUD), order[:SLICES], figure))
    plots.append(of_coordinates(found.thinned(LINES), order[:SLICES], figure))
    numeric = [name for name in order if is_numeric(found.table[name]) and found.table[name].nunique() > 2]
    if len(numeric) >= 2 and len(found.table) >= FEWEST:
        plots.append(of_contour(found.thinned(CELLS), numeric[:2], figure))
    html = render(
        "importance.html",
        plots=plots,
        slices=slices,
        found=found,
        metric=experiment.metric,
        few=FEWEST if few else 0,
        resamples=RESAMPLES,
        clear=clear(ranked),
        cloud=min(CLOUD, len(found.table)),
        without_plot=found.settings[SLICES:] and order[SLICES:],
        left_out=left_out(experiment),
    )
    return Section("Which settings matter", "importance", html, [*plots, *slices])


def importance(found: Trials, resamples: int = RESAMPLES, seed: int = 0) -> pd.DataFrame:
    """How much each setting decides whether a configuration is among the best (PED-ANOVA, Watanabe et al. 2023): the
    `share`, and between `low` and `high` 95 % of what resamples of the configurations give. One row a setting, the
    largest first, and one for a random number, which decides nothing."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    random = np.random.default_rng(seed)
    table = found.thinned(RESAMPLED).table
    quantile = min(max(0.1, 10 / len(table)), 0.5)
    shares = []
    for _ in range(resamples):
        rows = table.iloc[random.integers(0, len(table), len(table))].reset_index(drop=True)
        varied = [name for name in found.settings if rows[name].nunique() > 1]
        rows[YARDSTICK] = random.random(len(rows))
        study = Trials(rows, varied, (), 0, found.mode).study(more=[YARDSTICK])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=quantile)
        with warnings.catch_warnings():  # where the best are as many as all, a resample tells nothing, and counts so
            warnings.simplefilter("ignore", UserWarning)
            told = get_param_importances(study, evaluator=evaluator)
        shares.append({name: float(told.get(name, 0.0)) for name in (*found.settings, YARDSTICK)})
    frame = pd.DataFrame(shares)
    summary = pd.DataFrame(
        {
            "setting": frame.columns,
            "share": frame.mean().to_numpy(),
            "low": frame.quantile(0.025).to_numpy(),
            "high": frame.quantile(0.975).to_numpy(),
        }
    )
    ordered: pd.DataFrame = summary.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)
    return ordered


def clear(ranked: pd.DataFrame) -> list[str]:
    """The settings whose interval lies above that of the random number."""
    if ranked.empty:
        return []
    chance = float(ranked["high"][ranked["setting"] == YARDSTICK].iloc[0])
    return [str(name) for name in ranked["setting"][ranked["low"] > chance]]


def of_importance(ranked: pd.DataFrame) -> Plot:
    """Bars with their intervals."""
    import plotly.graph_objects as go

    rows = ranked.iloc[::-1]
    below, above = np.maximum(rows["share"] - rows["low"], 0), np.maximum(rows["high"] - rows["share"], 0)
    error = {"type": "data", "array": above, "arrayminus": below, "color": INK, "thickness": 1.5}
    colors = ["#999999" if name == YARDSTICK else "#0072b2" for name in rows["setting"]]
    figure = go.Figure()
    figure.add_bar(x=rows["share"], y=rows["setting"], orientation="h", error_x=error, marker={"color": colors})
    figure.update_layout(xaxis={"title": "share of the importance", "rangemode": "tozero"})
    caption = (
        f"Mean and 95 % of {RESAMPLES} resamples of the configurations. A setting whose interval meets the grey one "
        "cannot be told apart from chance."
    )
    told = "; ".join(f"{row.setting} {row.share:.2f} ({row.low:.2f} to {row.high:.2f})" for row in ranked.itertuples())
    return Plot("importance", caption, told, figure, 90 + 34 * len(ranked))


def of_slices(found: Trials, names: list[str], figure: str) -> Iterator[Plot]:
    """For each setting its values against the figure, a point a configuration."""
    from optuna.visualization import plot_slice

    study, wide = found.study(), is_wide(found.table["value"])
    for place, name in enumerate(names):
        plot = plot_slice(study, params=[name], target_name=figure)
        numbers = [int(number) for number in plot.data[0].marker.color]  # of Optuna's trials, which are rows
        plot.update_traces(
            marker={"color": "#0072b2", "opacity": 0.75, "size": 7, "line": {"width": 0}, "showscale": False}
        )
        say_members(plot.data[0], found, numbers)
        words = sorted({plain(value) for value in found.table[name]}) if not is_numeric(found.table[name]) else []
        if words:  # which Optuna puts in quotes
            plot.update_xaxes(tickvals=[repr(word) for word in words], ticktext=words)
        plot.update_layout(title=None, width=None, yaxis={"type": "log" if wide else "linear"}, template=None)
        best = number(found.table[name].iloc[0])
        yield Plot(
            f"slice-{place}", f"{name}", f"{figure} against {name}; the best configuration has {best}", plot, 280
        )


def say_members(points: Any, found: Trials, numbers: Sequence[int]) -> None:
    """Has each point say of how many runs it is the mean. `numbers`: the rows of the points."""
    members = found.table[MEMBERS].to_numpy()[list(numbers)]
    points.customdata = [[int(count), "run" if count == 1 else "runs"] for count in members]
    points.hovertemplate = "%{x}, %{y}<br>mean of %{customdata[0]} %{customdata[1]}<extra></extra>"


def of_coordinates(found: Trials, names: list[str], figure: str) -> Plot:
    """A line a configuration through its settings, each on an axis of percentiles, so that no outlier squeezes it."""
    import plotly.graph_objects as go

    axes = [axis(found.table[name], name) for name in names]
    if found.table[MEMBERS].nunique() > 1:
        axes.append(axis(found.table[MEMBERS], MEMBERS))
    value = axis(found.table["value"], figure)
    scale = "Viridis" if found.mode == "max" else "Viridis_r"
    line = {"color": value["values"], "colorscale": scale, "showscale": False}
    plot = go.Figure(go.Parcoords(dimensions=[*axes, value], line=line, labelangle=-20, labelside="bottom"))
    plot.update_layout(margin={"l": 60, "r": 60, "t": 20, "b": 90})
    caption = (
        "Each line is a configuration; the last axis is the figure, yellow is good. Axes are of percentiles, with the "
        f"values written beside them. Values are {found.means}. Drag along an axis to choose."
    )
    best = ", ".join(f"{name} {number(found.table[name].iloc[0])}" for name in names)
    return Plot("coordinates", caption, f"The best configuration: {best}", plot, 460, 90 * (len(names) + 1))


def axis(values: pd.Series[Any], name: str) -> dict[str, Any]:
    """A dimension of parallel coordinates: of numbers their percentiles, of words their places in the alphabet."""
    if not is_numeric(values):
        words = sorted({plain(value) for value in values})
        places = [words.index(plain(value)) for value in values]
        return {"label": name, "values": places, "tickvals": list(range(len(words))), "ticktext": words}
    numbers = values.astype(float)
    ranks = numbers.rank(method="average", pct=True).to_numpy()
    ticks = np.unique([float(numbers.quantile(share, interpolation="nearest")) for share in TICKS])
    at = [float(ranks[numbers.to_numpy() == tick][0]) for tick in ticks]
    return {"label": name, "values": ranks, "tickvals": at, "ticktext": [number(tick, 3) for tick in ticks]}


def of_contour(found: Trials, names: list[str], figure: str) -> Plot:
    """The figure over two settings, between the configurations that were tried."""
    from optuna.visualization import plot_contour

    plot = plot_contour(found.study(), params=names, target_name=figure)
    plot.update_layout(title=None, template=None)
    scale = "Viridis" if found.mode == "max" else "Viridis_r"
    plot.update_traces(colorscale=scale, reversescale=False, selector={"type": "contour"})
    plot.update_traces(marker={"color": INK, "size": 5}, selector={"type": "scatter"})
    for points in plot.select_traces(selector={"type": "scatter"}):
        say_members(points, found, range(len(points.x)))
    caption = (
        f"{figure} over the two numbers that matter most, {names[0]} and {names[1]}, drawn between {len(found.table)} "
        "configurations (points); yellow is good."
    )
    return Plot("contour", caption, f"Contours of {figure} over {names[0]} and {names[1]}", plot, 480)
