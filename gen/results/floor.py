"""What real held-out images reach in the place of fakes, on record beside the figures that it is to be read with.

It is of no run: each is a row of `events`, of the run "", with the figure as columns of `evals` in its `detail`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from gen.metrics.table import is_known, metric
from gen.results.queries import read, runs
from gen.results.storage import Storage

KIND = "floor"  # of the events
NO_RUN = ""
SAME = (
    "metric",
    "column",
    "split",
    "features_hash",
    "resize",
    "variant",
)  # columns that a figure shares with its floor
ONE_FLOOR = ("split", "column", "features_hash", "n_fake")  # in which figures on the same images have one floor


@dataclass(frozen=True)
class Asked:
    """Figures of which the floor is wanted."""

    held_out: str  # hash of the held-out images; of runs of earlier versions, of all
    split: str
    column: str
    features_hash: str
    n_fake: int  # of the figures; the floor is of as many, where there are so many real images


def lacking(storage: Storage, experiment: str, figures: pd.DataFrame) -> dict[Asked, str]:
    """The floors that are not on record of full `figures`, rows of `evals`, each with a run that has such a figure."""
    has = [is_known(name) and metric(name).floor for name in figures["metric"]]
    figures = figures[has]
    if figures.empty:
        return {}
    begun = runs(storage, experiment, ["run", "data_hash", "held_out"])
    figures = figures.merge(begun.assign(held_out=begun["held_out"].fillna(begun["data_hash"])), on="run")
    keys = ["held_out", *ONE_FLOOR]
    rows = figures.drop_duplicates(keys)[[*keys, "run"]].to_dict("records")
    found = {Asked(**{str(key): row[key] for key in keys}): str(row["run"]) for row in rows}
    told = read(storage, experiment, "events", {"kind": KIND}, ["detail"])["detail"]
    known = {Asked(**json.loads(text)["of"]) for text in told}
    return {one: run for one, run in found.items() if one not in known}


def floor_rows(
    experiment: str, asked: Asked, figures: Collection[Mapping[str, Any]], cost: Mapping[str, float], failure: str = ""
) -> list[dict[str, Any]]:
    """The rows of `events`, without attempt and time, of a floor's figures, each as columns of `evals`, or of the
    `failure` to measure it. `cost`: the `seconds` that it took so many `devices`, and their `share` of what the
    experiment cost."""
    about = {"experiment": experiment, "run": NO_RUN, "tick": 0, "epoch": None, "kind": KIND, "decision": None}
    detail = {"of": asdict(asked), **cost}
    if failure:
        return [{**about, "value": None, "why": f"not measured: {failure}", "detail": json.dumps(detail)}]
    return [
        {
            **about,
            "value": figure["value"],
            "why": f"{figure['metric']} of {figure['n_fake']} real images against {figure['n_real']} of {asked.split}",
            "detail": json.dumps({**detail, **figure}, sort_keys=True),
        }
        for figure in figures
    ]


def measuring(events: pd.DataFrame) -> float:
    """Device-seconds of measuring the floors that are on record in `events`, each once: its figures were measured
    together. Earlier versions measured them on one device, and do not say so."""
    found = dict[tuple[str, Asked], float]()
    for attempt, text in zip(events["attempt"], events["detail"], strict=True):
        detail = json.loads(text)
        found[attempt, Asked(**detail["of"])] = detail["seconds"] * detail.get("devices", 1.0)
    return sum(found.values())


def find_floor(storage: Storage, experiments: Collection[str], protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """As `floor_of`, from the first of several experiments that has it on record."""
    found = (floor_of(read(storage, name, "events", {"kind": KIND}, ["detail"]), protocol) for name in experiments)
    return next((one for one in found if one), None)


def find_floors(
    storage: Storage, experiments: Collection[str], protocols: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any] | None]:
    """Data set -> as `find_floor`, for its protocol."""
    return {data: find_floor(storage, experiments, one) if one else None for data, one in protocols.items()}


def only_one(floors: Mapping[str, dict[str, Any] | None]) -> dict[str, Any] | None:
    """The floor of the only data set; None if there are several."""
    return next(iter(floors.values())) if len(floors) == 1 else None


def value_of(floor: Mapping[str, Any] | None) -> float:
    """The value of a floor; NaN if there is none."""
    return float("nan") if floor is None else float(floor["value"])


def fewer(floor: Mapping[str, Any] | None, protocol: Mapping[str, Any]) -> str:
    """Where a floor is of fewer images than the figures of this `protocol`: "of fewer images: 5,999 against 10,000";
    else ""."""
    of = protocol.get("n_fake")
    if floor is None or of is None or floor["n_fake"] >= of:
        return ""
    return f"of fewer images: {floor['n_fake']:,} against {of:,}"


def floor_lines(table: pd.DataFrame) -> list[str]:
    """A line for each floor beside a table of `compare` or `best_of_k`; of several data sets each says which."""
    floors, protocols = table.attrs["floors"], table.attrs["protocols"]
    found = list[str]()
    for data, floor in floors.items():
        if floor:
            of, less = f" of {data}" * (len(floors) > 1), fewer(floor, protocols[data])
            words = f"{floor['value']:.6g}, of {floor['n_fake']} real held-out images in the place of fakes"
            found.append(f"floor{of}: {words}{', ' * bool(less)}{less}")
    return found


def floor_of(events: pd.DataFrame, protocol: Mapping[str, Any]) -> dict[str, Any] | None:
    """The floor of figures of this `protocol` (of `leaderboard`), as columns of `evals`; None if none is on record."""
    for text in events["detail"]:
        detail = json.loads(text)
        of = detail.pop("of")
        same = all(detail.get(name, "") == protocol.get(name) for name in SAME)
        if (
            same
            and of["n_fake"] == protocol["n_fake"]
            and protocol["data_hash"] in (of["held_out"], detail["data_hash"])
        ):
            return dict(detail)
    return None
