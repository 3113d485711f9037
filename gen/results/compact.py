"""Few large files in the place of many small ones, once an experiment has ended. Whoever calls it holds its lease.

The new folder of a table is written beside it, whole, and then changes its name with the old one in one step of the
file system. So at any moment, and after a kill at any moment, a reader that opens the folder finds each row once. A
plain reader that has listed the old files and opens them after that step gets an error of a file that is not there, and
never a wrong answer; `gen.results` looks again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gen.damage import DamageError
from gen.results.exchange import CANNOT, exchange
from gen.results.ledger import to_parquet
from gen.results.manifest import MERGED, Part, first_of, is_own, parts_of, writer_of
from gen.results.mend import fit
from gen.results.parquet import FAULTS, is_whole
from gen.results.queries import outcomes
from gen.results.schema import SCHEMAS, SLOTS, TABLES
from gen.results.storage import Storage, one_line

FOLDER = "_compact"  # beside the tables: new folders before the step, old ones after it
LARGE = 1 << 26  # bytes: what is larger stays as it is, and merged files are about as large
GROUP = 1 << 16  # rows of a row group, at least
ENDED = ("finished", "stopped")  # states of runs that write no row again which they have written

Input = tuple[pa.Table, list[Part]]
"""The rows of a file, and the notes in its footer."""


def compact(storage: Storage, experiment: str, attempt: str) -> dict[str, tuple[int, int]]:
    """Merges the small files of each table; table -> how many files it had and has. `attempt` names the merged files.

    The files of runs that go on from a checkpoint stay, for they are replaced by name. DamageError for a file that
    cannot be read. ValueError where folders cannot change their names in one step: nothing has changed then."""
    check_possible(storage, experiment)
    storage.delete_folder(
        f"{experiment}/{FOLDER}"
    )  # what a kill left: a half of a new folder, or the rest of an old one
    ended = ended_runs(storage, experiment)
    found = {}
    for table in TABLES:
        names = storage.list(f"{experiment}/{table}")
        chosen = [name for name in names if is_small(storage, f"{experiment}/{table}/{name}", name, ended)]
        later = [name for name in chosen if not name.startswith(SLOTS) and not is_own(name)]
        groups = [(SLOTS, [name for name in chosen if name not in later]), ("evaluated-", later)]
        groups = [(start, group) for start, group in groups if len(group) > 1]
        if groups:
            merge(storage, experiment, table, groups, attempt)
        found[table] = (len(names), len(storage.list(f"{experiment}/{table}")))
    storage.delete_folder(f"{experiment}/{FOLDER}")
    return found


def check_possible(storage: Storage, experiment: str) -> None:
    """ValueError, one line, where two folders cannot change their names in one step."""
    probes = [f"{experiment}/{FOLDER}/probe-{number}" for number in range(2)]
    why = "an object store has no such step"
    if storage.is_local:
        try:
            for probe in probes:
                Path(storage.place, probe).mkdir(parents=True, exist_ok=True)
            exchange(*(Path(storage.place, probe) for probe in probes))
            return
        except OSError as error:
            if error.errno not in CANNOT:
                raise
            why = one_line(error)
            storage.delete_folder(f"{experiment}/{FOLDER}")
    raise ValueError(
        f"{experiment} in {storage} cannot be compacted: its folders cannot change their names in one step ({why}), "
        "without which readers would miss rows for a while; compact a copy of it on a local disk"
    )


def ended_runs(storage: Storage, experiment: str) -> set[str]:
    """Runs that ended, and that have no state from which they go on."""
    ends = outcomes(storage, experiment, columns=["run", "status"])
    stored = storage.folders(f"{experiment}/_checkpoints")
    going = {run for run in stored if storage.exists(f"{experiment}/_checkpoints/{run}/last.pt")}
    return set(ends["run"][ends["status"].isin(ENDED)]) - going


def is_small(storage: Storage, path: str, name: str, ended: set[str]) -> bool:
    """Whether a file is one to merge: a writer's of ours, not large, and of no run that may write it again."""
    writer = writer_of(name)
    if not writer or (is_own(name) and first_of(writer)[0] not in ended):
        return False
    return bool(storage.filesystem.get_file_info(storage.full(path)).size < LARGE)


def merge(
    storage: Storage, experiment: str, table: str, groups: Sequence[tuple[str, Sequence[str]]], attempt: str
) -> None:
    """Makes the new folder of a table, and puts it in the place of the old one. `groups`: the beginning of the names of
    merged files, and the files whose rows go there."""
    old, new = f"{experiment}/{table}", f"{experiment}/{FOLDER}/{table}"
    gone = {name for _, group in groups for name in group}
    for start, group in groups:
        inputs = (read_input(storage, f"{old}/{name}", name, table) for name in group)
        for number, data in enumerate(merged_files(inputs, SCHEMAS[table])):
            storage.put(f"{new}/{start}merged-{attempt}-{number:04d}.parquet", data)
    for name in storage.list(old):
        if name not in gone:
            storage.put(f"{new}/{name}", storage.get(f"{old}/{name}") or b"")
    storage.exchange(old, new)


def read_input(storage: Storage, path: str, name: str, table: str) -> Input:
    """A file's rows and notes. DamageError if it cannot be read."""
    data = storage.get(path) or b""
    try:
        if not is_whole(data):
            raise OSError("its footer's checksum differs")
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        rows = fit(file.read(), SCHEMAS[table])
        return rows, parts_of(name, file.metadata)
    except FAULTS as error:
        mend = f"python -m jobs.check --name {path.partition('/')[0]} --mend sets it aside"
        raise DamageError(f"{storage}/{path} is damaged ({one_line(error)}); {mend}") from error


def merged_files(inputs: Iterator[Input], schema: pa.Schema) -> Iterator[bytes]:
    """Files with all rows, in their order, and all notes."""
    groups, waiting, notes, size = list[pa.Table](), list[pa.Table](), list[Part](), 0
    for rows, parts in inputs:
        waiting.append(rows)
        notes += parts
        size += rows.nbytes
        if sum(map(len, waiting)) >= GROUP:
            groups, waiting = [*groups, pa.concat_tables(waiting)], []
        if size >= LARGE:
            yield encode([*groups, *waiting], schema, notes)
            groups, waiting, notes, size = [], [], [], 0
    if notes:
        yield encode([*groups, pa.concat_tables(waiting)] if waiting else groups, schema, notes)


def encode(groups: Sequence[pa.Table], schema: pa.Schema, notes: Sequence[Part]) -> bytes:
    """One file."""
    return to_parquet([group for group in groups if len(group)], schema, notes={MERGED: json.dumps(notes)})
