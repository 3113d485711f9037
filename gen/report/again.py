"""The command that trains a run again: every setting is said, so that it is the same run whatever the entry's defaults
become, or were when a search pinned some."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gen.report.facts import Experiment
from gen.results.lineage import EXPLOIT

OPTIONS = {"entry": "--entry", "data.name": "--data", "seed": "--seed", "budget.epochs": "--epochs"}
TOOK_OVER = "no command: it went on from another run's state; these settings are those that it began with"
SAID_OTHERWISE = ("budget.", "machine.", "family", "model.stage_one")


@dataclass(frozen=True)
class Again:
    """The commands of an experiment's runs."""

    shared: str  # how each of them ends: the settings that all runs have
    own: Mapping[str, str]  # run -> how its command begins
    without: Mapping[str, str]  # run that has none -> why, in words

    def of(self, run: str) -> str:
        """The whole command; "" of a run that has none."""
        return f"{self.own[run]} {self.shared}".strip() if run in self.own else ""


def again(experiment: Experiment, runs: Collection[str]) -> Again:
    """The commands of some runs. Runs over the codes of a first stage have none: which one it was is in their settings,
    and may be gone. Nor have runs of a population that took over the state of another run: no settings alone
    lead to their weights."""
    wide = experiment.settings[experiment.settings["run"].isin(runs)].set_index("run")
    keys = [key for key in wide.columns[1:] if not key.startswith(SAID_OTHERWISE) and key not in OPTIONS]
    same = [key for key in keys if wide[key].notna().all() and wide[key].nunique() == 1]
    shared = " ".join(said(key, wide[key].iloc[0]) for key in same) if len(wide) else ""
    different = [key for key in keys if key not in same]
    options = [key for key in OPTIONS if key in wide]
    staged = any(key.startswith("model.stage_one") for key in wide.columns)
    took = experiment.events[experiment.events["kind"] == EXPLOIT]
    without = dict.fromkeys(took["run"][took["decision"] == EXPLOIT].astype(str), TOOK_OVER)
    left = wide.iloc[:0] if staged else wide[~wide.index.isin(without)]
    own = {str(run): command(row, options, different, experiment.name) for run, row in left.iterrows()}
    return Again(shared, own, without)


def command(row: pd.Series[Any], options: list[str], different: list[str], name: str) -> str:
    """How the command of a run begins: its options, and the settings by which it differs from other runs."""
    parts = [f"{OPTIONS[key]} {shlex.quote(text(row[key]))}" for key in options if not pd.isna(row[key])]
    parts += [said(key, row[key]) for key in different if not pd.isna(row[key])]
    return f"python -m jobs.train --name {shlex.quote(f'{name}-again')} {' '.join(parts)}"


def said(key: str, value: object) -> str:
    """A setting as the command line takes it."""
    return f"--set {shlex.quote(f'{key}={text(value)}')}"


def text(value: object) -> str:
    """A value of a setting as the command line takes it: a number as short as it can be without a loss."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)) if isinstance(value, float) else str(value)
