"""What a search of fewer runs would have found: the best of k runs, at equal device-seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gen.metrics.table import direction
from gen.results.comparison import check_settings, with_needed
from gen.results.confirmation import fresh_runs
from gen.results.floor import find_floors, only_one, value_of
from gen.results.forget import forgotten
from gen.results.queries import Place, evals, outcomes, runs, settings
from gen.results.questions import check_split, figure_name
from gen.results.ranking import device_costs, in_each_data_set, latest, measured_as, of_best_weights, only, shared
from gen.results.schema import WORST
from gen.results.storage import Storage

CHOSEN = "these choose among the runs of one group: take fewer runs together, by by= or by other experiments"
ALIKE = "name fewer experiments, or search with evaluate.full=all, for then full figures on test images are told"
STEPS = (1, 2, 5)  # and ten, a hundred times as many: the numbers of runs that are asked for by default
COLUMNS = ("k", "device_seconds", "mean", "low", "high", "split", "n", "without", "measured", "floor")


def best_of_k(
    place: Place,
    experiments: str | Sequence[str],
    metric: str | None = None,
    split: str | None = None,
    device_seconds: Sequence[float] | None = None,
    by: str | Sequence[str] = "experiment",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """The best value that is to be expected of a search of k runs, as in "Are GANs Created Equal?" (Lucic et al. 2018):
    k of the runs on record are drawn, with replacement, and of these the one with the best validation figure counts.

    One row for each group of runs (`by`: "experiment", or settings; runs on several data sets are several groups, each
    with a protocol and a floor of its own, and a column `data` where `by` does not tell them apart) and k, which is 1,
    2, 5, 10 ... up to the runs that there are, or as many as each of the `device_seconds` pays for. Columns: those of
    `by`, k, device_seconds (of k runs on average: seconds, with those of measuring, times devices), mean, and low and
    high, between which the best of k lies with this `confidence`; split, n (runs that ended, which are drawn), without
    (those of them that have no validation figure: they cost, and are never the best), measured (those with the full
    figure on test images), and floor (what real images reach in that figure, as of `leaderboard`; NaN: it is not on
    record, or validation images are told of).

    All draws are counted exactly, so no seed matters. The runs of a confirmation are none that a search drew. Selection
    is by the cheap validation figure that steered the runs. What is reported: "test", the full figure `metric` of the
    same weights on test images, if each run that can be chosen has it; else "validation", the figure that chose, which
    flatters the larger k. `split` asks for one of them. `attrs` as of `compare`; a floor's seconds are in none of these
    costs, for a search pays them once, however many its runs are. mean is null where the money pays for no run, or for
    more than are on record: nothing is known of those. ValueError as in `compare`, and for a split that is asked for
    and lacks runs."""
    storage = place if isinstance(place, Storage) else Storage(place)
    names = [experiments] if isinstance(experiments, str) else list(experiments)
    by = [by] if isinstance(by, str) else list(by)
    if not names:
        raise ValueError("experiments= names none; give one or more")
    if split is not None:
        check_split(split)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is out of range; allowed: more than 0 and less than 1, such as 0.95")
    if device_seconds is not None and not all(0 < one < np.inf for one in device_seconds):
        raise ValueError(f"device_seconds={list(device_seconds)}: allowed: numbers above 0")
    frame = pd.concat([ended(storage, name) for name in names], ignore_index=True)
    steering = only("metric that selected them", frame["metric"], "name experiments that have")
    if steering is None:
        raise ValueError(f"no run of {', '.join(names)} has ended yet; ask again once some have")
    if by != ["experiment"]:
        told = pd.concat([settings(storage, name) for name in names], ignore_index=True).drop_duplicates("run")
        check_settings([key for key in by if key != "experiment"] or by, [*told.columns[2:], "experiment", "entry"])
        frame = frame.drop_duplicates("run" if "experiment" not in by else ["experiment", "run"])
        own = [key for key in by if key != "experiment" and key not in frame]
        frame = frame.merge(told[["run", *own]], on="run", how="left")
    frame, protocols = with_figures(storage, names, frame, metric or steering, steering, split)
    choosing = figures_that_choose(storage, names, frame, steering)
    sign = 1 if direction(steering) == "min" else -1
    floors, rows, told_by_choice = find_floors(storage, names, protocols), list[dict[str, Any]](), list[pd.DataFrame]()
    for (*values, data), group in frame.groupby([*by, "data"], dropna=False):
        chosen_by = choosing[choosing["run"].isin(group["run"])]
        in_each_data_set(chosen_by, CHOSEN)
        for row in curve(group, split, sign, device_seconds, confidence):
            floor = value_of(floors.get(str(data)) if row["split"] == "test" else None)
            rows.append({**dict(zip(by, values, strict=True)), "data": data, **row, "floor": floor})
        if rows[-1]["split"] == "validation":
            told_by_choice.append(chosen_by)
    if told_by_choice:
        in_each_data_set(pd.concat(told_by_choice), ALIKE)
    table = pd.DataFrame(rows, columns=[*by, "data", *COLUMNS])
    table = with_needed(table, by)
    about = {"confidence": confidence, "chosen_by": steering, **shared(protocols.values())}
    table.attrs = {"protocol": about, "protocols": protocols, "floor": only_one(floors), "floors": floors}
    return table


def ended(storage: Storage, name: str) -> pd.DataFrame:
    """The runs of an experiment's search that ended, with what they cost."""
    ends = outcomes(storage, name).merge(
        runs(storage, name, ["run", "data", "data_hash", "held_out", "entry"]), on="run"
    )
    ends = ends[~ends["run"].isin({*forgotten(storage, name), *fresh_runs(storage, name)})]
    return ends.assign(cost=ends["run"].map(device_costs(storage, name, ends)).astype(float))


