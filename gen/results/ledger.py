"""The writers of the tables. Every file appears whole, and a run repeated after a kill loses and doubles no row."""

from __future__ import annotations

import io
import itertools
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gen.results.fence import rank_of
from gen.results.manifest import Note, footer, notes_of
from gen.results.parquet import GAP, SEAL, footer_length, read_files, seal
from gen.results.schema import SCHEMAS, SLOTS, TABLES, check_row, to_table
from gen.results.storage import Storage, check_name

SLOT_BYTES = 1 << 17  # size of a slot file, the same from the first row that it holds to the last
SLOT_RUNS = 32  # most runs in a slot file: a rewrite encodes all of them anew, some 0.2 ms a run and table
FOOTER_BYTES = 60_000  # largest footer of a slot file: readers fetch the last 64 KiB at once, and so get it whole

_latest = datetime.min.replace(tzinfo=UTC)
_lock = threading.Lock()


def new_attempt(rank: int | None = None) -> str:
    """A unique id, such as r00000007-20260131T235959000001-1a2b3c4d: its rank, the time (UTC), and chance. Sorted as
    texts, ids are in the order of their ranks, which no clock decides. Those without a rank, of writers that have no
    lease and of earlier versions, are in the order of time, before all that have one."""
    global _latest
    with _lock:  # two attempts of one process differ in time too
        _latest = max(datetime.now(UTC), _latest + timedelta(microseconds=1))
        own = f"{_latest:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
    return own if rank is None else f"r{rank:08d}-{own}"


