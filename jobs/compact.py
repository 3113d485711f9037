"""Merges the small files of an experiment that has ended: python -m jobs.compact --name vqvae-mnist

A search of thousands of runs leaves hundreds of files a table; one large file is read many times as fast by pandas and
other plain readers. It takes the experiment's lease, so no job writes meanwhile; killed at any moment it has lost
nothing, and submitted again it goes on. The experiment can be continued afterwards as before.
"""

from __future__ import annotations

import click

from gen.results import Lease
from gen.results.compact import compact
from gen.results.manifest import counted
from jobs import interrupt
from jobs.options import Job, refusing
from jobs.places import storage_at
from jobs.runs import experiments_of, tell_lost


@click.command(cls=Job, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder of the tables, on a local file system.")
@click.option("--name", required=True, help="Experiment.")
def main(storage: str, name: str) -> None:
    """Merges, and says how many files each table had and has."""
    with refusing():
        place = storage_at(storage)
        if name not in experiments_of(place):
            raise ValueError(f"no experiment {name!r} in {place}; there are: {', '.join(experiments_of(place)) or '-'}")
        place.check_writable()
        with Lease(place, name, hear=interrupt.give_up) as lease:
            tell_lost(place, name)
            found = compact(lease.storage, name, lease.attempt)
    for table, (before, after) in found.items():
        print(f"{table:10}{counted(before, 'file')}{f', now {after}' if after != before else ', as they were'}")


if __name__ == "__main__":
    main()
