"""Curves by epoch, from an experiment's tables: jobs.sample --curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from gen import results
from gen.pictures.curves import Shown, plot
from gen.pictures.files import plot_png
from gen.results.comparison import LUCK, configuration_of

NAMED = 4  # settings in a legend, at most


def curves(
    storage: results.Storage, name: str, asked: Sequence[str], runs: Sequence[str]
) -> Iterator[tuple[str, bytes, str]]:
    """One plot a quantity: its name, its PNG file and a description. `runs`: those to plot, the best first."""
    frame = results.curves(storage, name, asked, runs[0] if len(runs) == 1 else None)
    frame = frame[frame["run"].isin(runs)]
    shown = legend_of(results.settings(storage, name), runs)
    begun = results.runs(storage, name)
    data = ", ".join(sorted(begun["data"][begun["run"].isin(runs)].unique()))
    for quantity, lines in frame.groupby("quantity"):
        names = lines[["name", "split"]].drop_duplicates()
        drawn = ", ".join(f"{line} ({split})" for line, split in names.itertuples(index=False))
        present = {run: one for run, one in shown.items() if run in set(lines["run"])}
        missing = f"; {len(runs) - len(present)} runs have no value yet" if len(present) < len(runs) else ""
        text = f"{drawn} by epoch; runs: {len(present)} of {name} on {data}{missing}"
        figure = plot(lines, present, f"{quantity} of {name} on {data}, {len(present)} runs")
        yield str(quantity), plot_png(figure, text), text


def legend_of(settings: pd.DataFrame, runs: Sequence[str]) -> dict[str, Shown]:
    """Run -> what a legend calls it: the settings in which the configurations differ, behind the beginning of the id of
    the first run of each; and its seed, if the configuration has several."""
    chosen = settings[settings["run"].isin(runs)]
    rows, number = chosen.set_index("run").drop(columns="experiment"), configuration_of(chosen)
    members = dict[int, list[str]]()
    for run in runs:
        members.setdefault(number[run], []).append(run)
    varied = [str(key) for key in rows if rows[key].nunique(dropna=False) > 1]
    seeds, keys = [key for key in LUCK if key in varied], [key for key in varied if key not in LUCK][:NAMED]
    found = {}
    for run in runs:
        first, *others = members[number[run]]
        told, luck = words(rows, run, keys), words(rows, run, seeds)
        more = [f"({1 + len(others)} seeds)"] if others else luck
        found[run] = Shown(" ".join([first[:6], *told, *more]), " ".join(luck) if others else "")
    return found


def words(rows: pd.DataFrame, run: str, keys: Sequence[str]) -> list[str]:
    """Settings of a run in few characters."""
    return [f"{key.rsplit('.', 1)[-1]}={short(rows.at[run, key])}" for key in keys]


def short(value: Any) -> str:
    """A setting's value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
