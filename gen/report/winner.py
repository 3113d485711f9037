"""The answer of an experiment, and how far to trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gen import results
from gen.report.facts import LEFT, RUNNING, Experiment, unit_of
from gen.results.comparison import interval
from gen.results.confirmation import KIND, WIN
from gen.results.ranking import PROTOCOL, of_best_weights, one_protocol

CONFIDENCE = 0.95  # of intervals
ALIKE = tuple(name for name in PROTOCOL if name not in ("split", "n_real", "n_fake", "protocol"))
"""What a figure on test images has in common with the same figure on validation images."""


@dataclass(frozen=True)
class Winner:
    """The configuration that fresh seeds confirmed; else the one that is ranked first; else, where none has a full
    figure, the one whose runs steered best."""

    run: str  # the best run of the configuration
    figure: str
    unit: str
    value: float  # mean over the runs
    epoch: float  # of the best weights of that run
    settings: Mapping[str, Any]  # those that vary, by their short names
    png: bytes  # a stored picture of these weights; empty: none
    kind: str  # of the picture
    split: str = "validation"
    low: float = math.nan  # Student's interval of the mean; NaN of one run
    high: float = math.nan
    runs: int = 1  # that the mean is of
    full: bool = False  # whether it is a full figure of best weights; else the cheap figure that steered
    images: int = 0  # real images that it was measured on; 0: not told
    test: float = math.nan  # the same figure on test images, a mean over the runs that have it; NaN: none has
    test_runs: int = 0
    test_images: int = 0  # real ones, that this was measured on
    test_why: str = ""  # why there is none, where some are on record
    rivals: int = -1  # others that are ranked and whose interval meets the winner's; -1: there are no intervals
    configurations: int = 0  # that are ranked, or raced with fresh seeds
    confirmed: bool = False  # whether the runs are of fresh seeds, and the figure of test images
    searched: float = math.nan  # the mean by which the search chose what was confirmed


def winner(experiment: Experiment) -> Winner | None:
    """The winner; None if no run ended with a value."""
    ranked = experiment.configurations
    if len(ranked) and ranked["confirmed"].notna().any():
        return of_confirmation(experiment, ranked[ranked["confirmed_n"] > 0])
    ranked = ranked[ranked["rank"].notna()] if len(ranked) else ranked
    if len(ranked):
        return of_configuration(experiment, ranked)
    return of_steering(experiment)


def of_steering(experiment: Experiment) -> Winner | None:
    """The configuration with the best mean of the cheap figures that steered its runs, of those all of whose ended runs
    have one; None if no run has one."""
    ended = experiment.searched[experiment.searched["ended"].notna()]
    groups = ended.groupby("configuration", sort=False)["best"]
    told = pd.DataFrame({"mean": groups.mean(), "n": groups.count(), "runs": groups.size()})
    told = told[told["mean"].notna()]
    if told.empty or not experiment.metric:
        return None
    sign = 1 if experiment.mode == "min" else -1
    order = np.lexsort([sign * told["mean"].to_numpy(dtype=float), (told["n"] < told["runs"]).to_numpy(dtype=bool)])
    own = ended[ended["configuration"] == told.index[order[0]]]
    best = own.iloc[int(np.nanargmin(sign * own["best"].to_numpy(dtype=float)))]
    low, high = interval(own["best"].dropna(), CONFIDENCE)
    png, kind = picture(experiment, best["run"])
    return Winner(
        run=best["run"],
        figure=experiment.metric,
        unit=experiment.unit,
        value=float(own["best"].mean()),
        low=low,
        high=high,
        runs=int(own["best"].count()),
        epoch=float(best["best_epoch"]),
        settings=chosen(experiment, best["run"]),
        png=png,
        kind=kind,
    )


def of_confirmation(experiment: Experiment, raced: pd.DataFrame) -> Winner:
    """Of the configurations with fresh seeds the one that the race says won. While it goes on, of those of most seeds
    the one whose fresh seeds steered best: test images choose nothing."""
    own = dict(zip(experiment.runs["run"], experiment.runs["configuration"], strict=True))
    raced = raced.assign(configuration=raced["run"].map(own))
    won = raced[raced["configuration"] == own.get(race_winner(experiment), -1)]
    last = won if len(won) else raced[raced["confirmed_n"] == raced["confirmed_n"].max()]
    ranked = experiment.runs["fresh"] & (experiment.runs["forgotten"] == "")
    fresh = experiment.runs[ranked].groupby("configuration")["best"].mean().to_dict()
    sign = 1 if experiment.mode == "min" else -1
    merit = [sign * fresh.get(one, math.nan) for one in last["configuration"]]
    first = last.iloc[int(np.argsort(merit, kind="stable")[0])]  # NaN is last
    low, high = (float(first[name]) for name in ("confirmed_low", "confirmed_high"))
    told = experiment.configurations.attrs.get("confirmed_protocol", {})
    png, kind = picture(experiment, first["run"])
    return Winner(
        run=first["run"],
        figure=experiment.figure or experiment.metric,
        unit=unit_of(experiment.figure or experiment.metric),
        value=float(first["confirmed"]),
        epoch=float(experiment.runs["best_epoch"][experiment.runs["run"] == first["run"]].iloc[0]),
        settings=chosen(experiment, first["run"]),
        png=png,
        kind=kind,
        split="test",
        low=low,
        high=high,
        runs=int(first["confirmed_n"]),
        full=True,
        images=int(told.get("n_real") or 0),
        rivals=-1 if math.isnan(low) else meets(raced, "confirmed", low, high) - 1,
        configurations=len(raced),
        searched=float(first["mean"]) if not pd.isna(first["mean"]) else math.nan,
        confirmed=True,
    )


def race_winner(experiment: Experiment) -> str:
    """The run that entered for the configuration which won the latest race of a confirmation; "": none has yet."""
    events = experiment.events[experiment.events["kind"] == KIND].sort_values(["attempt", "time"], kind="stable")
    races = [int(json.loads(detail)["race"]) for detail in events["detail"]]
    latest = events[np.array([race == max(races) for race in races], dtype=bool)]
    won = latest["run"][latest["decision"] == WIN]
    return str(won.iloc[-1]) if len(won) else ""


def meets(table: pd.DataFrame, mean: str, low: float, high: float) -> int:
    """How many rows have an interval that meets the one from `low` to `high`, or, without one, a mean in it."""
    before = "" if mean == "mean" else f"{mean}_"
    lows, highs, means = (
        table[name].to_numpy(dtype=float, na_value=math.nan) for name in (f"{before}low", f"{before}high", mean)
    )
    inside = np.isnan(lows) & (means >= low) & (means <= high)
    return int((((lows <= high) & (highs >= low)) | inside).sum())


def of_configuration(experiment: Experiment, ranked: pd.DataFrame) -> Winner:
    """The first row of the ranked configurations."""
    first, about = ranked.iloc[0], experiment.protocol
    low, high = float(first["low"]), float(first["high"])
    own = experiment.runs["configuration"][experiment.runs["run"] == first["run"]].iloc[0]
    runs = list(experiment.searched["run"][experiment.searched["configuration"] == own])
    test, test_images, test_why = test_figures(experiment, runs)
    rivals = -1 if math.isnan(low) else meets(ranked, "mean", low, high) - 1
    png, kind = picture(experiment, first["run"])
    epoch = experiment.runs["best_epoch"][experiment.runs["run"] == first["run"]].iloc[0]
    return Winner(
        run=first["run"],
        figure=experiment.figure,
        unit=unit_of(experiment.figure),
        value=float(first["mean"]),
        epoch=float(epoch),
        settings=chosen(experiment, first["run"]),
        png=png,
        kind=kind,
        split=str(about["split"]),
        low=low,
        high=high,
        runs=int(first["n"]),
        full=True,
        images=int(about.get("n_real") or 0),
        test=float(np.mean(test)) if test else math.nan,
        test_runs=len(test),
        test_images=test_images,
        test_why=test_why,
        rivals=rivals,
        configurations=len(ranked),
    )


def test_figures(experiment: Experiment, runs: Collection[str]) -> tuple[list[float], int, str]:
    """The full figures of these runs on test images, by which nothing was chosen, and how many real images they are of;
    or why there are none, though some are on record.

    They are measured as the ranked figure was, but for the images. Of several protocols of these runs it is the one
    that all runs with such figures share: who measures some of them again in another way changes nothing."""
    about, ends = experiment.protocol, experiment.searched
    equal = {"scope": "best", "split": "test", "metric": about["metric"], "run": set(ends["run"])}
    columns = ["run", "attempt", "tick", "epoch", *PROTOCOL, "value"]
    figures = results.queries.read(experiment.storage, experiment.name, "evals", equal, columns)
    for name in ALIKE:
        wanted = about.get(name)
        figures = figures[figures[name].isna() if wanted is None else (figures[name] == wanted).fillna(False)]
    own_images = about["n_fake"] == about["n_real"]  # made from the real ones: as many as the split has
    figures = figures[figures["n_fake"] == (figures["n_real"] if own_images else about["n_fake"])]
    figures = of_best_weights(figures, ends)
    figures = results.queries.last(figures, ["run", "protocol"], ["attempt", "tick"])
    why = ""
    for some in (figures[figures["run"].isin(list(runs))], figures):
        try:
            shared, common = one_protocol(some, remedy="")
        except ValueError as several:
            why = str(several)
            continue
        values = shared["value"][shared["run"].isin(list(runs))].astype(float)
        found = [float(value) for value in values if math.isfinite(value)]
        return found, int(str(common["n_real"])) if found else 0, ""
    return [], 0, why


def chosen(experiment: Experiment, run: str) -> dict[str, Any]:
    """The settings of a run that vary among the runs, by names as short as may be."""
    row = experiment.settings[experiment.settings["run"] == run].iloc[0]
    names = short_names(experiment.varying)
    return {names[key]: row[key] for key in experiment.varying if not pd.isna(row[key])}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, or the whole key where two would be called the same."""
    short = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: name if short.count(name) == 1 else key for key, name in zip(keys, short, strict=True)}


