"""Configurations by several figures at once: those that no other one beats in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from gen.metrics.table import direction
from gen.results.comparison import LUCK, configuration_of
from gen.results.confirmation import fresh_runs
from gen.results.forget import forgotten
from gen.results.queries import Place, evals, last, outcomes, read, runs, settings
from gen.results.questions import check_split, figure_name
from gen.results.ranking import BEGUN, latest, measured_as, of_best_weights, one_protocol, only, varying
from gen.results.schema import WORST
from gen.results.storage import Storage


def pareto(place: Place, experiment: str, metrics: Sequence[str], split: str = "validation") -> pd.DataFrame:
    """The Pareto set of a search by two figures or more: one row for each configuration, whose `runs` differ by their
    seeds alone.

    Columns: front (whether no other configuration is at least as good by every figure and better by one), run (the
    first of its runs), entry, runs, a column a figure under the name that was asked for (its mean over the runs, all of
    the same weights: each run's best by what steered it), then the settings that vary. NaN, and never of the front:
    where a run lacks the figure, failed, or has weights below the floor. The front comes first, such rows last,
    and all go by the first figure. On validation images the cheap figures of the tick count, which all runs have, and
    where no tick measures a figure the full one; on other images the full ones. Runs of a confirmation are left out.

    ValueError for fewer than two figures, for one that is not known or that no run has (names what was measured), and
    where figures of several protocols would be compared."""
    metrics = [metrics] if isinstance(metrics, str) else metrics
    if len(set(metrics)) < 2 or len(set(metrics)) < len(metrics):
        raise ValueError(f"metrics={list(metrics)}: a Pareto set is of different figures; allowed: two or more")
    check_split(split)
    storage = place if isinstance(place, Storage) else Storage(place)
    gone = {*forgotten(storage, experiment), *fresh_runs(storage, experiment)}
    ends = outcomes(storage, experiment, columns=("experiment", "run", "status", "best", "best_epoch"))
    ends = ends[~ends["run"].isin(gone)].merge(runs(storage, experiment, BEGUN), on=["experiment", "run"])
    told = settings(storage, experiment)
    told = told[told["run"].isin(ends["run"])]
    frame = ends.assign(configuration=ends["run"].map(configuration_of(told))).sort_values("run", kind="stable")
    below = np.abs(frame["best"].to_numpy(dtype=float, na_value=np.nan)) >= WORST
    below |= (frame["status"] == "failed").to_numpy(dtype=bool, na_value=False)
    signs, protocols = [], {}
    for metric in metrics:
        signs.append(1 if direction(metric) == "min" else -1)
        values, protocols[metric] = figures(storage, experiment, metric, split, ends)
        frame[metric] = np.where(below, np.nan, frame["run"].map(values).to_numpy(dtype=float, na_value=np.nan))
    rows = frame.groupby("configuration", sort=False).agg(run=("run", "first"), entry=("entry", "first"))
    rows["runs"] = frame.groupby("configuration", sort=False).size()
    for metric in metrics:
        rows[metric] = frame.groupby("configuration", sort=False)[metric].agg(lambda of: of.mean(skipna=False))
    costs = rows[list(metrics)].to_numpy(dtype=float) * signs
    rows.insert(0, "front", pd.Series(undominated(costs), index=rows.index, dtype=pd.ArrowDtype(pa.bool_())))
    order = np.lexsort([*costs.T[::-1], ~np.isfinite(costs).all(axis=1), ~rows["front"].to_numpy(dtype=bool)])
    table = rows.iloc[order].reset_index(drop=True)
    told = told.drop(columns=[key for key in LUCK if key in told])
    table = table.merge(varying(told, table), on="run", how="left")
    table.attrs = {"protocols": protocols, "split": split}
    return table


def figures(
    storage: Storage, experiment: str, metric: str, split: str, ends: pd.DataFrame
) -> tuple[dict[str, float], dict[str, object]]:
    """Run -> a figure of its best weights, and the protocol of these."""
    name, found = figure_name(metric), pd.DataFrame()
    for scope in ("tick", "best") if split == "validation" else ("best",):
        measured = of_best_weights(evals(storage, experiment, scope=scope, split=split), ends)
        found = name.choose(measured)
        if len(found):
            break
    if len(ends):
        found = measured_as(name, measured, experiment, split)
    only("subject", found["subject"], f"say {metric}/SUBJECT of")
    only("column", found["column"], f"say {metric}/COLUMN of")
    found, common = one_protocol(latest(found), "measure all runs alike by jobs.evaluate, or name other figures")
    return dict(zip(found["run"], found["value"], strict=True)), common


def of_runs(
    storage: Storage, experiment: str, metrics: Sequence[str], names: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Run -> the cheap figures of its best weights on validation images, NaN: none, for those runs that ended. It reads
    no more of the tables than these rows."""
    chosen = {"run": set(names)}
    ends = last(read(storage, experiment, "outcomes", chosen), ["run"], ["tick", "attempt", "ended"])
    wanted = {**chosen, "scope": "tick", "split": "validation"}
    rows = read(
        storage,
        experiment,
        "evals",
        wanted,
        ["run", "attempt", "tick", "epoch", "metric", "subject", "column", "value"],
    )
    rows = rows.merge(ends[["run", "best_epoch"]], on="run")
    rows = rows[rows["epoch"] == rows["best_epoch"]]
    columns = []
    for metric in metrics:
        own = last(figure_name(metric).choose(rows), ["run"], ["tick", "attempt"])
        values = dict(zip(own["run"], own["value"], strict=True))
        columns.append([float("nan") if pd.isna(value := values.get(run)) else float(value) for run in ends["run"]])
    return dict(zip(ends["run"], zip(*columns, strict=True), strict=True))


def undominated(costs: np.ndarray) -> np.ndarray:
    """Which rows of `costs` (rows, figures), small ones good, no other row dominates: is nowhere larger, and somewhere
    smaller. Equal rows do not dominate each other; rows that are not finite are never among them."""
    found = np.zeros(len(costs), dtype=bool)
    front = np.empty((0, costs.shape[1]))
    for place in np.lexsort(costs.T[::-1]):  # what dominates a row comes before it
        own = costs[place]
        if np.isfinite(own).all() and not ((front <= own).all(axis=1) & (front < own).any(axis=1)).any():
            found[place] = True
            front = np.vstack([front, own])
    return found
