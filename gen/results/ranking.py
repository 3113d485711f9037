"""The ranking of an experiment's runs by one figure under one protocol."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gen.metrics.table import FRECHET, direction, is_known
from gen.metrics.table import metric as metric_of
from gen.results.confirmation import KIND as CONFIRM
from gen.results.confirmation import fresh_of
from gen.results.floor import KIND as FLOOR
from gen.results.floor import floor_of, measuring
from gen.results.forget import KIND as FORGET
from gen.results.forget import why_forgotten
from gen.results.queries import evals, last, outcomes, read, read_arrow, runs, settings
from gen.results.questions import FigureName, check_split, figure_name
from gen.results.schema import LATER_SECONDS, SLOTS, WORST
from gen.results.storage import Storage

PROTOCOL = (
    *("metric", "column", "subject", "split", "n_real", "n_fake"),
    *("features", "features_hash", "resize", "weights", "variant", "n_samples", "likelihood", "deficient", "labels"),
    "protocol",
)
DATA = ("data", "data_hash")  # figures on different images do not compare either
NO_COLUMN = ("budget.", "machine.", "evaluate.full", "evaluate.leaders")
"""Settings that get no column: they may change while a run goes on, and the tables hold only how it began."""
COLLAPSE = "collapse"  # kind of events
TOLD = ("run", "kind", "decision", "why", "detail")
ENDED = ("experiment", "run", *("why", "metric", "best", "collapsed"), "status", "epochs", "seconds", "best_epoch")
BEGUN = ("experiment", "run", "entry", "seed", *DATA, "held_out", "code_version")
ENDS = ("status", "epochs", "seconds", "best_epoch")
DEVICES = ("devices", "world_size")  # columns of `runs`


def leaderboard_of_runs(
    storage: Storage,
    experiment: str,
    *,
    metric: str | None = None,
    subject: str | None = None,
    split: str = "validation",
    mode: Literal["min", "max"] | None = None,
    column: str | None = None,
    features: str | None = None,
    n_fake: int | None = None,
    protocol: str | None = None,
    fresh: bool = False,
) -> pd.DataFrame:
    """As `leaderboard` with by="run", or by="fresh" for `fresh`, which says what it gives."""
    if mode not in (None, "min", "max"):
        raise ValueError(f"mode={mode!r} is not known; allowed: min, max")
    check_split(split)
    told = read(storage, experiment, "events", {"kind": {FORGET, COLLAPSE, FLOOR, CONFIRM}}, TOLD)
    gone = why_forgotten(told[told["kind"] == FORGET])
    ends = outcomes(storage, experiment, columns=ENDED)
    ends = ends[~ends["run"].isin(gone)]
    confirming = ends["run"].isin(fresh_of(told[told["kind"] == CONFIRM]))
    apart, ends = ends[confirming != fresh], ends[confirming == fresh].reset_index(drop=True)
    asked = any(said is not None for said in (metric, subject, column))
    if metric is None:
        steering = only("metric", ends["metric"], "they were selected by different metrics; say metric=")
        metric = steering.partition("/")[0] if asked and steering else steering  # "subject=" of that metric
    name = figure_name(metric, subject, column)
    frame = ends.merge(runs(storage, experiment, BEGUN), on=["experiment", "run"], how="left")
    mode = direction(name.metric, mode) if name.metric is not None else "min"
    full = of_best_weights(evals(storage, experiment, scope="best", split=split), frame)
    figures = measured_as(name, full, experiment, split) if asked and len(frame) else name.choose(full)
    for key, chosen in (("features", features), ("n_fake", n_fake), ("protocol", protocol)):
        figures = figures if chosen is None or frame.empty else having(figures, key, chosen)
    only("subject", figures["subject"], "say subject=")
    only("column", figures["column"], "say column=")
    figures, common = one_protocol(latest(figures))
    frame = frame.merge(figures[["run", "value"]], on="run", how="left").rename(columns={"best": "steering"})
    frame["seconds"] = with_later(storage, experiment, frame)
    value = frame["value"].to_numpy(dtype=float, na_value=np.nan)
    cheap = frame["steering"].to_numpy(dtype=float, na_value=np.nan)  # orders the runs without a rank; NaN is last
    ranked = np.isfinite(value) & ~(np.abs(cheap) >= WORST)
    keys = [np.where(ranked, value, np.inf), cheap] if mode == "min" else [np.where(ranked, -value, np.inf), -cheap]
    order = np.lexsort((frame["run"].to_numpy(dtype=str), keys[1], keys[0]))
    frame = frame.iloc[order].reset_index(drop=True)
    places = [position if good else None for position, good in enumerate(ranked[order], start=1)]
    frame.insert(0, "rank", pd.Series(places, dtype="int64[pyarrow]"))
    frame["collapsed"] = pd.Series(collapses(told[told["kind"] == COLLAPSE], frame), dtype=pd.ArrowDtype(pa.string()))
    board = frame[["rank", "run", "entry", "seed", "value", *ENDS, "steering", "collapsed"]]
    board = board.merge(varying(settings(storage, experiment, begun=frame), board), on="run", how="left")
    board.attrs = {
        "forgotten": gone,
        "apart": len(apart),
        "by": "fresh" if fresh else "run",
        "protocol": {"mode": mode, **common},
        "floor": floor_of(told[told["kind"] == FLOOR], common) if common else None,
        "code_versions": sorted(set(frame["code_version"].dropna())),
    }
    return board


def collapses(events: pd.DataFrame, ends: pd.DataFrame) -> list[str | None]:
    """For each of the `outcomes` when and how the game collapsed, as the run told when it ended, or as the full figures
    of its best weights told later, which is one of the `events`; None if nothing did. Versions before 1.5 told it as
    the reason of the end only."""
    later = dict[tuple[str, float], str]()
    for run, why, detail in zip(events["run"], events["why"], map(json.loads, events["detail"]), strict=True):
        if "epoch" in detail:
            later[run, detail["epoch"]] = f"epoch {detail['epoch']:g}: {why}"
    told = ends["collapsed"].notna() | ends["why"].str.contains("collapsed at ", regex=False)
    found = list[str | None]([None] * len(ends))
    some = (told | ends["run"].isin({run for run, _ in later})).to_numpy(dtype=bool, na_value=False)
    rows = ends.loc[some, ["run", "collapsed", "why", "best_epoch"]].itertuples(index=False)
    for place, (run, words, why, epoch) in zip(np.flatnonzero(some), rows, strict=True):
        own = why.partition("collapsed at ")[2] if pd.isna(words) else words
        more = "" if pd.isna(epoch) else later.get((run, float(epoch)), "")
        found[place] = "; at ".join(filter(None, (own, more if more not in own else ""))) or None
    return found


def costs(storage: Storage, experiment: str, ends: pd.DataFrame | None = None) -> dict[str, float]:
    """Run -> its seconds, for each run that ended: its own seconds, and the seconds of measuring it later. `ends`:
    the experiment's `outcomes`, where they are read already."""
    ends = outcomes(storage, experiment, columns=("run", "seconds")) if ends is None else ends
    return dict(zip(ends["run"], with_later(storage, experiment, ends).astype(float), strict=True))


