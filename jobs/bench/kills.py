"""Kills and pauses small searches at random moments, submits them again until they end, and counts rows: lost, doubled,
and others than those of a search that nobody disturbed. Plain pyarrow reads the tables."""

from __future__ import annotations

import os
import random
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import click
import pandas as pd
import psutil
import pyarrow.dataset as ds

from gen.config import flat
from gen.on_ray.version import ROOT
from gen.results.schema import LATER_SECONDS, SCHEMAS
from gen.zoo import restore
from jobs import interrupt
from jobs.demo import GIVE_UP, free_port

SLOTS = (  # how Ray calls processes that train, idle and busy, and those that measure leaders
    *("ray::Resident", "ray::Grouped", "ray::ResourceTrainable"),
    "ray::measure",
)
KINDS = ("driver", "slot", "ray", "pause")
SEARCH = (
    "--entry vqvae --epochs 6 --samples 6 --grace 1 --reduction 2 --set model.networks.hidden=16 "
    "--set evaluate.full_images=200"
)
ONCE = (LATER_SECONDS, "engine/full_seconds", "engine/full_share")  # metrics that a run has at its end only
CHECKPOINTS = (0.0, 1.0, 30.0)  # seconds between checkpoints: each tick has one, some have, none has in so short a run
TIMES = "engine/"  # beginning of the names of metrics that tell of time
TIMES_EACH = 4  # kills or pauses of one search, at most
KEYS = {  # table -> columns by which no two rows are equal
    "runs": ["run"],
    "settings": ["run", "key"],
    "metrics": ["run", "tick", "name"],
    "evals": ["run", "tick", "scope", "split", "metric", "subject", "column"],
    "samples": ["run", "tick", "kind"],
    "outcomes": ["run"],
}