def begin_of(attempt: str) -> datetime:
    """When an attempt began, by the clock of its host, as its id says."""
    text = attempt.partition("-")[2] if rank_of(attempt) else attempt
    return datetime.strptime(text.partition("-")[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)


BLANK = "genfleet.blank"  # key in the footer of a file without rows
CHECKED = {"write_statistics": ["run"], "write_page_checksum": True}
MANY_ROWS = {"compression": "zstd", "use_dictionary": True, **CHECKED}
FEW_ROWS = {"compression": "lz4", "use_dictionary": False, **CHECKED}  # six times as fast


def to_parquet(
    groups: Sequence[pa.Table],
    schema: pa.Schema,
    options: Mapping[str, Any] = MANY_ROWS,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """A Parquet file with one row group for each table, and `notes` in its footer."""
    return seal(encode(groups, schema, options, notes))


def encode(
    groups: Sequence[pa.Table], schema: pa.Schema, options: Mapping[str, Any], notes: Mapping[str, str] | None
) -> bytes:
    """The file before it is sealed."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for group in groups:
            writer.write_table(group)
        if notes:
            writer.add_key_value_metadata(notes)
    return sink.getvalue()


def to_slot(groups: Sequence[pa.Table], schema: pa.Schema, notes: Mapping[str, str] | None = None) -> bytes | None:
    """A Parquet file of SLOT_BYTES with a gap between the rows and the footer; None if the rows do not fit.

    With more rows the file begins with the same bytes as before, and has the same size. So a reader that listed the
    folder, or read the footer, before the file was replaced still reads a whole earlier state: on an object store
    readers ask for ranges of the size that they once listed, and break where that size changes.
    """
    if len(groups) > SLOT_RUNS:
        return None
    data = encode(groups, schema, FEW_ROWS, notes)
    if len(data) + GAP + SEAL > SLOT_BYTES or footer_length(data) > FOOTER_BYTES:
        return None
    return seal(data, SLOT_BYTES)


def to_long(group: pa.Table, schema: pa.Schema, notes: Mapping[str, str]) -> bytes:
    """A file of a slot with the rows of a run that do not fit into a slot file; with a gap, which that has too."""
    data = encode([group], schema, MANY_ROWS, notes)
    return seal(data, len(data) + GAP + SEAL)


def put_rows(storage: Storage, path: str, data: bytes, schema: pa.Schema) -> None:
    """Puts a file of a table. The blank file that may be there for a moment has its size, for readers ask an object
    store for ranges of the size that they once listed."""
    storage.put(path, data, lambda: blank(schema, len(data)))


def blank(schema: pa.Schema, size: int = 0) -> bytes:
    """A Parquet file without rows, and unlike all others: its tag is its own."""
    return seal(encode([], schema, FEW_ROWS, {BLANK: secrets.token_hex(8)}), size)


class Slot:
    """Files that hold the rows of many short runs, which one process trains one after another:
    TABLE/slot-NAME-0000.parquet is rewritten with more rows until it is full, then TABLE/slot-NAME-0001.parquet begins.
    `name` is an attempt and an index, and is never used a second time.

    `kind` begins the names of the files. "slot" is for rows that runs write: `last_ticks` finds these when a run is
    begun again. Another word is for rows about runs that ended (figures measured later), which it passes over.

    After an error in `extend` make a new slot with another name, and ask `last_ticks` again.
    """

    def __init__(self, storage: Storage, experiment: str, name: str, kind: str = "slot") -> None:
        check_name("experiment", experiment)
        check_name("slot", name)
        self.storage, self.experiment, self.name = storage, experiment, f"{kind}-{name}"
        self._groups: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
        self._number = dict.fromkeys(TABLES, 0)
        self._notes: dict[str, list[list[Note]]] = {table: [] for table in TABLES}  # of each group
        self._calls = itertools.count()

    def extend(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Adds rows, table -> rows, to the files, outcomes last. A run gives all of its rows in one call."""
        groups = {table: to_table(table, of_table) for table, of_table in rows.items() if of_table}
        notes = notes_of(next(self._calls), rows)
        for table in TABLES:
            if table in groups:
                self._extend(table, groups[table], notes)

    def _extend(self, table: str, group: pa.Table, notes: list[Note]) -> None:
        schema, groups, all_notes = SCHEMAS[table], [*self._groups[table], group], [*self._notes[table], notes]
        data = to_slot(groups, schema, footer(itertools.chain(*all_notes)))
        if data is None and len(groups) > 1:
            self._number[table] += 1
            groups, all_notes = [group], [notes]
            data = to_slot(groups, schema, footer(notes))
        path = f"{self.experiment}/{table}/{self.name}-{self._number[table]:04d}.parquet"
        put_rows(self.storage, path, to_long(group, schema, footer(notes)) if data is None else data, schema)
        if self.storage.fence is not None:
            number, rows = self._number[table], sum(map(len, groups))
            self.storage.fence.written.count(self.name, table, number, rows if data is not None else len(group))
        if data is None:  # too long for a slot file: a file of its own, never written again
            self._number[table] += 1
            groups, all_notes = [], []
        self._groups[table], self._notes[table] = groups, all_notes


class Ledger:
    """The rows of one attempt at one run. Only one ledger of a run is live at a time (see `Lease`).

    `first` is the first tick that is not in the checkpoint from which the attempt goes on. What an earlier attempt
    wrote from `first` on is replaced: by files of the same names, or by files without rows. `last_ticks`: table -> last
    tick of this run that slot files hold; rows up to it are left out.
    """

    def __init__(
        self,
        storage: Storage,
        experiment: str,
        run: str,
        attempt: str,
        *,
        first: int = 0,
        slot: Slot | None = None,
        last_ticks: Mapping[str, int] | None = None,
    ) -> None:
        check_name("experiment", experiment)
        check_name("run", run)
        self.storage, self.experiment, self.run, self.attempt = storage, experiment, run, attempt
        self.first, self.slot, self.last_ticks = first, slot, dict(last_ticks or {})
        self._begin = first
        self._rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        self._stale: dict[str, list[str]] | None = None  # table -> files to replace; None: not looked for

    def add(self, table: str, tick: int, *, earlier: bool = False, **row: Any) -> None:
        """Buffers a row of the run; the ledger fills in experiment, run, attempt and tick.

        A row belongs to a tick that has not been flushed, or to the tick flushed last: a run that ends writes its end
        after the checkpoint of that tick, and does so again after a kill. ValueError for an earlier tick, whose rows
        no repetition would write again, for an unknown table or column, a missing column, or a value of a wrong type.
        `earlier`: the row is part of the run's end, which a repetition writes again, and tells of an earlier tick.
        """
        schema = SCHEMAS.get(table)
        if schema is not None and "tick" in schema.names:
            row["tick"] = tick
        row |= {"experiment": self.experiment, "run": self.run, "attempt": self.attempt}
        checked = check_row(table, row)
        if tick < self.first - 1 and not earlier:
            raise ValueError(f"{table}: tick {tick} of run {self.run} was flushed; ticks go on from {self.first}")
        belongs = checked.get("tick", self._begin)  # a row of a table without ticks belongs to the beginning
        if belongs > self.last_ticks.get(table, -1):
            self._rows[table].append(checked)

    def flush(self, tick: int) -> None:
        """Writes the rows up to and including `tick` as TABLE/RUN-FIRST.parquet, outcomes last. The checkpoint of that
        tick comes after it: killed between the two, the next attempt writes files of the same names."""
        name = f"{self.run}-{self.first:06d}.parquet"
        stale = self._find_stale()
        for table in reversed(TABLES):  # outcomes first: no outcome stays whose other rows have gone
            for old in stale.get(table, ()):
                if old != name or not self._rows[table]:
                    self.storage.put(f"{self.experiment}/{table}/{old}", blank(SCHEMAS[table]))
        notes = footer(notes_of(self.first, self._rows))
        for table, rows in self._rows.items():
            if rows:
                data = to_parquet([to_table(table, rows)], SCHEMAS[table], notes=notes)
                put_rows(self.storage, f"{self.experiment}/{table}/{name}", data, SCHEMAS[table])
        self._stale = {}
        self._rows = {table: [] for table in TABLES}
        self.first = tick + 1

    def close(self, tick: int) -> None:
        """Writes the last rows of the run, or of this attempt at it: into the slot if there is one and nothing was
        flushed before, else as `flush` does. The last checkpoint, if any, comes after it."""
        if self.slot is None or self.first > self._begin or any(self._find_stale().values()):
            self.flush(tick)
            return
        self.slot.extend(self._rows)
        self._rows = {table: [] for table in TABLES}
        self.first = tick + 1

    def _find_stale(self) -> dict[str, list[str]]:
        """Table -> files of this run that an earlier attempt wrote after the checkpoint from which this one goes on."""
        if self._stale is None:
            number = re.compile(rf"{re.escape(self.run)}-(\d+)\.parquet")
            self._stale = {
                table: [
                    name
                    for name in self.storage.list(f"{self.experiment}/{table}")
                    if (match := number.fullmatch(name)) and int(match[1]) >= self._begin
                ]
                for table in TABLES
            }
        return self._stale


def last_ticks(storage: Storage, experiment: str, run: str | None = None) -> dict[str, dict[str, int]]:
    """Run -> table -> last tick whose rows slot files hold (0 in tables without ticks), of one run or of all. Ask it
    before a run is begun again: a process that was killed while it wrote a slot may have written only some tables of
    its last run. The table `events` is left out: an event belongs to its attempt, and a repetition does not write it
    again."""
    found: dict[str, dict[str, int]] = {}
    equal = {} if run is None else {"run": run}
    for table, schema in SCHEMAS.items():
        if table == "events":
            continue
        columns = ["run", "tick"] if "tick" in schema.names else ["run"]
        rows = read_files(storage, f"{experiment}/{table}", schema, columns=columns, equal=equal, start=SLOTS)
        last = rows.group_by("run").aggregate([(columns[-1], "max")])
        ticks = last["tick_max"].to_pylist() if columns[1:] else itertools.repeat(0)
        for name, tick in zip(last["run"].to_pylist(), ticks, strict=False):
            found.setdefault(name, {})[table] = max(tick, 0)
    return found