def with_figures(
    storage: Storage, names: Sequence[str], frame: pd.DataFrame, metric: str, steering: str, split: str | None
) -> tuple[pd.DataFrame, dict[str, dict[str, object]]]:
    """The runs with `chosen` (the validation figure by which they are chosen) and `value` (the full figure on test
    images); NaN: none, or none that is finite. And data set -> the protocol of the latter. ValueError if figures do not
    compare."""
    figure = figure_name(metric)
    if figure.metric is not None and direction(figure.metric) != direction(steering):
        raise ValueError(f"metric={metric} and {steering}, which chose the weights, are good in opposite directions")
    best = frame["best"].to_numpy(dtype=float, na_value=np.nan)
    frame = frame.assign(chosen=np.where(np.isfinite(best) & (np.abs(best) < WORST), best, np.nan), value=np.nan)
    if split == "validation":
        return frame, {str(data): {"metric": steering} for data in frame["data"].unique()}
    full = pd.concat([evals(storage, name, scope="best", split="test") for name in names], ignore_index=True)
    full = of_best_weights(full, once(frame))
    full = measured_as(figure, full, ", ".join(names), "test") if split == "test" else figure.choose(full)
    only("subject", full["subject"], "say metric=NAME/SUBJECT of")
    only("column", full["column"], "say metric=NAME/SUBJECT/COLUMN of")
    full, protocols = in_each_data_set(latest(full), "name experiments that share one")
    values = frame["run"].map(dict(zip(full["run"], full["value"], strict=True))).to_numpy(dtype=float, na_value=np.nan)
    return frame.assign(value=np.where(np.isfinite(values), values, np.nan)), protocols


def figures_that_choose(storage: Storage, names: Sequence[str], frame: pd.DataFrame, steering: str) -> pd.DataFrame:
    """The validation figures of best weights, as ticks measured them. Runs that are rivals have them by one protocol:
    those of one group, and of all groups of which these figures themselves are told."""
    ticks = pd.concat([evals(storage, name, scope="tick", split="validation") for name in names], ignore_index=True)
    return latest(of_best_weights(figure_name(steering).choose(ticks), once(frame)))


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each run, of a frame in which a run of several experiments has several."""
    return frame.drop_duplicates("run")


def curve(
    group: pd.DataFrame, split: str | None, sign: int, budgets: Sequence[float] | None, confidence: float
) -> list[dict[str, Any]]:
    """The rows of a group of runs. `sign`: 1 where small figures are good, else -1."""
    chosen, value = group["chosen"].to_numpy(dtype=float), group["value"].to_numpy(dtype=float)
    can, count, cost = np.isfinite(chosen), len(group), float(group["cost"].mean())
    measured = int((can & np.isfinite(value)).sum())
    whole = measured == can.sum() > 0
    if split == "test" and not whole:
        raise ValueError(
            f"{measured} of {can.sum()} runs have the figure on test images; measure the others by jobs.evaluate, "
            "search with evaluate.full=all, or say split='validation'"
        )
    on_test = whole and split != "validation"
    order = np.argsort(sign * chosen, kind="stable")[: can.sum()]  # NaN is last
    told = (value if on_test else chosen)[order]
    if budgets is None:
        asked = [(k, k * cost) for k in steps(count)]
    else:
        asked = [(int(budget // cost) if cost > 0 else count, float(budget)) for budget in budgets]
    shared = {"split": "test" if on_test else "validation", "n": count, "without": int(count - can.sum())}
    rows = []
    for k, seconds in asked:
        mean, low, high = expected_best(told, count, k, confidence) if 0 < k <= count else (np.nan,) * 3
        rows.append({"k": k, "device_seconds": seconds, "mean": mean, "low": low, "high": high, **shared})
    return [{**row, "measured": measured} for row in rows]


def steps(count: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 ... and `count`."""
    found = [step * 10**power for power in range(len(str(count))) for step in STEPS]
    return sorted({*(one for one in found if one < count), count})


def expected_best(values: np.ndarray, count: int, k: int, confidence: float) -> tuple[float, float, float]:
    """Mean and quantiles of the value of the first of k runs that are drawn from `count` with replacement. `values`:
    those of the runs in the order in which they are preferred; the others of `count` have none, and a draw of nothing
    but those is left out. NaN if there are no values."""
    if not len(values):
        return np.nan, np.nan, np.nan
    places = np.arange(len(values) + 1)
    beyond = ((count - places) / count) ** k  # the chance that the first one's place is this one or a later one
    weights = -np.diff(beyond) / (1 - beyond[-1])
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    ends = np.searchsorted(total, [(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = values[order][np.minimum(ends, len(values) - 1)]
    return float(weights @ values), float(low), float(high)
