"""Throughput, parity and kill figures; sides that are compared are measured in turn, in one run, as medians."""

from __future__ import annotations

import click

from jobs.bench.engine import engine
from jobs.bench.fid import fid
from jobs.bench.idle import idle_trials
from jobs.bench.kills import kills
from jobs.bench.loader import loader
from jobs.bench.memory import memory
from jobs.bench.prepare import prepare
from jobs.bench.proposals import proposals
from jobs.bench.race import race
from jobs.bench.scale import scale
from jobs.bench.tables import tables
from jobs.bench.train import train
from jobs.bench.trials import trials
from jobs.program import Programs


@click.group(cls=Programs, help=__doc__)
def main() -> None:
    """The benchmarks."""


for command in (engine, loader, train, trials, kills, fid, memory, prepare, tables, scale, proposals, race):
    main.add_command(command)
main.add_command(idle_trials, "idle")


if __name__ == "__main__":
    main()
