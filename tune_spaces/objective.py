"""Whether the runs of a search compare by a figure: of held-out images, on a scale that no varying setting changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gen.config import RunConfig, flat
from gen.metrics.table import metric
from tune_spaces.space import Space, is_covered

PROTOCOL = ("data", "evaluate", "budget", "machine")  # groups whose settings say how, where or how long is measured


def check_objective(
    space: Space, figure: str, configs: Sequence[RunConfig], measured: Sequence[str], phases: Collection[str]
) -> None:
    """ValueError unless the runs `configs` compare by the figure `figure`, which steers them.

    `measured` are the held-out figures of the entry, `phases` the names of its phases, which begin those of its
    training figures.
    """
    varying = varying_settings(configs)
    works = [name for name in (space.metric, *measured) if name in measured and not settings_of_scale(name, varying)]
    advice = f"use {works[0]}" if works else "measured: " + ", ".join(measured)
    if figure.partition("/")[0] in (*phases, "engine"):
        raise ValueError(f"metric={figure!r} is measured on training images: runs do not compare by it; {advice}")
    if figure not in measured:
        meant = [name for name in measured if name.partition("/")[0] == figure]  # "mse" is "mse/reconstructions"
        advice = f"use {' or '.join(meant)}" if meant else advice
        raise ValueError(
            f"metric={figure!r} is no figure of {space.config.entry} to search by; allowed: {', '.join(measured)}; "
            f"{advice}"
        )
    check_alike(figure, configs, advice)


def check_alike(figure: str, configs: Sequence[RunConfig], advice: str) -> None:
    """ValueError if the runs `configs` have the figure on several scales, or of both raw and averaged weights."""
    if scaling := settings_of_scale(figure, varying_settings(configs)):
        raise ValueError(f"metric={figure!r} changes its scale with {', '.join(scaling)}, which vary; {advice}")
    if len({bool(config.train.ema) for config in configs}) > 1:
        raise ValueError(
            "train.ema=0 evaluates raw weights and other values averaged ones: figures of the two are not ranked "
            "together; search train.ema above 0 only, or fix it by --set"
        )


def check_searchable(space: Space) -> None:
    """ValueError for a key of the space that must not be searched: runs that differ by it do not compare."""
    for key in space.keys:
        if key == "seed":
            raise ValueError("seed cannot be searched: a seed that wins is luck; use --seeds to train with several")
        if key.partition(".")[0] in PROTOCOL:
            raise ValueError(f"{key} cannot be searched: figures of runs that differ by it do not compare; use --set")


def settings_of_scale(figure: str, varying: Sequence[str]) -> list[str]:
    """Those of the settings `varying` that change the scale of a figure, or the images of which it tells."""
    found = metric(figure)
    scale = found.scale if found.held_out else ("data", *found.scale)
    return [key for key in varying if is_covered(key, scale)]


def varying_settings(configs: Sequence[RunConfig]) -> list[str]:
    """The settings that differ among runs, the seed apart."""
    rows = [flat(config) for config in configs]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if key != "seed" and len({repr(row.get(key)) for row in rows}) > 1]