def picture(experiment: Experiment, run: str) -> tuple[bytes, str]:
    """The latest stored picture of a run, and its kind; nothing if none is stored."""
    columns = ["kind", "epoch", "attempt", "png"]
    stored = results.queries.read(experiment.storage, experiment.name, "samples", {"run": run}, columns)
    if stored.empty:
        return b"", ""
    best = experiment.runs["best_epoch"][experiment.runs["run"] == run].iloc[0]
    of_best = stored[stored["epoch"] == best]
    stored = (of_best if len(of_best) else stored).sort_values(["epoch", "kind", "attempt"], kind="stable")
    first = stored[stored["epoch"] == stored["epoch"].max()].iloc[0]
    return bytes(first["png"]), str(first["kind"])


def doubts(experiment: Experiment, found: Winner) -> list[str]:
    """What a reader of the winner's value should know, in sentences: the gravest first."""
    lines = []
    going = experiment.count(RUNNING) + experiment.count(LEFT)
    if going:
        what = "still train" if experiment.holder else "were begun and have not ended"
        lines.append(f"{going:,} of {len(experiment.runs):,} runs {what}: the winner may change.")
    elif experiment.holder:
        lines.append("A job still writes the experiment: the winner may change.")
    if not found.full:
        size = "smallest" if experiment.mode == "min" else "largest"
        lines.append(
            f"No full figure yet: this is the {size} of many cheap figures on the images that chose it: it flatters."
        )
    if found.runs < 2:
        lines.append("It is of one run: what another seed would give is not known. Several seeds (--seeds 3) tell it.")
    if found.rivals > 0:
        whom = f"{found.rivals:,} of {found.configurations - 1:,} others that were "
        whom += "confirmed" if found.confirmed else "ranked"
        lines.append(f"{whom} cannot be told apart from it: the intervals meet.")
    if found.test_why:
        lines.append(f"No figure of test images stands here: {found.test_why}.")
    elif found.full and found.split == "validation" and math.isnan(found.test):
        lines.append("The images that measured it also chose it, and no figure of test images is on record.")
    versions = experiment.runs["code_version"].dropna().unique()
    if len(versions) > 1:
        lines.append(f"The runs are of {len(versions)} versions of the code: {', '.join(sorted(versions))}.")
    own = experiment.runs[experiment.runs["run"] == found.run].iloc[0]
    if isinstance(own["collapsed"], str):
        lines.append(f"The winner's game collapsed at {own['collapsed']}; its best weights may be good.")
    elif found.epoch >= own["budget"] > 0:
        lines.append("Its best weights are those of its last epoch: longer training may give better ones.")
    if experiment.protocol.get("deficient") is True:
        lines.append("It was measured with fewer fakes than feature dimensions: compare it with nothing else.")
    return lines
