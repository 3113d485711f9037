"""Questions to the tables of a large search."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable

import click

from gen import results
from jobs.bench.fleet import Fleet

OF_CURVES = 10  # runs


@click.command(short_help="leaderboard(), runs(), outcomes() and curves of a search of thousands.")
@click.option("--runs", default=10_000, show_default=True, help="Runs of the search.")
@click.option("--ticks", default=10, show_default=True, help="Ticks of a run; each has ten metrics and six figures.")
@click.option("--leaders", default=10, show_default=True, help="Runs that were measured in full.")
@click.option("--rounds", default=5, show_default=True, help="Measurements of each question, taken in turn.")
@click.option("--storage", help="Folder of the tables, filled if the experiment is not there; default: one that goes.")
def tables(runs: int, ticks: int, leaders: int, rounds: int, storage: str | None) -> None:
    """Writes a search of short runs, as its slots leave it, and asks its tables: wall seconds and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        place, name = results.Storage(storage or folder), f"fleet-{runs}-{ticks}-{leaders}"
        if name not in place.folders(""):
            start = time.perf_counter()
            Fleet(name, runs, ticks, leaders=leaders).write(place)
            print(f"wrote {runs:,} runs in {time.perf_counter() - start:.0f} s", flush=True)
        files = sum(len(place.list(f"{name}/{table}")) for table in results.TABLES)
        print(f"{files:,} files; median of {rounds}: seconds, CPU seconds, rows of the answer")
        some = list(results.outcomes(place, name)["run"][:OF_CURVES])
        questions: dict[str, Callable[[], object]] = {
            "leaderboard": lambda: results.leaderboard(place, name),
            "leaderboard by config": lambda: results.leaderboard(place, name, by="config"),
            "runs": lambda: results.runs(place, name),
            "outcomes": lambda: results.outcomes(place, name),
            "settings": lambda: results.settings(place, name),
            f"curves of {OF_CURVES} runs": lambda: results.curves(place, name, "loss", some),
        }
        seconds = {what: list[tuple[float, float]]() for what in questions}
        rows = dict[str, int]()
        for _ in range(rounds):
            for what, ask in questions.items():
                wall, own = time.perf_counter(), time.process_time()
                answer = ask()
                seconds[what].append((time.perf_counter() - wall, time.process_time() - own))
                rows[what] = len(answer)  # type: ignore[arg-type]
        for what, found in seconds.items():
            medians = [statistics.median(side) for side in zip(*found, strict=True)]
            print(f"{what:22}{medians[0]:8.2f}{medians[1]:8.2f}{rows[what]:10,}")