@dataclass
class Head:
    """A Ray of its own on loopback, which nobody else uses."""

    folder: str  # for its files; a short path, for its sockets lie there
    cpus: int = 2
    searches: list[psutil.Popen] = field(default_factory=list)

    def start(self) -> None:
        """Starts this Ray, and returns when it answers."""
        port = free_port()
        self.variables = {
            **os.environ,
            "RAY_ADDRESS": f"127.0.0.1:{port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback only
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        command = f"ray start --head --block --port {port} --node-ip-address 127.0.0.1 --num-cpus {self.cpus}"
        command += f" --include-dashboard false --dashboard-agent-listen-port {free_port()} --temp-dir {self.folder}"
        log = Path(self.folder, "head.log")
        with log.open("w") as output:
            self.process = psutil.Popen(shlex.split(command), env=self.variables, stdout=output, stderr=output)
        deadline = time.monotonic() + GIVE_UP
        while "Ray runtime started" not in log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the Ray head did not start\n{log.read_text()}")
            time.sleep(0.2)

    def slots(self) -> list[psutil.Process]:
        """The processes that train or measure."""
        return [one for one in self.process.children(recursive=True) if process_name(one).startswith(SLOTS)]

    def submit(self, arguments: str, job: str = "jobs.tune") -> psutil.Popen:
        """Submits a search, and gives its process when it has told how many runs it has."""
        search = psutil.Popen(
            [sys.executable, "-m", *shlex.split(f"{job} {arguments}")],
            cwd=ROOT,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.searches.append(search)
        first = search.stdout.readline()
        if " runs, " not in first:
            raise RuntimeError(f"the search did not begin: {first}{search.communicate()[0]}")
        return search

    def kill(self) -> None:
        """Kills this Ray at once, with all that runs on it."""
        family = [*self.searches, self.process, *self.process.children(recursive=True)]
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(family, timeout=30)
        self.searches.clear()


def process_name(process: psutil.Process) -> str:
    """What a process calls itself; "" if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@contextmanager
def running(cpus: int = 2) -> Iterator[Head]:
    """A Ray of its own, for the block."""
    with tempfile.TemporaryDirectory(prefix="genfleet-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = Head(folder, cpus)
        head.start()
        try:
            yield head
        finally:
            head.kill()


def disturb(head: Head, kind: str, arguments: str, most: int, moment: Callable[[], float]) -> list[float]:
    """Runs a search to its end, with a kill or a pause some seconds after its slots have begun, and again when it was
    submitted again, `most` times if it does not end before; gives these seconds. While it pauses another one takes its
    name over. RuntimeError if it ends by more failures than that."""
    search, moments, failures = head.submit(arguments), list[float](), 0
    while True:
        while not head.slots() and search.poll() is None:
            time.sleep(0.05)
        seconds = moment()
        if len(moments) < most:
            with suppress(psutil.TimeoutExpired):
                search.wait(seconds)
        slots = head.slots()
        while kind == "slot" and not slots and search.poll() is None:  # between training and the leaders' measuring
            time.sleep(0.05)
            slots = head.slots()
        if len(moments) < most and search.poll() is None:
            moments.append(seconds)
            if kind == "slot":
                random.choice(slots).kill()
                continue
            if kind == "pause":
                search = overtaken(head, search, arguments)
                continue
            search.kill()
            if kind == "ray":
                head.kill()
                head.start()
        output, _ = search.communicate()
        if search.returncode == 0:
            return moments
        failures += 1
        if failures > len(moments) + 1:
            raise RuntimeError(f"after {len(moments)} times ({kind}) the search did not end: {output}")
        search = head.submit(arguments)


def overtaken(head: Head, paused: psutil.Popen, arguments: str) -> psutil.Popen:
    """The search that takes the name of one over which is paused, and goes on before that one is continued and ends.
    RuntimeError if the paused one ends otherwise than by one line."""
    paused.send_signal(signal.SIGSTOP)
    other = head.submit(f"{arguments} --take-over")
    paused.send_signal(signal.SIGCONT)
    output, _ = paused.communicate()
    if paused.returncode not in (0, 1):  # 0: it was at its very end
        raise RuntimeError(f"the search that was paused ended by {paused.returncode}: {output}")
    return other


def faults(storage: str, experiment: str, runs: int) -> tuple[list[str], list[str]]:
    """What was lost and what was doubled, in words. Each run should have one outcome and each name at each tick."""
    lost, doubled = list[str](), list[str]()
    tables = tables_of(storage, experiment)
    for table, keys in KEYS.items():
        rows = tables[table]
        doubled += [f"{table}: {list(row)}" for row in rows[rows.duplicated(keys)][keys].to_numpy()]
        missing = runs - rows["run"].nunique()
        lost += [f"{table}: {missing} of {runs} runs"] if missing and table != "samples" else []
    for end in tables["outcomes"].drop_duplicates("run").to_dict("records"):
        run, of_run = end["run"], {name: table[table["run"] == end["run"]] for name, table in tables.items()}
        evals = of_run["evals"].assign(name=of_run["evals"]["metric"] + "/" + of_run["evals"]["subject"])
        logged = of_run["metrics"]
        logged = logged[~logged["name"].isin(ONCE)]
        for table, rows in {"metrics": logged, "evals": evals[evals["scope"] == "tick"]}.items():
            for name, ticks in rows.groupby("name")["tick"]:
                absent = sorted(set(range(1, int(end["epochs"]) + 1)) - set(ticks))  # a tick an epoch
                lost += [f"{table}: {name} of run {run} at tick {tick}" for tick in absent]
        if end["status"] == "finished":
            splits = {"validation", "test"} - set(evals[evals["scope"] == "best"]["split"])
            lost += [f"evals: the {split} figures of run {run}" for split in sorted(splits)]
            lost += [] if len(of_run["samples"]) else [f"samples: of run {run}"]
    recorded = tables["settings"].groupby("run")["key"].agg(set).to_dict()
    for row in tables["runs"].drop_duplicates("run").to_dict("records"):
        if absent := flat(restore(row["config"])).keys() - recorded.get(row["run"], set()):
            lost.append(f"settings: {len(absent)} of run {row['run']}")
    return lost, doubled


def tables_of(storage: str, experiment: str) -> dict[str, pd.DataFrame]:
    """The tables as pyarrow alone reads them; one that is not there has no rows."""
    folders = {table: Path(storage, experiment, table) for table in KEYS}
    return {
        table: (ds.dataset(folder).to_table() if folder.is_dir() else SCHEMAS[table].empty_table()).to_pandas()
        for table, folder in folders.items()
    }


def changed(storage: str, experiment: str, whole: str) -> list[str]:
    """Losses and figures of ticks that are others than in the search `whole`, in words: of runs that both have, as far
    as they went in both."""
    found, told = tables_of(storage, experiment), list[str]()
    for table, rows in tables_of(storage, whole).items():
        if table not in ("metrics", "evals"):
            continue
        both = rows.merge(found[table], on=KEYS[table], suffixes=("", "_found"))
        if table == "metrics":
            both = both[~both["name"].str.startswith(TIMES) & ~both["name"].isin(ONCE)]
        else:
            both = both[both["scope"] == "tick"]
        if both.empty:
            raise RuntimeError(f"no row of {table} is in {whole} and in {experiment}")
        same = (both["value"] == both["value_found"]) | (both["value"].isna() & both["value_found"].isna())
        for row in both[~same].to_dict("records"):
            told.append(f"{table}: {[row[key] for key in KEYS[table]]} is {row['value_found']}, was {row['value']}")
    return told


@click.command(short_help="Kills and pauses searches at random, submits them again, counts rows.")
@click.option("--times", default=3, type=click.IntRange(1), show_default=True, help="Kills of each kind, and pauses.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=KINDS, help="Default: all kinds.")
def kills(times: int, seed: int, kinds: Sequence[str]) -> None:
    """The driver, a slot, and the whole local Ray, killed in the midst of small searches on digits; and the driver
    paused, until another one has taken over."""
    signal.signal(signal.SIGTERM, interrupt.terminate)  # its Ray ends with it
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as storage, running() as head:

        def arguments(name: str, checkpoints: float) -> str:
            return f"{SEARCH} --name {name} --storage {storage} --set budget.checkpoint_seconds={checkpoints}"

        head.submit(arguments("first", 30.0)).communicate()
        whole = head.submit(arguments("whole", 30.0))
        while not head.slots():
            time.sleep(0.05)
        began = time.monotonic()
        whole.communicate()
        span, runs = time.monotonic() - began, len(tables_of(storage, "whole")["outcomes"])
        if any(faults(storage, "whole", runs)):
            raise RuntimeError(f"a search that nobody killed has faults: {faults(storage, 'whole', runs)}")
        found = {kind: Counter[str]() for kind in kinds}
        done, searches = Counter[str](), count()
        while left := [kind for kind in kinds if done[kind] < times]:
            for kind in left:
                name, checkpoints = f"{kind}-{next(searches)}", moments.choice(CHECKPOINTS)
                most = min(TIMES_EACH, times - done[kind])
                at = disturb(head, kind, arguments(name, checkpoints), most, lambda: moments.uniform(0, span / 2))
                done[kind] += len(at)
                lost, doubled = faults(storage, name, runs)
                other = changed(storage, name, "whole")
                found[kind].update(lost=len(lost), doubled=len(doubled), changed=len(other))
                counts = f"{len(lost)} lost, {len(doubled)} doubled, {len(other)} changed"
                seconds = ", ".join(f"{one:.1f}" for one in at) or "-"
                print(f"{name}: after {seconds} s (undisturbed {span:.1f}), {counts}", flush=True)
                for fault in [*lost, *doubled, *other]:
                    print(f"  {fault}", flush=True)
    print(f"{'kind':10}{'times':>8}{'lost':>8}{'doubled':>10}{'changed':>10}")
    for kind, rows in found.items():
        print(f"{kind:10}{done[kind]:8}{rows['lost']:8}{rows['doubled']:10}{rows['changed']:10}")
    sys.exit(int(any(rows.total() for rows in found.values())))
