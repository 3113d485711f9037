"""Rows of `runs`, `settings` and `outcomes` that were lost, made anew from checkpoints, notes and the other tables."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import torch

from gen.config import RunConfig, identity
from gen.phase import Shape
from gen.record import checkpoint
from gen.record.names import NOTE
from gen.record.progress import Progress
from gen.record.record import outcome_row, setting_rows
from gen.results import queries
from gen.results.ledger import begin_of, new_attempt
from gen.results.mend import put_rebuilt
from gen.results.schema import LATER_SECONDS
from gen.results.storage import Storage
from gen.results.survey import Fault, Survey
from gen.search.samplers import PROPOSAL
from gen.zoo import restore

CPU = torch.device("cpu")
WHY = "rebuilt by jobs.check"
WITHOUT = "without its images a second and what tells a collapse"
TABLES = ("runs", "settings", "outcomes")  # in this order: settings are made from runs, outcomes from both


def rebuild(storage: Storage, experiment: str, found: Survey, faults: list[Fault]) -> list[str]:
    """Writes those rows of `faults` that can be made anew; a line for each run and table: what was done, or why not."""
    lines = []
    for table in TABLES:
        runs = [one.run for one in faults if one.run and one.table == table and one.kind in ("missing", "unfinished")]
        for run in runs:
            try:
                source = MAKERS[table](storage, experiment, run, found)
            except (ValueError, KeyError, TypeError) as error:
                lines.append(f"not rebuilt {table:10}{run}: {error}")
            else:
                lines.append(f"rebuilt    {table:10}{run}, from {source}")
    return lines


def states(storage: Storage, experiment: str, run: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The checkpoints of a run that can be read, with their names, the last state first."""
    folder = checkpoint.folder(experiment, run)
    for name in reversed(storage.list(folder)):
        try:
            state = checkpoint.load(storage, f"{folder}/{name}", CPU)
        except ValueError:  # damaged
            continue
        if state is not None:
            yield name, state


def rebuild_run(storage: Storage, experiment: str, run: str, found: Survey) -> str:
    """Writes the row of `runs` of a run with a checkpoint, which holds its config. ValueError if there is none."""
    kept = dict(states(storage, experiment, run))
    if not kept:
        raise ValueError("it has no checkpoint")
    name, state = next(iter(kept.items()))
    config = restore(state["config"])
    own = [one["data"]["hash"] for one in kept.values() if "data" in one]
    noted = [data for data in hashes(storage, experiment) if identity(config, data) == run]
    if not own + noted:
        raise ValueError("nothing tells its images")
    others = queries.runs(storage, experiment)
    like = others[others["data_hash"] == (own + noted)[0]].head(1).to_dict("records")
    attempt = attempt_of(found, run)
    row = {
        "entry": config.entry,
        "family": config.family,
        "data": like[0]["data"] if like else config.data.name,
        "data_hash": (own + noted)[0],
        "held_out": like[0]["held_out"] if like else None,
        "seed": config.seed,
        "config": state["config"],
        "code_version": "",
        "packages": "{}",
        "hosts": [],
        "device": config.machine.device,
        "threads": config.machine.threads,
        "world_size": config.machine.workers,
        "devices": like[0]["devices"] if like and like[0]["world_size"] == config.machine.workers else None,
        "parameters": parameters(config, kept),
        "started": begin_of(attempt),
    }
    here = {"experiment": experiment, "run": run, "attempt": attempt}
    put_rebuilt(storage, experiment, "runs", run, 0, [here | row])
    lacks = ["code version", "packages", *(["share of a GPU"] if row["devices"] is None else [])]
    return f"{name}; without its {', '.join(lacks)} and hosts"


def hashes(storage: Storage, experiment: str) -> set[str]:
    """The hashes of images that the notes of an experiment name."""
    notes = [name for name in storage.list(experiment) if re.fullmatch(NOTE.replace(".", r"(-.+)?\."), name)]
    found = set()
    for name in notes:
        told = json.loads(storage.get(f"{experiment}/{name}") or b"{}").get("data_hash", "")
        found |= set(told.values()) if isinstance(told, dict) else {told}
    return found - {""}


def parameters(config: RunConfig, kept: dict[str, dict[str, Any]]) -> int:
    """How many numbers the run learns."""
    shape = next((state["shape"] for state in kept.values() if "shape" in state), None)
    if shape is None:
        raise ValueError("it has no best weights, which tell the shape of its images")
    return int(config.model.build(Shape(*shape)).count_learned())


def attempt_of(found: Survey, run: str) -> str:
    """The first attempt that wrote a row of the run; one of now if none is left. An attempt that only proposed it, and
    was killed before the run began, is none."""
    attempts = [
        frame.loc[(frame["run"] == run) & (frame.get("kind") != PROPOSAL), "attempt"] for frame in found.keys.values()
    ]
    return min((str(one) for of_table in attempts for one in of_table), default=new_attempt())


