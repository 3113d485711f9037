"""Runs of several seeds, compared by one figure's mean and its interval: for each entry, number of labels, loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from gen.checks import nearest
from gen.metrics.table import direction
from gen.results.added import complete
from gen.results.confirmation import fresh_runs, shorter_runs
from gen.results.equal import spending, within_budget
from gen.results.floor import find_floors, only_one, value_of
from gen.results.forget import forgotten
from gen.results.queries import Place, evals, outcomes, runs, settings
from gen.results.questions import check_split, figure_name
from gen.results.ranking import (
    NO_COLUMN,
    having,
    in_each_data_set,
    latest,
    measured_as,
    of_best_weights,
    only,
    shared,
)
from gen.results.schema import WORST
from gen.results.storage import Storage

LUCK = ("seed", "data.label_seed")  # settings by which the runs of one configuration differ


def compare(
    place: Place,
    experiments: str | Sequence[str],
    by: str | Sequence[str] = ("entry", "data.labels"),
    metric: str | None = None,
    split: str = "test",
    confidence: float = 0.95,
    protocol: str | None = None,
    device_seconds: float | None = None,
) -> pd.DataFrame:
    """The full figure of best weights over seeds: one row for each combination of values of the settings `by`, and for
    each data set: runs on several are not ranked against each other, so each data set has a protocol and a floor of its
    own.

    The rows of a data set are of equal budgets: configurations are taken in the order in which they began, each with
    all its seeds, as long as they cost the search no more device-seconds (seconds, with those of measuring, times
    devices) than that row's search in all which cost least (of the rows that have the figure), or than
    `device_seconds` (math.inf: take all). A row has at least its first configuration, whatever it costs.

    Columns: those of `by`, `data` where these do not tell the data sets apart, then `configurations` (that the budget
    pays for), `left_out` (those it does not), `unmeasured` (those it pays for which lack the figure, and did as well on
    validation images as the row's, or better; `attrs["unmeasured"]` names their runs), `budget`, `device_seconds` (what
    the former took in the search), `confirming` (what their fresh seeds took), `n`, `mean`, `low`, `high`,
    `validation_images`, and `floor`, what real images reach in the figure of the row, as of `leaderboard` (NaN: it is
    not on record). A row is of `n` runs of one
    configuration, which differ by their seeds alone; from `low` to `high` is Student's interval of their mean at this
    `confidence` (NaN of one run). Runs whose best weights are below the floor of their config (a collapsed codebook)
    count as without the figure, as in the ranking; `attrs["below"]` is how many of them have it. Where there are
    several configurations, it is the one of which most runs have the figure, and among these the one with the best mean
    of the validation figures that steered its runs: test images choose nothing. Of a configuration that was confirmed
    the runs with fresh seeds count, and not the search's, which chose it. `validation_images` is how many validation
    images, with their labels where the steering figure needs them, chose each run's best weights; they count beside the
    training images.

    `attrs["protocols"]` and `attrs["floors"]` are those of each data set, as of `leaderboard`; `attrs["protocol"]` is
    what all of them share, `attrs["floor"]` that of the only one. `metric` is a figure as there; None: what selected
    the best weights. `protocol` (its hash) chooses one of several, in the data sets that have it. A run that several of
    the `experiments` have counts once. ValueError for a key that is no setting (names the nearest), for a figure that
    no run has, and where figures of one data set do not compare: those of several protocols or, but for metrics of
    held-out images alone, of other images under its name.
    """
    storage = place if isinstance(place, Storage) else Storage(place)
    names = [experiments] if isinstance(experiments, str) else list(experiments)
    by = [by] if isinstance(by, str) else list(by)
    if not names:
        raise ValueError("experiments= names none; give one or more")
    check_split(split)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is out of range; allowed: more than 0 and less than 1, such as 0.95")

    if device_seconds is not None and not device_seconds > 0:
        raise ValueError(f"device_seconds={device_seconds} is out of range; allowed: more than 0, math.inf: all")

    def of_all(read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([read(name) for name in names], ignore_index=True)

    told = of_all(lambda name: without_forgotten(storage, name, settings(storage, name))).drop_duplicates("run")
    check_settings(by, list(told.columns[2:]))
    ends = of_all(
        lambda name: without_forgotten(storage, name, outcomes(storage, name)).merge(
            runs(storage, name), on="run", suffixes=("", "_begun")
        )
    )
    ends = ends.drop_duplicates("run")
    steering = only("metric that selected them", ends["metric"], "name experiments that have")
    figures = of_best_weights(of_all(lambda name: evals(storage, name, scope="best", split=split)), ends)
    figure = figure_name(metric if metric is not None else steering)
    if figure.metric is not None:
        direction(figure.metric)
    figures = measured_as(figure, figures, ", ".join(names), split)
    only("subject", figures["subject"], "say metric=NAME/SUBJECT of")
    only("column", figures["column"], "say metric=NAME/SUBJECT/COLUMN of")
    if protocol is not None:
        chosen = having(figures, "protocol", protocol)
        figures = pd.concat([chosen, figures[~figures["data"].isin(chosen["data"])]])
    figures, protocols = in_each_data_set(latest(figures), "say protocol=, or name experiments that share one")
    ticks = of_all(lambda name: evals(storage, name, scope="tick", split="validation"))
    chosen_on = figure_name(steering).choose(ticks).groupby("run")["n_real"].max()
    frame = told.merge(spending(storage, names), on="run", how="left").merge(
        ends[["run", "best"]], on="run", how="left"
    )
    frame = frame.merge(figures[["run", "value"]], on="run", how="left")
    frame["chosen_on"] = frame["run"].map(chosen_on.to_dict())
    for column in ("best", "value"):
        numbers = frame[column].to_numpy(dtype=float, na_value=np.nan)
        frame[column] = np.where(np.isfinite(numbers), numbers, np.nan)
    unsound = frame["value"].notna() & (frame["best"].abs() >= WORST)
    frame.loc[unsound, "value"] = np.nan  # `best` stays: a configuration of which a run collapsed is no better for that
    frame["configuration"] = frame["run"].map(configuration_of(told, by))
    frame["fresh"] = frame["run"].isin({run for name in names for run in fresh_runs(storage, name)})
    counts = frame["fresh"] & ~frame["run"].isin({run for name in names for run in shorter_runs(storage, name)})
    confirmed = counts.groupby([frame[key] for key in (*by, "configuration")], dropna=False).transform("any")
    frame["counts"] = np.where(frame["fresh"], counts, ~confirmed)
    frame["within"], budgets = within_budget(frame, by, device_seconds)
    floors, rows, unmeasured = find_floors(storage, names, protocols), [], list[str]()
    for (*values, data), group in frame.groupby([*by, "data"], dropna=False):
        paid = group[group["within"]]
        best = best_configuration(paid[paid["counts"]], direction(str(steering)))
        row: dict[str, Any] = {**dict(zip(by, values, strict=True)), "data": data}
        row |= {"configurations": (count := paid["configuration"].nunique())}
        row |= {"left_out": group["configuration"].nunique() - count}
        lacking = as_good_and_unmeasured(paid, best, direction(str(steering)))
        row |= {"unmeasured": lacking["configuration"].nunique()}
        unmeasured += lacking["run"].to_list()
        row["budget"] = budgets.get(str(data), np.nan)
        row |= {"device_seconds": paid["cost"][~paid["fresh"]].sum(), "confirming": paid["cost"][paid["fresh"]].sum()}
        row |= {"n": best["value"].count(), "mean": best["value"].mean()}
        row["low"], row["high"] = interval(best["value"], confidence)
        rows.append(row | {"validation_images": best["chosen_on"].max(), "floor": value_of(floors.get(str(data)))})
    table = pd.DataFrame(rows)
    table = with_needed(table, by)
    table.attrs = {"protocol": {"confidence": confidence, **shared(protocols.values())}, "protocols": protocols}
    table.attrs |= {"floor": only_one(floors), "floors": floors}
    table.attrs |= {"unmeasured": unmeasured, "below": int(unsound.sum())}
    return table


def sound_lines(table: pd.DataFrame) -> list[str]:
    """How many runs a comparison leaves out since their best weights are below the floor, counted."""
    below = table.attrs["below"]
    return [f"left out: {below} runs whose best weights are below the floor of their config"] if below else []


def with_needed(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The table without its column `data`, where the columns `by` tell the data sets apart."""
    rows = table.drop_duplicates([*by, "data"])
    return table if rows.duplicated(list(by)).any() else table.drop(columns="data")