def devices_on_record(begun: pd.DataFrame) -> pd.Series[float]:
    """How many devices each of the `runs` takes, from their columns `devices` and `world_size`: GPUs, or the part of
    one that it shares with others, and without GPUs one a process. Versions before 1.6 noted the processes alone, each
    of which counts as a device. A run that went on with another share has that of its beginning."""
    return begun["devices"].astype(float).fillna(begun["world_size"].astype(float))


def device_costs(storage: Storage, experiment: str, ends: pd.DataFrame | None = None) -> dict[str, float]:
    """As `costs`, in device-seconds: times the devices of the run."""
    begun = runs(storage, experiment, ["run", *DEVICES])
    of_run = dict(zip(begun["run"], devices_on_record(begun), strict=True))
    return {run: seconds * of_run.get(run, 1.0) for run, seconds in costs(storage, experiment, ends).items()}


def device_seconds(storage: Storage, experiment: str) -> float:
    """What an experiment has cost: the device-seconds of its runs that ended, and those of its floors, which are of no
    run."""
    of_runs = sum(device_costs(storage, experiment).values())
    return of_runs + measuring(read(storage, experiment, "events", {"kind": FLOOR}, ["attempt", "detail"]))


def with_later(storage: Storage, experiment: str, ends: pd.DataFrame) -> pd.Series[float]:
    """The seconds of each of the `outcomes`, with those of measuring the run later."""
    rows = read_arrow(storage, experiment, "metrics", {"name": LATER_SECONDS}, ["run", "value"], without=SLOTS)
    later = rows.group_by("run").aggregate([("value", "sum")])
    places = pc.index_in(pa.array(ends["run"], pa.string()), value_set=later["run"])
    added = pc.fill_null(later["value_sum"].take(places), 0.0)
    return pd.Series(pd.array(added, dtype="double[pyarrow]"), index=ends.index) + ends["seconds"]


