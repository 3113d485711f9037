"""Plots of numbers by epoch: a line for each run, and over the seeds of a configuration their mean with its band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gen.metrics.table import is_known, metric

if TYPE_CHECKING:  # takes a second to import, and a process that trains plots nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 9  # configurations in colours of their own: the best; the others are grey
GREY = 7  # among matplotlib's ten colours
PALE = "0.85"
STYLES = {True: ("--", ":", "-."), False: ("-", (0, (5, 1)), (0, (1, 1)))}  # lines: training, figures
MARKERS = "os^DvP*X<>"  # of seeds
EPOCH = "epoch (passes over the training images)"
BAND = "mean of a configuration's seeds, where all of them have a value; band: one standard deviation to both sides"
LOGGED = {  # what training logs, by the end of its name -> unit
    "accuracy": "share of the images",
    "evaluate_seconds": "seconds",
    "evaluate_share": "share of the seconds",
    "full_seconds": "seconds",
    "full_share": "share of the seconds",
    "images_per_second": "images a second",
    "labels_right": "share of the images",
    "largest_rate": "nats an image",
    "learning_rate": "step of the optimiser",
    "least_rate": "nats an image",
    "revived": "codes a step",
    "told_apart": "share of the images",
    "train_seconds": "seconds",
}


@dataclass(frozen=True)
class Shown:
    """How a plot tells a run from the others."""

    configuration: str  # in words: runs with the same words differ by their seeds alone
    seed: str = ""  # which of the configuration's seeds it has, in words; "": it is its only run


def plot(lines: pd.DataFrame, runs: Mapping[str, Shown], title: str) -> Figure:
    """One line for each run and name of `lines` (run, name, quantity, split, epoch, value). `runs`: the best first.

    Colours tell configurations, markers their seeds, dashes the names: training is dashed, validation solid. Where a
    configuration has several seeds their own lines are thin, and a thick one is their mean."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.add_subplot()
    colours, markers = colours_of(runs), markers_of(runs)
    handles, dashes = list[Any](), dashes_of(lines)
    for (run, name), line in lines.groupby(["run", "name"]):
        shown, line = runs[str(run)], line.sort_values("epoch")
        x, y = (line[key].to_numpy(dtype=float, na_value=np.nan) for key in ("epoch", "value"))
        colour = colours.get(shown.configuration, PALE)
        style: dict[str, Any] = {
            "color": colour,
            "linestyle": dashes[str(name)],
            "zorder": 2 + (shown.configuration in colours),
        }
        style |= {"linewidth": 0.8, "alpha": 0.6} if shown.seed else {}
        axes.plot(x, y, marker=markers.get(shown.seed, "."), markersize=4, gid=f"{run} {name}", **style)
    averaged = [draw_mean(axes, lines, runs, one, colours.get(one, PALE), dashes) for one in configurations(runs)]
    for name, split in lines[["name", "split"]].drop_duplicates().itertuples(index=False):
        of = "training, mean since the last tick" if split == "train" else split
        handles.append(Line2D([], [], color="black", linestyle=dashes[name], label=f"{name} ({of})"))
    handles += [Line2D([], [], color=colour, linewidth=4, label=one) for one, colour in colours.items()]
    if more := len(configurations(runs)) - len(colours):
        handles.append(Line2D([], [], color=PALE, linewidth=4, label=f"{more} others"))
    for seed, marker in markers.items():
        handles.append(Line2D([], [], color="black", linewidth=0.8, marker=marker, markersize=4, label=seed))
    if any(averaged):
        handles.append(Line2D([], [], color="black", linewidth=2.5, label=BAND))
    axes.set(title=title, xlabel=EPOCH, ylabel=axis_name(lines))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    long = max((len(handle.get_label()) for handle in handles), default=0)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=1 if long > 70 else 2, frameon=False, fontsize="small"
    )
    return figure


def draw_mean(
    axes: Axes,
    lines: pd.DataFrame,
    runs: Mapping[str, Shown],
    configuration: str,
    colour: Any,
    dashes: Mapping[str, Any],
) -> bool:
    """Draws the mean of a configuration's seeds and its band, for each name; whether there is one. An epoch at which a
    seed has no value has no mean: that of the survivors would be too good."""
    own = [run for run, shown in runs.items() if shown.configuration == configuration]
    if len(own) < 2:
        return False
    for name, of_name in lines[lines["run"].isin(own)].groupby("name"):
        table = of_name.pivot(index="epoch", columns="run", values="value").reindex(columns=own)
        x, values = table.index.to_numpy(dtype=float), table.to_numpy(dtype=float, na_value=np.nan)
        with np.errstate(invalid="ignore"):  # an infinite value has no deviation
            mean, reach = values.mean(axis=1), values.std(axis=1, ddof=1)
        style: dict[str, Any] = {"color": colour, "zorder": 4}
        axes.plot(x, mean, linestyle=dashes[str(name)], linewidth=2.5, gid=f"mean {configuration} {name}", **style)
        band = axes.fill_between(x, mean - reach, mean + reach, color=colour, alpha=0.2, linewidth=0, zorder=1)
        band.set_gid(f"band {configuration} {name}")
    return True


def axis_name(lines: pd.DataFrame) -> str:
    """What the axis of the values says: the quantity, its unit and, where it is measured, which way is good."""
    quantity = str(lines["quantity"].iloc[0])
    own = quantity.removeprefix("held_out_")
    if not is_known(own):
        return f"{quantity} ({LOGGED.get(own.removesuffix('_a').removesuffix('_b'), 'no unit')})"
    found = metric(own)
    good = {"min": "small", "max": "large"}[found.direction]
    measured = (lines["split"] != "train").any()
    return f"{quantity} ({found.unit}{f'; {good} is good' if measured else ''})"


def configurations(runs: Mapping[str, Shown]) -> list[str]:
    """The configurations of runs, in the order of the runs."""
    return list(dict.fromkeys(shown.configuration for shown in runs.values()))


def colours_of(runs: Mapping[str, Shown]) -> dict[str, Any]:
    """Configuration -> colour, of the first ones."""
    from matplotlib import colormaps

    palette = [colour for number, colour in enumerate(colormaps["tab10"](range(10))) if number != GREY]
    return dict(zip(configurations(runs), palette[:SHOWN], strict=False))


def markers_of(runs: Mapping[str, Shown]) -> dict[str, str]:
    """Seed -> marker: the same for all configurations. Of more seeds than there are markers some share one."""
    seeds = sorted({shown.seed for shown in runs.values() if shown.seed}, key=lambda seed: (len(seed), seed))
    return {seed: MARKERS[number % len(MARKERS)] for number, seed in enumerate(seeds)}


def dashes_of(lines: pd.DataFrame) -> dict[str, Any]:
    """Name -> dashes of its lines."""
    found: dict[str, Any] = {}
    counts = {True: 0, False: 0}
    for name, split in lines[["name", "split"]].drop_duplicates().itertuples(index=False):
        trains = split == "train"
        found[name] = STYLES[trains][counts[trains] % len(STYLES[trains])]
        counts[trains] += 1
    return found
