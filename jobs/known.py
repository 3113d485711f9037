"""Configurations that a search knows before it draws any: the entry's own, and those of --start-from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gen.config import RunConfig, essence, flat, override
from gen.metrics.table import FRECHET, direction
from gen.record import names
from gen.results import queries
from gen.results.confirmation import fresh_runs
from gen.results.forget import forgotten
from gen.results.schema import WORST
from gen.results.storage import Storage
from gen.search.samplers import PROPOSAL, QUEUE, Score, Settings, score
from gen.zoo import restore
from tune_spaces.space import is_covered

DEFAULTS: dict[str, Any] = {}  # the entry as it is, with what the user sets
BEST = 5  # configurations of an earlier experiment that are tried again
TRIED = ("model.", "train.")  # what a configuration is made of; images, measures and machines are the new search's


@dataclass(frozen=True)
class Known:
    """What a search begins with."""

    first: Sequence[Settings]  # configurations to try before any is drawn
    source: str = ""  # the earlier experiment that the sampler learns from; "": none


def known(storage: Storage, name: str, config: RunConfig, pinned: Sequence[str], start: str, alone: bool) -> Known:
    """What the search `name` of an entry begins with. A new one begins with the entry's own defaults, unless it is to
    try nothing but what is named, `alone`, and with what `start` names. One on record goes on as it began. ValueError
    if `start` names nothing, or a configuration that this entry cannot have."""
    file = is_file(start)
    note = note_of(storage, name, config.entry)
    if note is not None and not file:
        search = note.get("search", {})
        return Known(search.get("first", []), start or search.get("start_from", ""))
    if note is None and not is_new(storage, name):
        return Known(proposed_first(storage, name, config.entry), "" if file else start)
    first = [] if alone else [DEFAULTS]
    if file:
        return Known(unequal(config, [*first, *read_file(start, config)]))
    if start and start == name:
        raise ValueError(f"start-from={start} is the search's own name; name an earlier experiment, or a file")
    found = ranked(storage, start, config, pinned) if start else []
    others = unequal(config, [*first, *(one for one, end in found if math.isfinite(end.value))])  # no run of it failed
    return Known(others[: len(first) + BEST], start)


def unequal(config: RunConfig, listed: Sequence[Settings]) -> list[Settings]:
    """The configurations of a list that differ, each where it comes first."""
    found = dict[RunConfig, Settings]()
    for one in listed:
        found.setdefault(override(config, one), one)
    return list(found.values())


def is_file(start: str) -> bool:
    """Whether --start-from names a file, not an experiment."""
    return start.endswith((".json", ".jsonl")) or "/" in start


def note_of(storage: Storage, name: str, entry: str) -> dict[str, Any] | None:
    """The note of an experiment about an entry; None if there is none, or none about this entry."""
    notes = [note for of in ("", entry) if (note := names.read_note(storage, name, of))]
    return next((note for note in notes if note["settings"].get("entry") == entry), None)


def is_new(storage: Storage, name: str) -> bool:
    """Whether nothing of an experiment is on record."""
    return name not in storage.folders("") or queries.runs(storage, name).empty


def proposed_first(storage: Storage, name: str, entry: str) -> list[Settings]:
    """What a search whose note is lost began with; of an earlier version nothing."""
    proposed = queries.events(storage, name, kind=PROPOSAL)
    found = map(json.loads, proposed["detail"][proposed["decision"] == QUEUE])
    by_number = {one["number"]: one["settings"] for one in found if one["entry"] == entry}
    return [by_number[number] for number in sorted(by_number)]


def read_file(path: str, config: RunConfig) -> list[Settings]:
    """The configurations of a file: a JSON object of settings, a list of them, or one a line. ValueError, which names
    the place in the file, for what is no configuration of this entry."""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ValueError(f"start-from={path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"start-from={path} is no text; write a JSON object of settings, or a list of them") from None
    try:
        found = json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            found = [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"start-from={path} is not JSON: {error}") from None
    listed = found if isinstance(found, list) else [found]
    if not listed:
        raise ValueError(
            f"start-from={path} holds no configuration; write a JSON object of settings, or a list of them"
        )
    for number, one in enumerate(listed, 1):
        if not isinstance(one, dict):
            raise ValueError(
                f'start-from={path}: configuration {number} is no JSON object, such as {{"model.beta": 4}}'
            )
        try:
            override(config, one)
        except ValueError as error:
            raise ValueError(f"start-from={path}: configuration {number}: {error}") from None
    return listed


def ranked(storage: Storage, experiment: str, config: RunConfig, pinned: Sequence[str]) -> list[tuple[Settings, Score]]:
    """The configurations of an earlier experiment that ended, as settings over `config`, the best first. Those of
    `pinned` settings are the new search's. ValueError if there are none, or if figures that do not compare steered
    them."""
    frame = ended(storage, experiment, config)
    if len(kinds := sorted(frame["metric"].dropna().unique())) > 1:
        raise ValueError(f"start-from={experiment}: its runs were steered by {', '.join(kinds)}, which do not compare")
    sign = 1 if direction(kinds[0]) == "min" else -1
    found = list(scored(frame, config, pinned))
    return sorted(found, key=lambda one: (not one[1].whole, order(sign * one[1].value)))


def order(value: float) -> float:
    """A value to sort by: what is not finite comes last."""
    return value if math.isfinite(value) else math.inf


def ended(storage: Storage, experiment: str, config: RunConfig) -> pd.DataFrame:
    """The runs of an entry in the search of an earlier experiment that ended, with their configs and ends, by their
    names; without those that are to be forgotten."""
    begun = queries.runs(storage, experiment) if experiment in storage.folders("") else pd.DataFrame()
    if begun.empty:
        raise ValueError(
            f"start-from={experiment} is no experiment in {storage} with runs; a file's name ends in .json or has a /"
        )
    begun = begun[~begun["run"].isin(fresh_runs(storage, experiment))]
    of_entry = begun[begun["entry"] == config.entry]
    if of_entry.empty:
        have = ", ".join(sorted(begun["entry"].unique()))
        raise ValueError(f"start-from={experiment} has no runs of entry {config.entry}; it has some of {have}")
    ends = queries.outcomes(storage, experiment)[["run", "status", "metric", "best", "epochs"]]
    frame = of_entry[["run", "config", "data_hash"]].merge(ends, on="run")
    frame = frame[~frame["run"].isin(forgotten(storage, experiment))]
    if frame.empty:
        raise ValueError(f"start-from={experiment} has no run of {config.entry} that ended yet and is not forgotten")
    return pd.DataFrame(frame.sort_values("run", ignore_index=True))


def scored(frame: pd.DataFrame, config: RunConfig, pinned: Sequence[str]) -> Iterator[tuple[Settings, Score]]:
    """The configurations of runs, each with its score over the seeds, in the order of the runs."""
    of_config: dict[str, tuple[Settings, list[tuple[float, float, bool]]]] = {}
    values = frame["best"].to_numpy(dtype=float, na_value=np.nan)
    rows = zip(frame["config"], frame["status"], frame["epochs"], values, strict=True)
    for text, status, epochs, value in rows:
        settings = settings_over(config, restore(text), pinned)
        good = status != "failed" and abs(value) < WORST
        whole = status == "finished" and epochs >= config.budget.epochs
        end = float(value) if good else math.nan, float(epochs), whole
        of_config.setdefault(json.dumps(settings, sort_keys=True), (settings, []))[1].append(end)
    yield from ((settings, score(ends)) for settings, ends in of_config.values())


def settings_over(config: RunConfig, other: RunConfig, pinned: Sequence[str]) -> Settings:
    """The settings of the model and of training that make of `config` what `other` is, but for the pinned ones."""
    own, found = flat(config), flat(other)
    return {
        key: value
        for key, value in found.items()
        if key.startswith(TRIED) and not is_covered(key, pinned) and (key not in own or own[key] != value)
    }


def learned(
    storage: Storage, experiment: str, config: RunConfig, pinned: Sequence[str], data_hash: str
) -> tuple[list[tuple[Settings, Score]], str]:
    """What a sampler learns from an earlier experiment: configurations with their scores, of the runs whose figure,
    images and protocol are those of the new search. And a line that counts these runs."""
    frame = ended(storage, experiment, config)
    same_figure = frame["metric"].map(lambda metric: is_figure(str(metric), config.evaluate.metric))
    same_images = frame["data_hash"] == data_hash
    alike = frame["config"].map(lambda text: terms(restore(text)) == terms(config))
    used = frame[same_figure & same_images & alike]
    others = {
        "another figure": ~same_figure,
        "other images": same_figure & ~same_images,
        "another protocol": same_figure & same_images & ~alike,
    }
    told = [f"{count} go by {why}" for why, mask in others.items() if (count := int(mask.sum()))]
    left = f" ({'; '.join(told)})" if told else ""
    line = f"start-from {experiment}: the sampler learns from {len(used)} of {len(frame)} ended runs{left}"
    return list(scored(pd.DataFrame(used), config, pinned)), line


def is_figure(metric: str, asked: str) -> bool:
    """Whether the figure that steered a run is the one asked for; "frechet/fakes" is the distance in anybody's
    features."""
    own, _, subject = asked.partition("/")
    distance = metric.startswith((f"{FRECHET}_", "fid/")) and metric.partition("/")[2] == subject
    return metric == asked or (own == FRECHET and distance)


def terms(config: RunConfig) -> Mapping[str, Any]:
    """The settings by which figures of runs compare: those of the images and of the measures."""
    own = ("evaluate.metric", "evaluate.mode", "evaluate.every", "data.label_seed")
    return {
        key: value
        for key, value in essence(config).items()
        if key.startswith(("data.", "evaluate.")) and key not in own
    }