def rebuild_settings(storage: Storage, experiment: str, run: str, found: Survey) -> str:
    """Writes the rows of `settings` of a run, from its row of `runs`. ValueError if that is missing too."""
    rows = queries.read(storage, experiment, "runs", {"run": run}).to_dict("records")
    if not rows:
        raise ValueError("its row of runs is missing too")
    here = {"experiment": experiment, "run": run, "attempt": rows[-1]["attempt"]}
    made = [here | row for row in setting_rows(restore(rows[-1]["config"]))]
    put_rebuilt(storage, experiment, "settings", run, 0, made)
    return "runs"


def rebuild_outcome(storage: Storage, experiment: str, run: str, found: Survey) -> str:
    """Writes the row of `outcomes` of a run that ended, as its last checkpoint says, or its last tick and the decisions
    of its search. ValueError if these do not tell that it ended."""
    kept = dict(states(storage, experiment, run))
    last = kept.get("last.pt")
    if last is not None and not last["progress"]["status"]:
        raise ValueError("submit the same again: it goes on from its checkpoint and writes its end")
    ticks = queries.read(storage, experiment, "metrics", {"run": run}).sort_values("tick")
    begun = queries.read(storage, experiment, "runs", {"run": run})
    best = {name: state for name, state in kept.items() if "metric" in state}
    if not best or ticks.empty or begun.empty:
        raise ValueError(
            "it has no best weights, or no rows of runs or metrics; submit the same again to train it again"
        )
    name, state = next(iter(best.items()))
    if last is None:
        row, source = (
            end_of_ticks(storage, experiment, run, name, state, ticks),
            f"{name}, metrics and events; {WITHOUT}",
        )
    else:
        row, source = end_of_state(last, experiment, run), "last.pt"
    row |= {"experiment": experiment, "run": run, "attempt": str(ticks["attempt"].iloc[-1])}
    row |= {"metric": state["metric"], "why": f"{row['why']}; {WHY}"}
    row |= {"parameters": int(begun["parameters"].iloc[-1]), "ended": datetime.now(UTC)}
    put_rebuilt(storage, experiment, "outcomes", run, row["tick"] + 1, [row])
    return source


def end_of_state(last: dict[str, Any], experiment: str, run: str) -> dict[str, Any]:
    """The row of a run whose last state was stored when it had ended: it tells all that the row did."""
    stepper, every = last["stepper"], restore(last["config"]).evaluate.every
    folder = checkpoint.folder(experiment, run)
    return outcome_row(Progress(**last["progress"]), folder, every, stepper["step"], stepper["images"])


def end_of_ticks(
    storage: Storage, experiment: str, run: str, name: str, state: dict[str, Any], ticks: pd.DataFrame
) -> dict[str, Any]:
    """The row of a run of which only the best weights are left, `state` in the file `name`. ValueError if its `ticks`
    and the decisions of its search do not tell that it ended."""
    last, config = ticks.iloc[-1], restore(state["config"])
    decided = queries.read(storage, experiment, "events", {"run": run, "kind": "rung"}).sort_values(["attempt", "time"])
    stops = decided[decided["decision"] == "stop"]
    stopped = bool(len(stops) and stops["epoch"].iloc[-1] <= last["epoch"])
    if not stopped and last["epoch"] < config.budget.epochs:
        raise ValueError("neither its ticks nor a decision tell that it ended; submit the same again")
    figures = queries.read(storage, experiment, "evals", {"run": run, "scope": "tick"})
    metric, subject, *column = str(state["metric"]).split("/")
    now = figures[(figures["tick"] == last["tick"]) & (figures["metric"] == metric) & (figures["subject"] == subject)]
    now = now[now["column"] == (column[0] if column else "image")]
    value = float(now["value"].iloc[-1]) if len(now) and now["value"].notna().all() else math.nan
    told = stops["why"].iloc[-1] if stopped else f"{config.budget.epochs} epochs"
    return {
        "tick": int(last["tick"]),
        "status": "stopped" if stopped else "finished",
        "why": f"{'stopped by the scheduler: ' if stopped else ''}{told}",
        "best": state["value"],
        "best_epoch": state["epoch"],
        "last": value if math.isfinite(value) else None,
        "checkpoint": f"{checkpoint.folder(experiment, run)}/{name}",
        "epochs": float(last["epoch"]),
        "steps": int(last["step"]),
        "images": int(last["images"]),
        "seconds": float(ticks["seconds"][ticks["name"] != LATER_SECONDS].max()),  # those of measuring are added
    }


MAKERS = {"runs": rebuild_run, "settings": rebuild_settings, "outcomes": rebuild_outcome}