def of_best_weights(figures: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """The figures of the weights with which runs ended, and the hash of the data by which they compare: a run that went
    on may have better weights.

    Where runs were trained on several data sets, that is for metrics of held-out images alone the hash of these. What
    an earlier version began does not tell it, and has it from a run on the same data that does, or else is apart."""
    figures = figures.merge(ends[["run", "best_epoch", *DATA]], on="run")
    if figures["data_hash"].nunique() > 1:
        told = ends.dropna(subset="held_out").set_index("data_hash")["held_out"].to_dict()
        figures["data_hash"] = [
            told.get(whole, whole) if is_known(name) and metric_of(name).held_out else whole
            for name, whole in zip(figures["metric"], figures["data_hash"], strict=True)
        ]
    return figures[figures["epoch"] == figures["best_epoch"]]


def having(figures: pd.DataFrame, key: str, chosen: object) -> pd.DataFrame:
    """The figures of which a column has the chosen value. ValueError if there are none (names the values there are)."""
    found = figures[figures[key] == chosen]
    if found.empty:
        there = ", ".join(map(str, sorted(figures[key].dropna().unique()))) or "none"
        raise ValueError(f"{key}={chosen}: the runs have no such figure; there are: {there}")
    return found


def measured_as(name: FigureName, figures: pd.DataFrame, experiments: str, split: str) -> pd.DataFrame:
    """The figures of one name, of best weights. ValueError if there are none (names those there are)."""
    found = name.choose(figures)
    if found.empty:
        raise ValueError(
            f"{name} was measured of no run of {experiments} that ended, on {split} images; measured: "
            f"{', '.join(measured(str(name), figures)) or 'none'}; jobs.evaluate measures more"
        )
    return found


def measured(name: str, figures: pd.DataFrame) -> list[str]:
    """The names of figures, the nearest to `name` first: the same metric ("fid" is a Frechet distance too) before
    others, then the more alike before the less."""

    def kind(figure: str) -> str:
        own = figure.partition("/")[0]
        return FRECHET if own == "fid" else own.partition("_")[0]

    rows = figures[["metric", "subject", "column"]].drop_duplicates().itertuples(index=False)
    there = sorted(str(FigureName(*row)) for row in rows)
    alike = {one: difflib.SequenceMatcher(None, name, one).ratio() for one in there}
    return sorted(there, key=lambda one: (kind(one) != kind(name), -alike[one]))


def only(name: str, values: pd.Series[str], remedy: str) -> str | None:
    """The only value that occurs among `values`; None if they are empty. ValueError if there are several."""
    found = sorted(values.dropna().unique())
    if len(found) > 1:
        raise ValueError(f"the runs' figures have more than one {name}: {', '.join(found)}; {remedy} one of them")
    return found[0] if found else None


def latest(figures: pd.DataFrame) -> pd.DataFrame:
    """Of each run and protocol the last figure: of the latest tick, then of the latest attempt, as of `outcomes`."""
    return last(figures, ["run", "protocol"], ["tick", "attempt"])


def one_protocol(
    figures: pd.DataFrame, remedy: str = "say features=, n_fake= or protocol="
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The figures of the one protocol, on the same data, that all measured runs share, and what that protocol is.
    ValueError if the runs share none, or several (names what differs, in which experiments where there are several, and
    the `remedy`)."""
    if figures.empty:
        return figures, {}
    names = [*PROTOCOL, *DATA]
    measured = figures.groupby(names, dropna=False)["run"].transform("nunique")
    shared = figures[measured == figures["run"].nunique()]
    common = shared[names].drop_duplicates()
    if len(common) != 1:
        kinds = figures[names].drop_duplicates()
        different = [str(name) for name in kinds if kinds[name].nunique(dropna=False) > 1]
        shown = [f"{name}: {', '.join(where(figures, name))}" for name in different]
        told = f"the runs' figures are of {len(kinds)} protocols and are not ranked together"
        raise ValueError("; ".join(filter(None, [told, *shown, remedy])))
    return shared, {str(name): None if pd.isna(value) else value for name, value in common.iloc[0].items()}


def where(figures: pd.DataFrame, name: str) -> list[str]:
    """The values of a column; each with the experiments that have it, where these are several."""
    if "experiment" not in figures or figures["experiment"].nunique() == 1:
        return [str(value) for value in figures[name].unique()]
    parts = figures.groupby(name, dropna=False, sort=False)["experiment"].unique()
    return [f"{value} ({', '.join(sorted(experiments))})" for value, experiments in parts.items()]


def in_each_data_set(figures: pd.DataFrame, remedy: str) -> tuple[pd.DataFrame, dict[str, dict[str, object]]]:
    """As `one_protocol`, among the runs of each data set, which are not ranked against those of another: the figures,
    and data set -> what its protocol is."""
    parts = {str(data): one_protocol(part, remedy) for data, part in figures.groupby("data")}
    found = [part for part, _ in parts.values()]
    return pd.concat(found) if found else figures, {data: common for data, (_, common) in parts.items()}


def shared(protocols: Collection[Mapping[str, object]]) -> dict[str, object]:
    """What protocols have in common."""
    first = next(iter(protocols), {})
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in protocols)}


def varying(wide: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """One row a run of the board, with the settings that differ among the runs, by short names if those are unique."""
    wide = wide[wide["run"].isin(board["run"])]
    keys = [
        key
        for key in wide.columns[2:]
        if key not in board and not key.startswith(NO_COLUMN) and wide[key].nunique() > 1
    ]
    short = [key.rsplit(".", 1)[-1] for key in keys]
    taken = {*board.columns, *(name for name in short if short.count(name) > 1)}
    names = {key: key if name in taken else name for key, name in zip(keys, short, strict=True)}
    return wide[["run", *keys]].rename(columns=names)
