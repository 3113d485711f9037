"""What the jobs say of an experiment from its tables alone. No torch: jobs that need none do not wait for it."""

from __future__ import annotations

import click

from gen import results
from gen.results.confirmation import fresh_runs
from gen.results.manifest import shortfall
from gen.results.queries import is_experiment


def experiments_of(storage: results.Storage) -> list[str]:
    """Names of the experiments in a storage."""
    return [name for name in storage.folders("") if not name.startswith("_")]


def check_experiment(storage: results.Storage, name: str) -> None:
    """ValueError unless there is an experiment of this name: a folder of somebody else's files is none."""
    if name not in (there := experiments_of(storage)):
        raise ValueError(f"no experiment {name!r} in {storage}; there are: {', '.join(there) or '-'}")
    if not is_experiment(storage, name):
        raise ValueError(f"{name} in {storage} is no experiment: it has no tables; name the folder above it?")


def tell_lost(storage: results.Storage, name: str) -> None:
    """Says on stderr, in one line, if the tables of an experiment lack rows that were written."""
    if line := shortfall(storage, name):
        click.echo(line, err=True)


def tell_fresh(storage: results.Storage, name: str) -> None:
    """Says on stderr, in one line, how many runs confirm, of which none is among an experiment's best runs."""
    if fresh := fresh_runs(storage, name):
        click.echo(f"left out: {len(fresh)} runs of {name} with fresh seeds, which confirm; --run takes one", err=True)
