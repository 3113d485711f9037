"""Runs of several seeds, compared by one figure's mean and its interval: for each entry, number of labels, loss."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from gen.metrics.table import direction
from gen.results.queries import Place, evals, last, outcomes, runs, settings
from gen.results.ranking import NO_COLUMN, figure_name, having, nearest, of_best_weights, one_protocol, only
from gen.results.storage import Storage

LUCK = ("seed", "data.label_seed")  # settings by which the runs of one configuration differ


def compare(
    place: Place,
    experiments: str | Sequence[str],
    by: Sequence[str] = ("entry", "data.labels"),
    metric: str | None = None,
    split: str = "test",
    confidence: float = 0.95,
    protocol: str | None = None,
) -> pd.DataFrame:
    """The full figure of best weights over seeds: one row for each combination of values of the settings `by`.

    Columns: those of `by`, then `configurations`, `n`, `mean`, `low`, `high`, `validation_images`. A row is of `n` runs
    of one configuration, which differ by their seeds alone; from `low` to `high` is Student's interval of their mean at
    this `confidence` (NaN of one run). Where there are several configurations, it is the one of which most runs have
    the figure, and among these the one with the best mean of the validation figures that steered its runs: test images
    choose nothing. `validation_images` is how many validation images, with their labels where the steering figure needs
    them, chose each run's best weights; they count beside the training images.

    `metric` is NAME/SUBJECT or NAME/SUBJECT/COLUMN; None: what selected the best weights. `protocol` (its hash) chooses
    one of several. A run that several of the `experiments` have counts once. ValueError for a key that is no setting
    (names the nearest), for a figure that no run has, and where figures do not compare: those of several protocols or,
    but for metrics of held-out images alone, of several data sets.
    """
    storage = place if isinstance(place, Storage) else Storage(place)
    names = [experiments] if isinstance(experiments, str) else list(experiments)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is out of range; allowed: more than 0 and less than 1, such as 0.95")

    def of_all(read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([read(name) for name in names], ignore_index=True)

    told = of_all(lambda name: settings(storage, name)).drop_duplicates("run")
    check_settings(by, list(told.columns[2:]))
    ends = of_all(lambda name: outcomes(storage, name).merge(runs(storage, name), on="run", suffixes=("", "_begun")))
    ends = ends.drop_duplicates("run")
    steering = only("metric that selected them", ends["metric"], "name experiments that have")
    figures = of_best_weights(of_all(lambda name: evals(storage, name, scope="best", split=split)), ends)
    figures = named(figures, metric or steering or "a figure", names, split)
    figures = figures if protocol is None else having(figures, "protocol", protocol)
    figures, common = one_protocol(last(figures, ["run", "protocol"], ["attempt", "tick"]))
    ticks = of_all(lambda name: evals(storage, name, scope="tick", split="validation"))
    chosen_on = ticks[names_of(ticks) == steering].groupby("run")["n_real"].max()
    frame = told.merge(ends[["run", "best"]], on="run", how="left")
    frame = frame.merge(figures[["run", "value"]], on="run", how="left")
    frame["chosen_on"] = frame["run"].map(chosen_on.to_dict())
    for column in ("best", "value"):
        numbers = frame[column].to_numpy(dtype=float, na_value=np.nan)
        frame[column] = np.where(np.isfinite(numbers), numbers, np.nan)
    fixed = [key for key in told.columns[2:] if key not in (*LUCK, *by) and not key.startswith(NO_COLUMN)]
    frame["configuration"] = frame.groupby(fixed, dropna=False).ngroup() if fixed else 0
    rows = []
    for values, group in frame.groupby(list(by), dropna=False):
        best = best_configuration(group, direction(str(steering)))
        low, high = interval(best["value"], confidence)
        row: dict[str, Any] = dict(zip(by, values, strict=True))
        row |= {"configurations": group["configuration"].nunique(), "n": best["value"].count()}
        row |= {"mean": best["value"].mean(), "low": low, "high": high}
        rows.append(row | {"validation_images": best["chosen_on"].max()})
    table = pd.DataFrame(rows)
    table.attrs = {"protocol": {"confidence": confidence, **common}}
    return table


def check_settings(by: Sequence[str], there: Sequence[str]) -> None:
    """ValueError if one of the keys `by` is no setting that is `there` (names the nearest), or if there are none."""
    if not by:
        raise ValueError("by= names no setting, such as entry or data.labels")
    for key in by:
        if key not in there:
            near = difflib.get_close_matches(key, there, n=3, cutoff=0.4) or list(there)
            raise ValueError(f"by={key!r} is no setting of these runs; nearest valid: {', '.join(near)}")


def names_of(figures: pd.DataFrame) -> pd.Series[str]:
    """The names of figures, NAME/SUBJECT or NAME/SUBJECT/COLUMN."""
    rows = figures[["metric", "subject", "column"]].itertuples(index=False)
    return pd.Series([figure_name(*row) for row in rows], index=figures.index, dtype=object)


def named(figures: pd.DataFrame, name: str, experiments: Sequence[str], split: str) -> pd.DataFrame:
    """The figures of one name. ValueError if there are none (names those there are)."""
    found = figures[names_of(figures) == name]
    if found.empty:
        there = ", ".join(nearest(name, figures)) or "none"
        raise ValueError(
            f"{name} was measured of no run of {', '.join(experiments)} that ended, on {split} images; measured: "
            f"{there}; jobs.evaluate measures more"
        )
    return found


def best_configuration(group: pd.DataFrame, mode: Literal["min", "max"]) -> pd.DataFrame:
    """The runs of the configuration of which most runs have the figure; of several, the one with the best mean of the
    validation figures that steered them."""
    sign = 1 if mode == "min" else -1
    found = group.groupby("configuration").agg(measured=("value", "count"), steering=("best", "mean"))
    order = np.lexsort([sign * found["steering"].to_numpy(), -found["measured"].to_numpy()])
    best: pd.DataFrame = group[group["configuration"] == found.index[order[0]]]
    return best


def interval(values: pd.Series[float], confidence: float) -> tuple[float, float]:
    """Student's interval of the mean; NaN unless there are two values."""
    count, mean = values.count(), values.mean()
    if count < 2:
        return np.nan, np.nan
    from scipy import stats  # so late that no process which trains, and imports the tables too, waits for it

    reach = stats.t.ppf((1 + confidence) / 2, count - 1) * values.std() / np.sqrt(count)
    return mean - reach, mean + reach
