"""What a confirmation costs, and how often it loses the best configuration: races over figures that are drawn."""

from __future__ import annotations

import click
import numpy as np

from gen.search.race import next_runs
from gen.search.race import race as standing
from jobs.confirm import LEVEL, SEEDS

MODE = "min"


@click.command(short_help="What a confirmation costs, and how often it loses the best.")
@click.option("--entrants", default=5, show_default=True, help="Configurations that are trained again.")
@click.option("--seeds", default=SEEDS, show_default=True, help="Fresh seeds of each, at most.")
@click.option("--level", default=LEVEL, show_default=True, help="Of each test.")
@click.option("--gaps", default="0.5,1,2,4", show_default=True, help="How much better the best is than the others.")
@click.option("--slots", default=1, show_default=True, help="Runs at a time.")
@click.option("--races", default=300, show_default=True, help="Races of each gap.")
def race(entrants: int, seeds: int, level: float, gaps: str, slots: int, races: int) -> None:
    """One configuration is better than the others, which are alike, by a gap in standard deviations over seeds: the
    runs that a race trains on average, and the share of races in which the best one drops out."""
    print(f"{entrants} configurations, {entrants * seeds} runs in all; {races} races of each gap at level {level:g}")
    print(f"{'gap':>6}{'runs':>10}{'best lost':>12}")
    for gap in map(float, gaps.split(",")):
        ended = [one_race(np.random.default_rng(number), entrants, seeds, level, gap, slots) for number in range(races)]
        runs, kept = np.mean(ended, axis=0)
        print(f"{gap:6g}{runs:10.1f}{1 - kept:12.1%}", flush=True)


def one_race(
    noise: np.random.Generator, entrants: int, seeds: int, level: float, gap: float, slots: int
) -> tuple[int, bool]:
    """How many runs a race trains, and whether the best configuration is in at its end."""
    from gen.on_ray.confirm import AHEAD  # which loads Ray

    names = [f"c{place}" for place in range(entrants)]
    means = dict.fromkeys(names, gap) | {names[noise.integers(entrants)]: 0.0}
    figures: dict[str, dict[int, float]] = {name: {} for name in names}
    while wanted := next_runs(names, range(seeds), figures, MODE, level, ahead=AHEAD)[:slots]:
        for name, seed in wanted:
            figures[name][seed] = noise.normal(means[name])
    best = min(means, key=means.__getitem__)
    return sum(map(len, figures.values())), best in standing(names, range(seeds), figures, MODE, level).order
