"""What the jobs say of an experiment from its tables alone. No torch: jobs that need none do not wait for it."""

from __future__ import annotations

import click

from gen import results
from gen.results.confirmation import fresh_runs
from gen.results.manifest import shortfall


def experiments_of(storage: results.Storage) -> list[str]:
    """Names of the experiments in a storage."""
    return [name for name in storage.folders("") if not name.startswith("_")]


def tell_lost(storage: results.Storage, name: str) -> None:
    """Says on stderr, in one line, if the tables of an experiment lack rows that were written."""
    if line := shortfall(storage, name):
        click.echo(line, err=True)


def tell_fresh(storage: results.Storage, name: str) -> None:
    """Says on stderr, in one line, how many runs confirm, of which none is among an experiment's best runs."""
    if fresh := fresh_runs(storage, name):
        click.echo(f"left out: {len(fresh)} runs of {name} with fresh seeds, which confirm; --run takes one", err=True)
