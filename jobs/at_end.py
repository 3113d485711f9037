"""What a search does once its runs have ended: it measures those that may be reported, and prints what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gen import results
from gen.config import RunConfig
from gen.engine.fit import SPLITS
from gen.record import history
from gen.results.comparison import sound_lines
from gen.results.configs import CONFIRMED
from gen.results.equal import budget_lines
from gen.results.floor import floor_lines
from gen.search.samplers import TPE
from jobs import confirm
from jobs.board import footing
from jobs.cluster import say
from jobs.draws import samples_of
from jobs.objectives import show_front
from jobs.output import page_line
from jobs.progress import measured
from jobs.schedulers import POPULATION
from jobs.several import Plans
from jobs.stored import missing

TOP = 10  # rows of the leaderboard that are printed


def measure(
    wanted: Plans,
    runs: Mapping[str, RunConfig],
    lease: results.Lease,
    needed: dict[str, float],
    confirmed: bool = False,
) -> list[str]:
    """Measures in full, where full figures are missing, the leaders of a search or the runs that `evaluate.full` says,
    or all runs of a confirmation (`confirmed`), and the floor of these figures; gives a line for each error. The grids
    that ended runs had kept, in case they would be leaders, go."""
    from gen.on_ray.floors import measure_missing
    from gen.on_ray.leaders import Measuring, best_weights, leaders, measure_leaders
    from gen.on_ray.replay import ends
    from gen.on_ray.scoring import Wanted
    from gen.on_ray.waiting import watch

    asked, full = wanted.first.asked, wanted.first.space.config.evaluate.full
    if full == "none":
        return []
    try:
        choose = confirm.measurable if confirmed else leaders
        best = best_weights(asked.storage, asked.name, choose(asked.storage, asked.name, runs), runs)
    except ValueError as lost:
        return [f"leaders were not measured: {lost}"]
    whole = Wanted(lease.storage, asked.name, best, SPLITS, 0, (), asked.data_root, asked.download)
    short, files = {run for run, _ in missing(whole)}, "confirmed" if confirmed else "leaders"
    with watch(needed, 1, say) as watched:

        def hear(now: Measuring) -> None:
            watched.heard()
            say(measured(now, "confirmed runs" if confirmed else "leaders" if full == "leaders" else "runs"))

        short_ones = dataclasses.replace(whole, stored=[one for one in best if one.run in short])
        errors = measure_leaders(short_ones, lease, needed, hear, wanted.first.most, files)
    measure_missing(whole, lease, needed, files)
    if not errors:
        history.forget_all(lease.storage, asked.name, ends(asked.storage, asked.name, runs).keys())
    return errors


def unconfirmed(wanted: Plans, runs: Mapping[str, RunConfig], storage: results.Storage, more: str) -> str:
    """A line that says that a limit ended a search before it could be confirmed, and what to submit. `runs`: those of
    the search that are known; `more`: what a submission needs of the limit, in words."""
    from gen.on_ray.preflight import configurations

    part, name = wanted.first, wanted.first.asked.name
    line = f"confirm: nothing was confirmed, for the search has not ended; submit the same again{more} to go on"
    begun = runs.keys() & set(results.runs(storage, name, ["run"])["run"])
    named, each = {config: run for run, config in runs.items()}, len(part.configs) // len(part.drawn)
    places = [place // each for place, config in enumerate(part.configs) if named.get(config) in begun]
    count = (
        configurations(storage, name, part.space.config.entry) if part.sampler == TPE else 1 + max(places, default=-1)
    )
    samples = samples_of(part.space, part.sampler, part.begins.first, count)
    if not count or samples >= part.space.samples or len(wanted.parts) > 1 or part.scheduling.name == POPULATION:
        return line
    left = len(begun - set(results.outcomes(storage, name)["run"]))
    first = f"; {left} of their runs end{'s' * (left == 1)} first" if left else ""
    return (
        f"{line}, or with --samples {samples}{more.replace('with', 'and', 1)} to confirm the best of the {count} "
        f"configurations that were begun{first}"
    )


def show_found(wanted: Plans, storage: results.Storage, raced: confirm.Raced | None) -> None:
    """Prints the leaderboard, by configuration where one has several seeds, and whatever else was asked for; nothing
    before a run has ended."""
    first = wanted.first
    name, metric = first.asked.name, first.space.config.evaluate.metric
    if results.outcomes(storage, name).empty:
        return
    try:
        board = results.leaderboard(storage, name, by="config").drop(columns=list(CONFIRMED))
        if not (board["runs"] > 1).any():
            board = results.leaderboard(storage, name)
        print(board.head(TOP).to_string())
        for line in footing(board, TOP):
            print(line)
        if wanted.by:
            compared = results.compare(storage, name, wanted.by)
            print(compared.to_string())
            for line in [*floor_lines(compared), *sound_lines(compared), *budget_lines(compared)]:
                print(line)
        if first.also:
            show_front(storage, name, [metric, *first.also])
        if raced:
            confirm.show_confirmed(storage, name, raced)
    except ValueError as unlike:
        print(f"no leaderboard: {unlike}", flush=True)
    print(page_line(storage, name), flush=True)
