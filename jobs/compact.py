"""Merges the small files of an experiment that has ended: python -m jobs.compact --name vqvae-mnist

A search of thousands of runs leaves hundreds of files a table; one large file is read many times as fast. It takes the
experiment's lease, so no job writes meanwhile; killed at any moment it has lost nothing, and submitted again it goes
on. The experiment can be continued afterwards as before.

On a local disk the merged files take the place of the others. On an object store, or where folders cannot change their
names in one step, they lie beside the tables in EXPERIMENT/_merged, and the jobs and gen.results read them instead.
"""

from __future__ import annotations

import click

from gen.results import Lease, stand_in
from gen.results.compact import compact
from gen.results.manifest import counted
from jobs import interrupt
from jobs.experiments import check_experiment, tell_lost
from jobs.places import storage_at
from jobs.program import Program, refusing


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", required=True, help="Experiment.")
def main(storage: str, name: str) -> None:
    """Merges, and says how many files each table had and has."""
    with refusing():
        place = storage_at(storage)
        check_experiment(place, name)
        place.check_writable()
        with Lease(place, name, hear=interrupt.give_up) as lease:
            tell_lost(place, name)
            found = compact(lease.storage, name, lease.attempt)
    for table, (before, after) in found.items():
        print(f"{table:10}{counted(before, 'file')}{f', now {after}' if after != before else ', as they were'}")
    if stand_in.FOLDER in place.folders(name):
        print(
            f"the merged files are beside the tables, in {place}/{name}/{stand_in.FOLDER}: plain readers find each row "
            "there once until something is written to the experiment"
        )


if __name__ == "__main__":
    main()
