"""The rows and the notes of many files of a table in few."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from gen.damage import DamageError
from gen.results.ledger import to_parquet
from gen.results.manifest import MERGED, Part, first_of, is_own, parts_of, writer_of
from gen.results.mend import fit
from gen.results.parquet import FAULTS, is_whole
from gen.results.queries import outcomes
from gen.results.schema import SCHEMAS
from gen.results.storage import Storage, one_line

LARGE = 1 << 26  # bytes of rows in memory: merged files have about as many
GROUP = 1 << 16  # rows of a row group, at least
ENDED = ("finished", "stopped")  # states of runs that write no row again which they have written
LATER = "evaluated-"  # begins the names of merged files with rows that were written about runs, and not by them

Merged = tuple[list[str], bytes]
"""The names of the files whose rows a merged file has, and its content."""


def ended_runs(storage: Storage, experiment: str) -> set[str]:
    """Runs that ended, and that have no state from which they go on."""
    ends = outcomes(storage, experiment, columns=["run", "status"])
    stored = storage.folders(f"{experiment}/_checkpoints")
    going = {run for run in stored if storage.exists(f"{experiment}/_checkpoints/{run}/last.pt")}
    return set(ends["run"][ends["status"].isin(ENDED)]) - going


def is_going(name: str, ended: set[str]) -> bool:
    """Whether a file is one of a run's own that this run may write again."""
    return is_own(name) and first_of(writer_of(name))[0] not in ended


def merge(storage: Storage, folder: str, names: Sequence[str]) -> Iterator[Merged]:
    """Files with all rows of these files of a table, in their order, and all notes. DamageError for a file that cannot
    be read."""
    schema = SCHEMAS[folder.rpartition("/")[2]]
    groups, waiting, notes, size, whose = list[pa.Table](), list[pa.Table](), list[Part](), 0, list[str]()
    for name in names:
        rows, parts = read_input(storage, f"{folder}/{name}", name, schema)
        waiting.append(rows)
        notes += parts
        whose.append(name)
        size += rows.nbytes
        if sum(map(len, waiting)) >= GROUP:
            groups, waiting = [*groups, pa.concat_tables(waiting)], []
        if size >= LARGE:
            yield whose, encode([*groups, *waiting], schema, notes)
            groups, waiting, notes, size, whose = [], [], [], 0, []
    if whose:
        yield whose, encode([*groups, pa.concat_tables(waiting)] if waiting else groups, schema, notes)


def read_input(storage: Storage, path: str, name: str, schema: pa.Schema) -> tuple[pa.Table, list[Part]]:
    """A file's rows, and the notes in its footer. DamageError if it cannot be read."""
    data = storage.get(path) or b""
    try:
        if not is_whole(data):
            raise OSError("its footer's checksum differs")
        file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        return fit(file.read(), schema), parts_of(name, file.metadata)
    except FAULTS as error:
        mend = f"python -m jobs.check --name {path.partition('/')[0]} --mend sets it aside"
        raise DamageError(f"{storage}/{path} is damaged ({one_line(error)}); {mend}") from error


def encode(groups: Sequence[pa.Table], schema: pa.Schema, notes: Sequence[Part]) -> bytes:
    """One file."""
    return to_parquet([group for group in groups if len(group)], schema, notes={MERGED: json.dumps(notes)})
