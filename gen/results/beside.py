"""Merged files beside the tables, where folders cannot change their names in one step.

Nothing of a table changes, so plain readers of it find each row once at any moment. The merged files of a table are put
first, then the list that names them (`gen.results.stand_in`), in one step, and then those that it does not name go. So
after a kill at any moment a list names files that are whole, or none is there. Whoever calls it holds the lease.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from gen.damage import DamageError
from gen.results.ledger import put_rows
from gen.results.manifest import is_own, writer_of
from gen.results.merging import LATER, is_going, merge
from gen.results.parquet import in_threads, read_bytes
from gen.results.schema import SCHEMAS, SLOTS
from gen.results.stand_in import FOLDER, StandIns, folder_of, get_list, put_list
from gen.results.storage import Stamp, Storage

CLOCK = "_clock"  # a file whose time is the storage's present one
PATIENCE = 10.0  # seconds; times of files are of whole seconds, or two, at worst
LOOK = 0.05  # seconds between two looks at the storage's clock


def merge_beside(
    storage: Storage, experiment: str, tables: Sequence[str], ended: set[str], attempt: str
) -> dict[str, tuple[int, int]]:
    """Merges all files of each table that writers of ours made; table -> how many files it has, and how many
    `gen.results` reads in their place."""
    found = {}
    for table, stamps in settled(storage, experiment, tables).items():
        ours = {name: stamp for name, stamp in stamps.items() if writer_of(name)}
        merged = merge_table(storage, f"{experiment}/{table}", ours, ended, attempt)
        found[table] = (len(stamps), len(stamps) - len(ours) + merged)
    storage.delete(f"{experiment}/{FOLDER}/{CLOCK}")
    return found


def merge_table(storage: Storage, folder: str, ours: Mapping[str, Stamp], ended: set[str], attempt: str) -> int:
    """Merges these files of a table; in how many. Merged files that still stand for all of them stay as they are."""
    found = get_list(storage, folder)
    if not stands(storage, folder, found, ours):
        found = {}
        for start, names in groups(ours, ended).items():
            for number, (whose, data) in enumerate(merge(storage, folder, names)):
                merged = f"{start}merged-{attempt}-{number:04d}.parquet"
                put_rows(storage, f"{folder_of(folder)}/{merged}", data, SCHEMAS[folder.rpartition("/")[2]])
                found[merged] = {name: ours[name] for name in whose}
        put_list(storage, folder, found)
    for name in storage.list(folder_of(folder)):  # merged files of before, or of a job that was killed
        if name not in found:
            storage.delete(f"{folder_of(folder)}/{name}")
    return len(found)


def settled(storage: Storage, experiment: str, tables: Sequence[str]) -> dict[str, dict[str, Stamp]]:
    """Table -> its files, as the storage lists them, each of which is older by its clock than a file that was put
    before: so whatever is written there from now on is listed otherwise. ValueError if there are others for long."""
    end = time.monotonic() + PATIENCE
    while True:
        storage.put(f"{experiment}/{FOLDER}/{CLOCK}", b"")
        now = storage.stamps(f"{experiment}/{FOLDER}")[CLOCK][1]
        found = {
            table: {name: stamp for name, stamp in storage.stamps(f"{experiment}/{table}").items() if name[0] != "_"}
            for table in tables
        }
        late = [f"{table}/{name}" for table in tables for name, (_, changed) in found[table].items() if changed >= now]
        if not late:
            return found
        if time.monotonic() > end:
            raise ValueError(
                f"{experiment} in {storage} cannot be compacted: by their times, {late[0]} is no older than a file "
                "that was written now, so that a change of it would not be seen; put a copy of it in its place"
            )
        time.sleep(LOOK)


def groups(names: Collection[str], ended: set[str]) -> dict[str, list[str]]:
    """How the names of merged files begin -> the files whose rows they have: slots apart, for which readers ask by
    their names, and what runs that go on may write again, so that the other merged files stay of use then."""
    found: dict[str, list[str]] = {SLOTS: [], LATER: [], "ended-": [], "going-": []}
    for name in names:
        of_run = "going-" if is_going(name, ended) else "ended-"
        found[SLOTS if name.startswith(SLOTS) else of_run if is_own(name) else LATER].append(name)
    return found


def stands(storage: Storage, folder: str, found: StandIns, wanted: Mapping[str, Stamp]) -> bool:
    """Whether merged files are whole, and stand for these files and for no others."""
    held = {name: stamp for inputs in found.values() for name, stamp in inputs.items()}
    paths = [f"{folder_of(folder)}/{merged}" for merged in found]
    return held == wanted and all(in_threads(partial(is_readable, storage), paths, storage))


def is_readable(storage: Storage, path: str) -> bool:
    """Whether all bytes of a merged file are what was written."""
    try:
        read_bytes(storage.get(path) or b"", path)
    except DamageError:
        return False
    return True
