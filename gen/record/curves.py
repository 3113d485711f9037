"""The learning curves of an experiment as the replay of a search takes them: what steered each run, tick by tick."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gen.metrics.table import direction
from gen.record import names
from gen.results import queries
from gen.results.comparison import configuration_of
from gen.results.confirmation import fresh_runs
from gen.results.forget import forgotten
from gen.results.lineage import EXPLOIT
from gen.results.parquet import read_files
from gen.results.questions import FigureName, figure_name
from gen.results.ranking import DEVICES, devices_on_record, only
from gen.results.schema import MEASURED_LATER, SCHEMAS, WORST
from gen.results.storage import Storage
from gen.search.replay import Curve
from gen.search.samplers import ENDLESS, PROPOSAL, TPE

TICKS = ["run", "tick", "epoch", "seconds"]


@dataclass(frozen=True)
class Recorded:
    """The curves of an experiment, in the order in which its runs were proposed."""

    curves: Sequence[Curve]
    metric: str
    mode: str
    every: int  # epochs between two ticks
    devices: float  # that a run takes
    notices: Sequence[str]  # lines that count what is not there


def recorded(storage: Storage, experiment: str) -> Recorded:
    """Reads the curves of those runs of the search that ended, without its confirmation's and the forgotten ones.
    ValueError if there are none, or if several figures steered them."""
    ends, fresh = queries.outcomes(storage, experiment), fresh_runs(storage, experiment)
    gone = forgotten(storage, experiment).keys() - fresh.keys()
    without = {*fresh, *gone}
    ends = ends[~ends["run"].isin(without)]
    if ends.empty:
        more = f" but {len(gone)} that are forgotten" if gone else ""
        raise ValueError(f"no run of {experiment} in {storage} has ended{more}: there is nothing to replay")
    if any(queries.events(storage, experiment, kind=EXPLOIT)["decision"] == EXPLOIT):
        raise ValueError(
            f"{experiment} in {storage} is a population, whose runs took over from each other: a curve is of several "
            "settings, and no other search would have had it; replay a search without"
        )
    metric = str(only("metric that selected them", ends["metric"], f"replay an experiment of {storage} that has"))
    told = queries.settings(storage, experiment)
    figures = queries.read(storage, experiment, "evals", {"scope": "tick", "split": "validation"})
    values = of_figure(figures[~figures["run"].isin(without)], figure_name(metric), "value")
    rows = ticks(storage, experiment).merge(values, on=["run", "tick"])
    paired = len(rows)
    rows = floored(rows, told, figures, 1 if direction(metric) == "min" else -1)
    begun = queries.read(storage, experiment, "runs", columns=["run", "started", *DEVICES, "entry", "seed"])
    begun = begun[~begun["run"].isin(without)].sort_values("started", kind="stable").drop_duplicates("run")
    of = configuration_of(told)
    order = as_proposed(storage, experiment, begun)
    rows = rows[rows["run"].isin(ends["run"]) & rows["run"].isin(of)].sort_values(["run", "tick"])
    by_run = dict(list(rows.groupby("run")))
    curves = [curve(str(run), str(of[run]), by_run[run]) for run in order if run in by_run]
    if not curves:
        raise ValueError(f"no run of {experiment} in {storage} has figures of {metric} by tick: nothing to replay")
    last = max(one.epochs[-1] for one in curves)
    short = sum(one.epochs[-1] < last for one in curves)
    taken = devices_on_record(begun)
    devices = float(taken.mode()[0])
    counts = (
        (len(gone), f"of {len(order) + len(gone)} runs are forgotten: left out"),
        (len(order) - len(ends), f"of {len(order)} runs have not ended: left out"),
        (len(ends) - len(curves), f"of {len(ends)} runs that ended have no figure by tick: left out"),
        (len(values) - paired, f"of {len(values)} figures by tick are of ticks without seconds: left out"),
        (short, f"of {len(curves)} runs are on record up to before epoch {last:g}: the replay ends them there too"),
        (
            int((taken != devices).sum()),
            f"of {len(order)} runs did not take {devices:g} devices: they count as if they had",
        ),
    )
    every = max(round(min(one.epochs[0] for one in curves)), 1)
    lines = [f"{count} {told}" for count, told in counts if count > 0]
    return Recorded(curves, metric, direction(metric), every, devices, lines)


def as_proposed(storage: Storage, experiment: str, begun: pd.DataFrame) -> list[str]:
    """The runs that were `begun` (a row each, the first one first) in the order in which a search takes them: that of
    their proposals' numbers, and the seeds of a configuration in theirs. Several entries come one after another, or,
    where their proposals are made on the way, in turn. Runs of which no proposal is on record are the last ones: only a
    clock tells in which order they began."""
    rows = queries.events(storage, experiment, kind=PROPOSAL)
    first: dict[str, int] = {}
    for run, detail in zip(rows["run"], map(json.loads, rows["detail"]), strict=True):
        first[run] = min(detail["number"], first.get(run, detail["number"]))
    note = names.read_note(storage, experiment) or {}
    places = {entry: place for place, entry in enumerate(note.get("entries", []))}
    in_turn = TPE in set(rows["decision"]) or note.get("samples") == ENDLESS

    def key(row: tuple[str, str, int]) -> tuple[float, ...]:
        run, entry, seed = row
        number, place = first.get(run, math.inf), places.get(entry, 0)
        own = (number, place) if in_turn else (place, number)
        return (*own, seed) if run in first else (math.inf,)

    return [run for run, *_ in sorted(zip(begun["run"], begun["entry"], begun["seed"], strict=True), key=key)]


def of_figure(figures: pd.DataFrame, name: FigureName, column: str) -> pd.DataFrame:
    """The values of a figure by run and tick, as `column`; of several attempts at a tick the last one counts."""
    found = queries.last(name.choose(figures), ["run", "tick"], ["attempt"])
    found = found[found["column"] == (name.column or "image")] if len(found["column"].unique()) > 1 else found
    return found[["run", "tick", "value"]].rename(columns={"value": column})


def ticks(storage: Storage, experiment: str) -> pd.DataFrame:
    """Epoch of each tick of each run, and the seconds that the run had cost by then, without measuring it in full."""
    table = read_files(storage, f"{experiment}/metrics", SCHEMAS["metrics"], columns=[*TICKS, "name"])
    later = pc.is_in(table["name"], value_set=pa.array(MEASURED_LATER))  # with its seconds alone
    table = table.filter(pc.invert(later))
    first = table.group_by(["run", "tick"]).aggregate([("epoch", "min"), ("seconds", "min")])
    frame: pd.DataFrame = first.to_pandas().rename(columns={"epoch_min": "epoch", "seconds_min": "seconds"})
    return frame


def floored(rows: pd.DataFrame, told: pd.DataFrame, figures: pd.DataFrame, sign: int) -> pd.DataFrame:
    """The rows with the value that steered: of weights below a run's floor it is the worst, as in training."""
    numbers = rows["value"].to_numpy(dtype=float, na_value=math.nan)
    names = told.set_index("run")["evaluate.floor"].dropna() if "evaluate.floor" in told else pd.Series(dtype=object)
    for floor in sorted({str(name) for name in names} - {""}):
        least = told.set_index("run")["evaluate.least"].astype(float)
        beside = rows.merge(of_figure(figures, figure_name(floor), "floor"), on=["run", "tick"], how="left")
        over = beside["floor"].to_numpy(dtype=float, na_value=math.nan) >= rows["run"].map(least).to_numpy(dtype=float)
        mine = (rows["run"].map(names) == floor).to_numpy(dtype=bool, na_value=False)
        numbers = np.where(mine & ~over, sign * WORST, numbers)
    return rows.assign(value=numbers)


def curve(run: str, configuration: str, rows: Any) -> Curve:
    """The curve of one run, from its rows in the order of ticks."""
    columns = (rows[name].astype(float).tolist() for name in ("epoch", "value", "seconds"))
    return Curve(run, configuration, *columns)
