"""The ranking of an experiment's configurations: the search's means over seeds, and those of its confirmation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gen.results.comparison import LUCK, configuration_of, interval
from gen.results.confirmation import fresh_runs, shorter_runs
from gen.results.forget import forgotten
from gen.results.queries import evals, outcomes, runs, settings
from gen.results.questions import FigureName, figure_name
from gen.results.ranking import BEGUN, latest, leaderboard_of_runs, of_best_weights, one_protocol, varying
from gen.results.schema import WORST
from gen.results.storage import Storage

SEARCHED = ("entry", "mean", "low", "high", "n", "runs", "apart", "collapsed", "best", "run")
CONFIRMED = ("confirmed", "confirmed_low", "confirmed_high", "confirmed_n", "confirmed_runs", "confirmed_apart")
TRUTH = pd.ArrowDtype(pa.bool_())


def leaderboard_of_configurations(
    storage: Storage, experiment: str, confidence: float, split: str, **choice: Any
) -> pd.DataFrame:
    """As `leaderboard` with by="config", which says what it gives. `choice`: its other arguments."""
    board = leaderboard_of_runs(storage, experiment, split=split, **choice)
    attributes, board.attrs = board.attrs, {}  # pandas would copy them deeply for each configuration
    fresh = fresh_runs(storage, experiment)
    told = settings(storage, experiment)
    told = told[told["run"].isin({*board["run"], *fresh})]
    number = configuration_of(told)
    small = attributes["protocol"]["mode"] == "min"
    rows = []
    for which, group in board.groupby(board["run"].map(number)):  # the best run first, as in the board
        values = group["value"][group["rank"].notna()].astype(float)
        low, high = interval(values, confidence)
        row = {"entry": group["entry"].iloc[0], "mean": values.mean(), "low": low, "high": high, "n": len(values)}
        row |= {"runs": len(group), "collapsed": group["collapsed"].notna().sum()}
        row |= {"best": values.min() if small else values.max(), "run": group["run"].iloc[0]}
        cheap = group["steering"].to_numpy(dtype=float, na_value=np.nan).mean()  # NaN, where a run has none, is last
        rows.append(row | {"apart": None, "configuration": which, "steering": cheap})
    table = pd.DataFrame(rows, columns=[*SEARCHED, "configuration", "steering"])
    steering = table.pop("steering").to_numpy(dtype=float)  # orders those whose runs lack the figure
    whole, mean = (table["n"] == table["runs"]).to_numpy(dtype=bool), table["mean"].to_numpy(dtype=float)
    fewer = np.where(whole, 0, -table["n"].to_numpy(dtype=int))  # which have a rank are ranked by the mean alone
    order = np.lexsort([steering if small else -steering, mean if small else -mean, fewer, ~whole])
    table, whole = table.iloc[order].reset_index(drop=True), whole[order]
    places = [number if good else None for number, good in enumerate(whole, start=1)]
    table.insert(0, "rank", pd.Series(places, dtype="int64[pyarrow]"))
    table["apart"] = told_apart(table, "low", "high", 0 if len(table) and whole[0] else None)
    figure = figure_of(attributes["protocol"], choice)
    shorter = shorter_runs(storage, experiment)
    rivals = {run: own for run, own in fresh.items() if run not in shorter}
    confirmed, protocol = confirmed_figures(storage, experiment, rivals, figure, attributes["protocol"].get("features"))
    confirmed["configuration"] = confirmed["run"].map(number)
    table = table.merge(confirmed_means(confirmed, confidence), on="configuration", how="left")
    table["confirmed_n"], table["confirmed_runs"] = (
        table[name].fillna(0).astype("int64") for name in ("confirmed_n", "confirmed_runs")
    )
    means = table["confirmed"].to_numpy(dtype=float, na_value=np.nan)
    first = int((np.nanargmin if small else np.nanargmax)(means)) if np.isfinite(means).any() else None
    table["confirmed_apart"] = told_apart(table, "confirmed_low", "confirmed_high", first)
    table = table.drop(columns="configuration").merge(
        varying(told.drop(columns=[key for key in LUCK if key in told]), table), on="run", how="left"
    )
    table.attrs = {**attributes, "confidence": confidence, "confirmed_protocol": protocol, "shorter": len(shorter)}
    return table


def figure_of(protocol: Mapping[str, Any], choice: Mapping[str, Any]) -> FigureName | None:
    """The figure that is ranked: the one that was measured, else the one that was asked for; None: what steered."""
    if protocol.get("metric"):
        return FigureName(protocol["metric"], protocol["subject"], protocol["column"])
    asked = (choice.get(part) for part in ("metric", "subject", "column"))
    name = figure_name(*asked)
    return name if name.metric else None


def confirmed_figures(
    storage: Storage, experiment: str, fresh: Mapping[str, str], figure: FigureName | None, features: object
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The runs `fresh` of a confirmation that ended, with their full figure on test images (`value`; NaN: none, or
    weights below the floor), and the protocol of these. ValueError if they have several."""
    ends = outcomes(storage, experiment, columns=("experiment", "run", "metric", "best", "best_epoch"))
    ends = ends[ends["run"].isin(fresh) & ~ends["run"].isin(forgotten(storage, experiment))]
    if ends.empty:
        return pd.DataFrame({"run": [], "value": []}, dtype=object), {}
    ends = ends.merge(runs(storage, experiment, BEGUN), on=["experiment", "run"], how="left")
    figures = of_best_weights(evals(storage, experiment, scope="best", split="test"), ends)
    figures = (figure or figure_name(ends["metric"].iloc[0])).choose(figures)
    figures = figures if features is None else figures[figures["features"] == features]
    figures, common = one_protocol(latest(figures))
    frame = ends[["run", "best"]].merge(figures[["run", "value"]], on="run", how="left")
    value, best = (frame[name].to_numpy(dtype=float, na_value=np.nan) for name in ("value", "best"))
    return frame.assign(value=np.where(np.isfinite(value) & ~(np.abs(best) >= WORST), value, np.nan)), common


def confirmed_means(frame: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """One row a configuration, from its runs in a confirmation."""
    rows = []
    for which, group in frame.groupby("configuration"):
        values = group["value"].astype(float)
        low, high = interval(values, confidence)
        row = {"configuration": which, "confirmed": values.mean(), "confirmed_low": low, "confirmed_high": high}
        rows.append(row | {"confirmed_n": values.count(), "confirmed_runs": len(group)})
    return pd.DataFrame(rows, columns=["configuration", *CONFIRMED[:-1]])


def told_apart(table: pd.DataFrame, low: str, high: str, first: int | None) -> pd.Series[bool]:
    """Whether the interval of each row lies outside that of the row `first`; null for this one, where there is none,
    and where a row has no interval."""
    lows, highs = (table[name].to_numpy(dtype=float, na_value=np.nan) for name in (low, high))
    found = [
        None
        if first is None or place == first or not np.isfinite([lows[place], lows[first]]).all()
        else bool(lows[place] > highs[first] or highs[place] < lows[first])
        for place in range(len(table))
    ]
    return pd.Series(found, index=table.index, dtype=TRUTH)