def without_forgotten(storage: Storage, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that are to be ranked."""
    found: pd.DataFrame = frame[~frame["run"].isin(forgotten(storage, name))]
    return found


def configuration_of(told: pd.DataFrame, by: Sequence[str] = ()) -> dict[str, int]:
    """Run -> number of its configuration, from the wide settings `told`: runs of one differ by their seeds alone, by
    what may change while a run goes on, and by the settings `by`."""
    told = complete(told)
    fixed = [key for key in told.columns[2:] if key not in (*LUCK, *by) and not key.startswith(NO_COLUMN)]
    numbers = told.groupby(fixed, dropna=False).ngroup() if fixed else pd.Series(0, index=told.index)
    return dict(zip(told["run"], map(int, numbers), strict=True))


def check_settings(by: Sequence[str], there: Sequence[str]) -> None:
    """ValueError if one of the keys `by` is no setting that is `there` (names the nearest), or if there are none."""
    if not by:
        raise ValueError("by= names no setting, such as entry or data.labels")
    for key in by:
        if key not in there:
            raise ValueError(f"by={key!r} is no setting of these runs; nearest valid: {nearest(key, there)}")


def best_configuration(group: pd.DataFrame, mode: Literal["min", "max"]) -> pd.DataFrame:
    """The runs of the configuration of which most runs have the figure; of several, the one with the best mean of the
    validation figures that steered them."""
    sign = 1 if mode == "min" else -1
    found = group.groupby("configuration").agg(measured=("value", "count"), steering=("best", "mean"))
    order = np.lexsort([sign * found["steering"].to_numpy(), -found["measured"].to_numpy()])
    best: pd.DataFrame = group[group["configuration"] == found.index[order[0]]]
    return best


def as_good_and_unmeasured(paid: pd.DataFrame, best: pd.DataFrame, mode: Literal["min", "max"]) -> pd.DataFrame:
    """The runs of configurations that nobody measured and whose validation figures are as good as those of `best`, or
    better; no collapsed ones. None beside a configuration that was confirmed: others are better than its fresh seeds by
    luck too."""
    sign = 1 if mode == "min" else -1
    rows = paid.groupby("configuration")
    means, measured = sign * rows["best"].transform("mean"), rows["value"].transform("count")
    worst = (sign * paid["best"]).groupby(paid["configuration"]).transform("max")  # of a run that collapsed WORST
    if best["fresh"].any():
        return paid.iloc[:0]
    return paid[(measured == 0) & (means <= sign * best["best"].mean()) & (worst < WORST)]


def interval(values: pd.Series[float], confidence: float) -> tuple[float, float]:
    """Student's interval of the mean; NaN unless there are two values."""
    count, mean = values.count(), values.mean()
    if count < 2:
        return np.nan, np.nan
    from scipy import stats  # so late that no process which trains, and imports the tables too, waits for it

    reach = stats.t.ppf((1 + confidence) / 2, count - 1) * values.std() / np.sqrt(count)
    return mean - reach, mean + reach
