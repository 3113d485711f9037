"""Trials that do no work, through the scheduler, the ledger and the resumption of a search: their rows are counted
against a side ledger, and everything is killed on the way."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from gen import results
from gen.config import identity, override
from gen.data.dataset import open_dataset
from gen.results.queries import read
from gen.results.storage import Storage
from gen.zoo import entry
from jobs import interrupt
from jobs.bench.kills import KEYS, Head, running
from jobs.bench.trials import TINY, Series, residents
from jobs.cluster import connection
from jobs.progress import show_progress

NAME = "idle"  # of the experiment
EPOCHS, GRACE, REDUCTION = 4, 1, 2


Side = list[tuple[float, str, int, str]]
"""Time, run, tick, and how the run ended there; "": it did not."""


def side_of(place: Path) -> Side:
    """The side ledger, in the order of time."""
    from jobs.bench.nothing import SIDE

    lines = [line for path in Path(place, NAME, SIDE).glob("*") for line in path.read_text().splitlines()]
    split = [line.split(" ") for line in lines]
    return sorted((float(time), run, int(tick), status) for time, run, tick, status in split)


@click.command(short_help="Trials that do no work, killed on the way: rows against a side ledger.")
@click.option("--trials", default=100, show_default=True, help="Runs of the search.")
@click.option("--at-once", default=2, show_default=True, help="Runs at a time; each takes one CPU.")
@click.option("--kill", "share", default=0.5, show_default=True, help="Share of the runs after which all is killed.")
@click.option("--drive", hidden=True, help="Folder of the tables: be the driver.")
def idle_trials(trials: int, at_once: int, share: float, drive: str | None) -> None:
    """A search on a Ray of its own; kill -9 of its driver and its Ray; the same search again. What a trial took, how
    long the new driver took to its first new trial, and rows lost and doubled."""
    if drive:
        drive_search(Storage(drive), trials, at_once)
        return
    signal.signal(signal.SIGTERM, interrupt.terminate)  # its Ray ends with it
    with tempfile.TemporaryDirectory() as folder, running(at_once) as head:
        arguments = f"--trials {trials} --at-once {at_once} --drive {folder}"
        search = head.submit(arguments, job="jobs.bench idle")
        await_lines(head, search, f"({round(trials * share)} of {trials})")
        head.kill()
        before = side_of(Path(folder))
        start = time.monotonic()
        head.start()
        print(f"killed after {tell(before)}; the next Ray took {time.monotonic() - start:.1f} s to start", flush=True)
        submitted = time.time()
        search = head.submit(arguments, job="jobs.bench idle")
        await_lines(head, search, None)
        if search.wait():
            raise click.ClickException(f"the search ended by {search.returncode}")
        side = side_of(Path(folder))
        known = {run for _, run, _, _ in before}
        first = min((when for when, run, _, _ in side if run not in known), default=float("nan"))
        print(f"first new trial {first - submitted:.1f} s after the submission; then {tell(side[len(before) :])}")
        lost, doubled = faults(Storage(folder), trials, side)
    for fault in [*lost, *doubled][:20]:
        print(f"  {fault}")
    print(f"{len(lost)} rows lost, {len(doubled)} doubled; load {os.getloadavg()[0]:.1f}")
    sys.exit(int(bool(lost or doubled)))


def await_lines(head: Head, search: Any, text: str | None) -> None:
    """Reads what a search prints, until a line with that text; None: to its end."""
    for line in search.stdout:
        if text and text in line:
            return


def tell(side: Side) -> str:
    """What was done, in words."""
    ended = sum(bool(status) for *_, status in side)
    span = side[-1][0] - side[0][0]
    return f"{ended} runs ended in {span:.0f} s, {span / max(ended, 1):.3f} s each"


def drive_search(place: Storage, trials: int, at_once: int) -> None:
    """The driver: proposals on record, then the search."""
    from gen.on_ray.proposals import Proposal, record
    from jobs.bench.nothing import Idle

    base = override(entry("vae_mlp"), {**TINY, "budget.epochs": EPOCHS, "evaluate.full": "none"})
    dataset = open_dataset(base.data)
    settings = [{"model.optimizer.rate": 1e-4 * (1 + number / trials)} for number in range(trials)]
    configs = [override(base, one).resolve() for one in settings]
    runs = {identity(one, dataset.hash): one for one in configs}
    with connection(), results.Lease(place, NAME) as lease:
        slot = results.Slot(lease.storage, NAME, f"{lease.attempt}-proposals", kind="proposed")
        known = set(results.events(place, NAME, kind="proposal")["run"]) if NAME in place.folders("") else set()
        fresh = [(number, run) for number, run in enumerate(runs) if run not in known]
        record(
            slot,
            lease.attempt,
            [Proposal("vae_mlp", number, settings[number], "random", frozenset({run})) for number, run in fresh],
        )
        done = len(results.outcomes(place, NAME, columns=["run"])) if known else 0
        print(f"{len(runs)} runs, {done} on record", flush=True)
        with show_progress(len(runs), done, lambda: None) as hear:
            series = Series(configs, lease.storage, NAME, at_once)
            residents(series, dataset, lease, grace=GRACE, reduction=REDUCTION, hear=hear, trainable=Idle)


def faults(place: Storage, trials: int, side: Side) -> tuple[list[str], list[str]]:
    """What the tables lack of the side ledger and of themselves, and what stands in them twice, in words."""
    tables = {table: read(place, NAME, table) for table in ("runs", "settings", "metrics", "events", "outcomes")}
    keys = {**KEYS, "events": ["run", "kind", "epoch"]}
    lost, doubled = list[str](), list[str]()
    for table, rows in tables.items():
        doubled += [f"{table}: {list(row)}" for row in rows[rows.duplicated(keys[table])][keys[table]].to_numpy()]
    ends = dict(zip(tables["outcomes"]["run"], tables["outcomes"]["tick"], strict=True))
    lost += [f"outcomes: {trials - len(ends)} runs"] if len(ends) < trials else []
    lost += [f"outcomes: run {run}" for _, run, tick, status in side if status and ends.get(run) != tick]
    begun, events = set(tables["runs"]["run"]), tables["events"]
    lost += [f"runs: run {run}" for run in ends.keys() - begun]
    proposed = events[events["kind"] == "proposal"]["run"]
    lost += [f"events: the proposal of run {run}" for run in ends.keys() - set(proposed)]
    each = Counter(tables["settings"]["run"])
    lost += [f"settings: of run {run}" for run in ends if each[run] != max(each.values())]
    there = set(zip(tables["metrics"]["run"], tables["metrics"]["tick"], strict=True))
    lost += [
        f"metrics: run {run}, tick {tick}"
        for run in ends
        for tick in range(1, ends[run] + 1)
        if (run, tick) not in there
    ]
    return lost, doubled
