"""What a trial of a search of thousands costs, end to end: seconds by part, the driver's memory, files and bytes."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections import Counter
from pathlib import Path

import click
import numpy as np
import psutil

from gen import results
from gen.results.parquet import read_files
from gen.results.schema import SCHEMAS
from gen.results.storage import Storage
from jobs.bench.kills import running
from jobs.bench.trials import TINY, overheads

NAME = "scale"
EPOCHS, GRACE, REDUCTION = 4, 1, 2
OPTIONS = {"budget.epochs": "--epochs", "machine.device": "--device"}  # settings of TINY that have options of their own
TOLD = 100  # trials between two looks at the driver's memory
SO_FAR = re.compile(r"\((\d+) of \d+\)$")
PARTS = {"training": "engine/train_seconds", "evaluation": "engine/evaluate_seconds"}


@click.command(short_help="A search of thousands of tiny runs: seconds by part, memory, files.")
@click.option("--trials", default=100, show_default=True, help="Runs of the search.")
@click.option("--at-once", default=2, show_default=True, help="Runs at a time; each takes one CPU.")
@click.option("--storage", type=click.Path(), help="Folder of the tables; default: one that goes.")
def scale(trials: int, at_once: int, storage: str | None) -> None:
    """jobs.tune on a Ray of its own: a tiny entry on digits, random draws, successive halving."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder, running(at_once) as head:
        place = Storage(storage or folder)
        search = head.submit(f"{command(trials)} --storage {place.place}")
        memory, read = {0: bytes_of(search)}, list[str]()
        for line in search.stdout:
            read.append(line)
            done = int(found[1]) if (found := SO_FAR.search(line.strip())) else 0
            if done >= max(memory) + TOLD or (done == trials and done not in memory):
                memory[done] = bytes_of(search)
                spent = sum(search.cpu_times()[:2])
        if search.wait():
            raise click.ClickException(f"jobs.tune ended by {search.returncode}: {''.join(read[-20:])}")
        report_seconds(place, trials, at_once)
        told = [line.strip() for line in read if SO_FAR.search(line.strip())]
        print(f"the driver: {spent / trials:.3f} CPU seconds a trial; it said last: {told[-1]}")
        report_memory(memory)
        report_files(place, trials)


def command(trials: int) -> str:
    """The arguments of the search."""
    options = {"--entry": "vae_mlp", "--data": "digits", "--name": NAME, "--samples": trials}
    options |= {"--grace": GRACE, "--reduction": REDUCTION}
    settings = {**TINY, "budget.epochs": EPOCHS}
    options |= {OPTIONS[key]: value for key, value in settings.items() if key in OPTIONS}
    sets = [f"--set {key}={value}" for key, value in settings.items() if key not in OPTIONS]
    return " ".join([*itertools.chain(f"{key} {value}" for key, value in options.items()), *sets])


def bytes_of(process: psutil.Process) -> int:
    """The memory that a process has for itself alone."""
    return int(process.memory_full_info().uss)


def report_seconds(place: Storage, trials: int, at_once: int) -> None:
    """Prints where the time of the slots went."""
    ends, begun = results.outcomes(place, NAME), results.runs(place, NAME)
    logged = read_files(place, f"{NAME}/metrics", SCHEMAS["metrics"], columns=["name", "value"]).to_pandas()
    by_name = logged.groupby("name")["value"].sum()
    wall = (ends["ended"].max() - begun["started"].min()).total_seconds() * at_once
    states = ", ".join(f"{count} {state}" for state, count in Counter(ends["status"]).items())
    print(
        f"{len(ends)} of {trials} runs ended: {states}; {ends['epochs'].sum():g} epochs; load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'seconds of a slot, a trial':32}{'mean':>10}")
    own = {name: float(by_name[key]) / trials for name, key in PARTS.items()}
    for name, seconds in (own | {"everything else": wall / trials - sum(own.values())}).items():
        print(f"{name:32}{seconds:10.3f}")
    between = overheads(place, NAME, at_once)
    print(f"{'between two runs of a slot':32}{np.median(between):10.3f} (median; mean {np.mean(between):.3f})")


def report_memory(memory: dict[int, int]) -> None:
    """Prints the driver's memory by trials that had ended, and how it grew from the first look on."""
    known = {done: size for done, size in memory.items() if done}
    print("the driver's own memory, MiB: " + ", ".join(f"{size / 2**20:.1f} at {done}" for done, size in known.items()))
    if len(known) > 1:
        (first, low), (last, high) = min(known.items()), max(known.items())
        print(f"growth from {first} to {last} trials: {(high - low) / 1024 / (last - first):.1f} KiB a trial")


def report_files(place: Storage, trials: int) -> None:
    """Prints files and bytes a trial by folder of the experiment."""
    root = Path(place.place, NAME)
    files, sizes = Counter[str](), Counter[str]()
    for path in root.rglob("*"):
        if path.is_file():
            part = path.relative_to(root).parts[0] if path.parent != root else "notes"
            files[part] += 1
            sizes[part] += path.stat().st_size
    print(f"{'a trial':20}{'files':>10}{'KiB':>10}")
    for part in sorted(files):
        print(f"{part:20}{files[part] / trials:10.3f}{sizes[part] / trials / 1024:10.2f}")
    print(f"{'all':20}{files.total() / trials:10.3f}{sizes.total() / trials / 1024:10.2f}")
