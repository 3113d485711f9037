"""Few large files in the place of many small ones, once an experiment has ended. Whoever calls it holds its lease.

Where two folders can change their names in one step of the file system, the new folder of a table is written beside it,
whole, and then changes its name with the old one. So at any moment, and after a kill at any moment, a reader that opens
the folder finds each row once. A plain reader that has listed the old files and opens them after that step gets an
error of a file that is not there, and never a wrong answer; `gen.results` looks again.

On object stores and other file systems the merged files lie beside the tables (`gen.results.beside`).
"""

from __future__ import annotations

from pathlib import Path

from gen.results import stand_in
from gen.results.beside import merge_beside
from gen.results.exchange import CANNOT, exchange
from gen.results.manifest import is_own, writer_of
from gen.results.merging import LARGE, LATER, ended_runs, is_going, merge
from gen.results.schema import SLOTS, TABLES
from gen.results.storage import Storage

FOLDER = "_compact"  # beside the tables: new folders before the step, old ones after it


def compact(storage: Storage, experiment: str, attempt: str) -> dict[str, tuple[int, int]]:
    """Merges the small files of each table; table -> how many files it had, and how many `gen.results` reads now.
    `attempt` names the merged files. DamageError for a file that cannot be read.

    With the step that exchanges folders plain readers gain too; the files of runs that go on from a checkpoint stay
    then, for they are replaced by name. Without it STORAGE/EXPERIMENT/TABLE stays as it is, and `gen.results` reads
    the merged files instead, for as long as the files that they stand for are as they were. A plain reader may read
    STORAGE/EXPERIMENT/_merged/TABLE instead: that holds each row once of what writers of ours wrote, from the end of
    this function until anything is written to the experiment, or it is compacted again.
    """
    ended = ended_runs(storage, experiment)
    if not can_exchange(storage, experiment):
        return merge_beside(storage, experiment, TABLES, ended, attempt)
    storage.delete_folder(f"{experiment}/{stand_in.FOLDER}")  # of a copy from elsewhere
    storage.delete_folder(f"{experiment}/{FOLDER}")  # what a kill left: half of a new folder, or the rest of an old one
    found = {table: replace(storage, experiment, table, ended, attempt) for table in TABLES}
    storage.delete_folder(f"{experiment}/{FOLDER}")
    return found


def can_exchange(storage: Storage, experiment: str) -> bool:
    """Whether two folders of an experiment can change their names in one step."""
    if not storage.is_local:
        return False
    probes = [Path(storage.place, experiment, FOLDER, f"probe-{number}") for number in range(2)]
    try:
        for probe in probes:
            probe.mkdir(parents=True, exist_ok=True)
        exchange(*probes)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        storage.delete_folder(f"{experiment}/{FOLDER}")
        return False
    return True


def replace(storage: Storage, experiment: str, table: str, ended: set[str], attempt: str) -> tuple[int, int]:
    """Makes the new folder of a table, and puts it in the place of the old one, if it has small files to merge; gives
    how many files there were, and are."""
    old, new = f"{experiment}/{table}", f"{experiment}/{FOLDER}/{table}"
    sizes = {name: size for name, (size, _) in storage.stamps(old).items()}
    small = [name for name, size in sizes.items() if writer_of(name) and not is_going(name, ended) and size < LARGE]
    of_runs = [name for name in small if name.startswith(SLOTS) or is_own(name)]
    later = [name for name in small if name not in of_runs]
    groups = {start: names for start, names in ((SLOTS, of_runs), (LATER, later)) if len(names) > 1}
    for start, names in groups.items():
        for number, (_, data) in enumerate(merge(storage, old, names)):
            storage.put(f"{new}/{start}merged-{attempt}-{number:04d}.parquet", data)
    if groups:
        gone = {name for names in groups.values() for name in names}
        for name in sizes:
            if name not in gone:
                storage.put(f"{new}/{name}", storage.get(f"{old}/{name}") or b"")
        storage.exchange(old, new)
    return len(sizes), len(storage.list(old))
