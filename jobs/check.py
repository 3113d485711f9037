"""Says what is missing, damaged or doubled in an experiment's tables: python -m jobs.check --name vqvae-mnist --mend

A line for each table and run, with counts; exit status 0 if all is whole, 1 if not. It reads each file whole, also
while jobs write. What nothing tells of is not missed: decisions of a killed job's last seconds, and a process of a
search, or a run, of whose files none is left. --mend takes the experiment's lease and repairs what can be: rows of
runs, settings and outcomes are made anew from checkpoints, notes and the other tables; of rows that stand twice those
of the latest attempt stay; what cannot be read goes to _damaged, and what killed writers left half-written goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from gen.results import Lease, Storage
from gen.results.fence import holder_of
from gen.results.manifest import counted
from gen.results.mend import drop_doubles, set_aside
from gen.results.survey import Fault, Survey, survey
from jobs.experiments import check_experiment
from jobs.places import storage_at
from jobs.program import Program, refusing

AGAIN = {  # table -> what brings its rows back
    "metrics": "no other file has them; the run under another --name writes them again",
    "evals": "jobs.evaluate measures the best weights again; figures of ticks are as those of metrics",
    "samples": "jobs.sample draws the best weights again",
    "events": "no other file has them",
    "outcomes": "submit the same again",
}


@click.command(cls=Program, help=__doc__)
@click.option("--storage", default="results", show_default=True, help="Folder or URI of the tables.")
@click.option("--name", required=True, help="Experiment.")
@click.option("--mend", is_flag=True, help="Repair what can be repaired.")
def main(storage: str, name: str, mend: bool) -> int:
    """Looks, and mends if that is asked for; 0 if all is whole in the end."""
    with refusing():
        place = storage_at(storage)
        check_experiment(place, name)
        holder = holder_of(place, name)
        found = survey(place, name)
    faults = found.faults()
    for fault in faults:
        print(fault)
    if holder and not mend:
        print(f"attempt {holder} writes it, if it was not killed: what it has not ended yet is told as unfinished")
    if mend:
        with refusing():
            faults = mended(place, name, found, faults)
    left = place.leftovers(name)
    if left:
        print(f"{counted(len(left), 'half-written file')} of writers that were killed, such as {left[0]}")
    print(f"{name}: {told(found, faults)}")
    return int(bool(faults))


def mended(storage: Storage, name: str, found: Survey, faults: Sequence[Fault]) -> list[Fault]:
    """Repairs what can be repaired, says what was done, and gives what is left, which it says too."""
    storage.check_writable()
    with Lease(storage, name) as lease:
        storage = lease.storage
        for place in set_aside(storage, name, found):
            print(f"moved      {place}")
        from gen.record.rebuild import rebuild  # which loads torch

        for line in rebuild(storage, name, found, list(faults)):
            print(line)
        for table, count in drop_doubles(storage, name, found).items():
            print(f"took out   {table:10}{counted(count, 'row')} that stood twice")
        if gone := storage.remove_leftovers(name):
            print(f"removed    {counted(gone, 'half-written file')}")
    left = survey(storage, name).faults()
    for fault in left:
        print(f"remains: {fault}; {AGAIN.get(fault.table, 'its checkpoints do not tell')}")
    return left


def told(found: Survey, faults: Sequence[Fault]) -> str:
    """The last line."""
    what = f"{counted(found.rows, 'row')} in {counted(found.files, 'file')}"
    if not faults:
        return f"whole; {what}"
    kinds = {fault.kind: sum(one.count for one in faults if one.kind == fault.kind) for fault in faults}
    return f"{', '.join(f'{count} {kind}' for kind, count in kinds.items())}; {what}"


if __name__ == "__main__":
    main()
