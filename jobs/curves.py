"""Curves by epoch, from an experiment's tables: jobs.sample --curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gen import results
from gen.pictures.files import plot_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 9  # runs in colours of their own: the best; the others are grey
GREY = 7  # among matplotlib's ten colours
NAMED = 4  # settings in a legend, at most
STYLES = {True: ("--", ":", "-."), False: ("-", (0, (5, 1)), (0, (1, 1)))}  # lines: training, figures


def curves(
    storage: results.Storage, name: str, asked: Sequence[str], runs: Sequence[str]
) -> Iterator[tuple[str, bytes, str]]:
    """One plot a quantity: its name, its PNG file and a description. `runs`: those to plot, the best first."""
    frame = results.curves(storage, name, asked, runs[0] if len(runs) == 1 else None)
    frame = frame[frame["run"].isin(runs)]
    labels = legend_of(results.settings(storage, name), runs)
    for quantity, lines in frame.groupby("quantity"):
        names = lines[["name", "split"]].drop_duplicates()
        shown = ", ".join(f"{line} ({split})" for line, split in names.itertuples(index=False))
        figure = plot(lines, labels, f"{name}: {quantity}")
        yield str(quantity), plot_png(figure), f"{shown} by epoch; runs: {lines['run'].nunique()}"


def plot(lines: pd.DataFrame, labels: dict[str, str], title: str) -> Figure:
    """One line for each run and name. Colours tell the runs, dashes the names: training is dashed, validation solid."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    palette = [colour for number, colour in enumerate(colormaps["tab10"](range(10))) if number != GREY]
    colours = dict(zip(labels, palette[:SHOWN], strict=False))
    styles: dict[str, Any] = {}
    for name, split in lines[["name", "split"]].drop_duplicates().itertuples(index=False):
        pool = STYLES[split == "train"]
        taken = sum(style in pool for style, _ in styles.values())
        styles[name] = (
            pool[taken % len(pool)],
            f"{name} ({'training, mean since the last tick' if split == 'train' else split})",
        )
    for (run, name), line in lines.groupby(["run", "name"]):
        run, name = str(run), str(name)
        line = line.sort_values("epoch")
        x, y = (line[key].to_numpy(dtype=float, na_value=float("nan")) for key in ("epoch", "value"))
        colour, order = (colours[run], 3) if run in colours else ("0.85", 2)
        axes.plot(x, y, color=colour, linestyle=styles[name][0], marker=".", zorder=order, gid=f"{run} {name}")
    handles = [Line2D([], [], color="black", linestyle=style, label=label) for style, label in styles.values()]
    handles += [Line2D([], [], color=colours[run], linewidth=4, label=labels[run]) for run in colours]
    if len(labels) > len(colours):
        handles.append(Line2D([], [], color="0.85", linewidth=4, label=f"{len(labels) - len(colours)} others"))
    axes.set(title=title, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def legend_of(settings: pd.DataFrame, runs: Sequence[str]) -> dict[str, str]:
    """Run -> what a legend calls it: the settings in which the runs differ, behind the beginning of its id."""
    rows = settings[settings["run"].isin(runs)].set_index("run").drop(columns="experiment")
    keys = [str(key) for key in rows if rows[key].nunique() > 1][:NAMED]
    return {
        run: " ".join([run[:6], *(f"{key.rsplit('.', 1)[-1]}={short(rows.at[run, key])}" for key in keys)])
        for run in runs
    }


def short(value: Any) -> str:
    """A setting's value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
