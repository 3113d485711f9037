"""The ranking of an experiment's runs by one figure under one protocol."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from gen.metrics.table import direction
from gen.results.queries import Place, evals, last, metrics, outcomes, runs, settings
from gen.results.schema import LATER_SECONDS, WORST
from gen.results.storage import Storage

PROTOCOL = (
    *("metric", "column", "subject", "split", "n_real", "n_fake"),
    *("features", "features_hash", "resize", "weights", "variant", "n_samples", "likelihood", "deficient", "protocol"),
)
DATA = ("data", "data_hash")  # figures on different images do not compare either
FREE = (
    "budget.",
    "machine.",
    "evaluate.full",
    "evaluate.leaders",
)  # settings that a run may go on under others of: what is recorded is how it began
ENDS = ("status", "epochs", "seconds", "best_epoch")


def leaderboard(
    place: Place,
    experiment: str,
    metric: str | None = None,
    subject: str | None = None,
    split: str = "validation",
    mode: Literal["min", "max"] | None = None,
    column: str | None = None,
    features: str | None = None,
    n_fake: int | None = None,
    protocol: str | None = None,
) -> pd.DataFrame:
    """One row for each run that ended, ranked by the full figure of its best weights.

    Runs that were measured under several protocols are ranked under the one that all measured runs share; `features`,
    `n_fake` and `protocol` (its hash) choose one.

    Columns: rank, run, entry, seed, value, status, epochs, seconds (with those of measuring it), best_epoch, steering
    (the best of the cheap figures that steered the run), then the settings that vary. Runs without a finite full figure
    (stopped early, failed, not among a search's leaders) and those whose best weights are below the floor of their
    config (a collapsed codebook) follow unranked, by `steering`.
    `attrs["protocol"]` describes the figure. `metric` may be "NAME/SUBJECT" or "NAME/SUBJECT/COLUMN"; None: what
    selected the runs' best weights. `mode`: whether small or large is good, which the metric says by itself.
    ValueError for a metric that is not known, for a mode that contradicts it, and if the measured runs share no
    protocol, or several: figures of different ones are not to be ranked together.
    """
    if mode not in (None, "min", "max"):
        raise ValueError(f"mode={mode!r} is not known; allowed: min, max")
    storage = place if isinstance(place, Storage) else Storage(place)
    ends = outcomes(storage, experiment)
    if metric is None:
        metric = only("metric", ends["metric"], "they were selected by different metrics; say metric=")
    if metric is not None and "/" in metric:
        metric, subject, *rest = metric.split("/")
        column = rest[0] if rest else column
    frame = ends.merge(runs(storage, experiment).drop(columns=["parameters"]), on=["experiment", "run"], how="left")
    mode = direction(metric, mode) if metric else "min"
    figures = evals(storage, experiment, metric=metric, subject=subject, scope="best", split=split)
    figures = figures[figures["run"].isin(frame["run"])]
    for name, chosen in (("column", column), ("features", features), ("n_fake", n_fake), ("protocol", protocol)):
        if chosen is not None:
            figures = figures[figures[name] == chosen]
    only("subject", figures["subject"], "say subject=")
    only("column", figures["column"], "say column=")
    figures = figures.merge(frame[["run", "best_epoch", *DATA]], on="run")
    figures = figures[figures["epoch"] == figures["best_epoch"]]  # a run that went on has better weights since
    figures, common = one_protocol(last(figures, ["run", "protocol"], ["attempt", "tick"]))
    frame = frame.merge(figures[["run", "value"]], on="run", how="left").rename(columns={"best": "steering"})
    later = metrics(storage, experiment, name=LATER_SECONDS).groupby("run")["value"].sum()
    frame["seconds"] += frame["run"].map(later.to_dict()).fillna(0.0).astype("double[pyarrow]")
    value = frame["value"].to_numpy(dtype=float, na_value=np.nan)
    cheap = frame["steering"].to_numpy(dtype=float, na_value=np.nan)  # orders those without a rank; NaN is last
    ranked = np.isfinite(value) & ~(np.abs(cheap) >= WORST)
    keys = [np.where(ranked, value, np.inf), cheap] if mode == "min" else [np.where(ranked, -value, np.inf), -cheap]
    order = np.lexsort((frame["run"].to_numpy(dtype=str), keys[1], keys[0]))
    frame = frame.iloc[order].reset_index(drop=True)
    places = [position if good else None for position, good in enumerate(ranked[order], start=1)]
    frame.insert(0, "rank", pd.Series(places, dtype="int64[pyarrow]"))
    board = frame[["rank", "run", "entry", "seed", "value", *ENDS, "steering"]]
    board = board.merge(varying(settings(storage, experiment), board), on="run", how="left")
    board.attrs = {"protocol": {"mode": mode, **common}, "code_versions": sorted(set(frame["code_version"].dropna()))}
    return board


def only(name: str, values: pd.Series[str], remedy: str) -> str | None:
    """The one value there is; None if there is none. ValueError if there are more."""
    found = sorted(values.dropna().unique())
    if len(found) > 1:
        raise ValueError(f"the runs' figures have more than one {name}: {', '.join(found)}; {remedy} one of them")
    return found[0] if found else None


def one_protocol(figures: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, object]]:
    """The figures under the one protocol and data that all measured runs share, and what that is. ValueError if they
    share none, or several (names what differs)."""
    if figures.empty:
        return figures, {}
    names = [*PROTOCOL, *DATA]
    measured = figures.groupby(names, dropna=False)["run"].transform("nunique")
    shared = figures[measured == figures["run"].nunique()]
    common = shared[names].drop_duplicates()
    if len(common) != 1:
        kinds = figures[names].drop_duplicates()
        different = {name: kinds[name].unique() for name in kinds if kinds[name].nunique(dropna=False) > 1}
        shown = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in different.items())
        raise ValueError(
            f"the runs' figures are of {len(kinds)} protocols and are not ranked together; {shown}; say features=, "
            "n_fake= or protocol="
        )
    return shared, {str(name): None if pd.isna(value) else value for name, value in common.iloc[0].items()}


def varying(wide: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """The board's runs x those settings that differ among them, under short names where those are unique."""
    wide = wide[wide["run"].isin(board["run"])]
    keys = [key for key in wide.columns[2:] if key != "seed" and not key.startswith(FREE) and wide[key].nunique() > 1]
    short = [key.rsplit(".", 1)[-1] for key in keys]
    taken = {*board.columns, *(name for name in short if short.count(name) > 1)}
    names = {key: key if name in taken else name for key, name in zip(keys, short, strict=True)}
    return wide[["run", *keys]].rename(columns=names)
