"""What writes the tables. Every file appears whole, and a repetition after a kill loses and doubles no row."""

from __future__ import annotations

import io
import itertools
import re
import secrets
import struct
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from gen.results.schema import SCHEMAS, TABLES, check_row, to_table
from gen.results.storage import Storage, check_name

SLOT_BYTES = 1 << 17  # size of a slot file from its first row to its last
SLOT_RUNS = 32  # most runs in one: each rewrite encodes them all anew, some 0.2 ms a run and table
FOOTER_BYTES = 60_000  # most of a slot file's footer: readers fetch the last 64 KiB at once, so a footer is never torn

_latest = datetime.min.replace(tzinfo=UTC)
_lock = threading.Lock()


def new_attempt() -> str:
    """A unique id whose order as text is that of time: 20260131T235959000001-1a2b3c4d, UTC."""
    global _latest
    with _lock:  # two attempts of one process differ in time too
        _latest = max(datetime.now(UTC), _latest + timedelta(microseconds=1))
        return f"{_latest:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"


MANY_ROWS = {"compression": "zstd", "use_dictionary": True, "write_statistics": ["run"]}
FEW_ROWS = {"compression": "lz4", "use_dictionary": False, "write_statistics": ["run"]}  # six times as fast


def to_parquet(groups: Sequence[pa.Table], schema: pa.Schema, options: Mapping[str, Any] = MANY_ROWS) -> bytes:
    """A Parquet file with one row group for each table."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for group in groups:
            writer.write_table(group)
    return sink.getvalue()


def to_slot(groups: Sequence[pa.Table], schema: pa.Schema) -> bytes | None:
    """A Parquet file of SLOT_BYTES with a gap between the rows and the footer; None if they do not fit.

    A longer slot file begins with the bytes of the shorter one, and both are of one size. So a reader that listed the
    folder, or read the footer, before the file was replaced still reads a whole earlier state: on an object store
    readers ask for ranges of the size that they once listed, and break where that size changes.
    """
    if len(groups) > SLOT_RUNS:
        return None
    data = to_parquet(groups, schema, FEW_ROWS)
    footer = struct.unpack("<I", data[-8:-4])[0] + 8
    if len(data) > SLOT_BYTES or footer > FOOTER_BYTES:
        return None
    return data[:-footer] + bytes(SLOT_BYTES - len(data)) + data[-footer:]


class Slot:
    """The short runs of one process, many to a file: TABLE/slot-NAME-0000.parquet is rewritten with more rows under
    its name until it is full, then -0001 begins. `name` is unique for ever: an attempt and an index. `kind` begins the
    files' names: "slot" for the rows of runs, which `recorded` finds when a run is begun again; another word for rows
    about runs that no run wrote itself (figures measured later, decisions), which it leaves alone.

    After an error in `extend` start anew, with another name, and what `recorded` then says.
    """

    def __init__(self, storage: Storage, experiment: str, name: str, kind: str = "slot") -> None:
        check_name("experiment", experiment)
        check_name("slot", name)
        self.storage, self.experiment, self.name = storage, experiment, f"{kind}-{name}"
        self._groups: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
        self._number = dict.fromkeys(TABLES, 0)

    def extend(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Writes the rows of each table (one run's, from its start to its end), outcomes last."""
        groups = {table: to_table(table, of_table) for table, of_table in rows.items() if of_table}
        for table in TABLES:
            if table in groups:
                self._extend(table, groups[table])

    def _extend(self, table: str, group: pa.Table) -> None:
        schema, groups = SCHEMAS[table], [*self._groups[table], group]
        data = to_slot(groups, schema)
        if data is None and len(groups) > 1:
            self._number[table] += 1
            self._groups[table], groups = [], [group]
            data = to_slot(groups, schema)
        path = f"{self.experiment}/{table}/{self.name}-{self._number[table]:04d}.parquet"
        self.storage.put(path, to_parquet(groups, schema) if data is None else data)
        if data is None:  # too long for a slot file: a file of its own, never written again
            self._number[table] += 1
            groups = []
        self._groups[table] = groups


class Ledger:
    """The rows of one attempt at one run. Only one ledger of a run is live at a time (see `Lease`).

    `first` is the first tick that is not in the checkpoint from which the attempt goes on. What an earlier attempt
    wrote from `first` on is replaced: by files of the same names, or by files without rows. `recorded` is what slot
    files hold of this run, table -> tick: such rows are left out.
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
        recorded: Mapping[str, int] | None = None,
    ) -> None:
        check_name("experiment", experiment)
        check_name("run", run)
        self.storage, self.experiment, self.run, self.attempt = storage, experiment, run, attempt
        self.first, self.slot, self.recorded = first, slot, dict(recorded or {})
        self._begin = first
        self._rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        self._stale: dict[str, list[str]] | None = None  # names in the way, by table; None: not looked for yet

    def add(self, table: str, tick: int, **row: Any) -> None:
        """Buffers a row of the run; the ledger fills in experiment, run, attempt and tick.

        A row belongs to a tick that has not been flushed, or to the tick flushed last: a run that ends writes its end
        after the checkpoint of that tick, and does so again after a kill. ValueError for an earlier tick, whose rows
        no repetition would write again, for an unknown table or column, a missing column, or a value of a wrong type.
        """
        schema = SCHEMAS.get(table)
        if schema is not None and "tick" in schema.names:
            row["tick"] = tick
        row |= {"experiment": self.experiment, "run": self.run, "attempt": self.attempt}
        checked = check_row(table, row)
        if tick < self.first - 1:
            raise ValueError(f"{table}: tick {tick} of run {self.run} was flushed; ticks go on from {self.first}")
        if checked.get("tick", self._begin) > self.recorded.get(table, -1):  # what has no tick belongs to the beginning
            self._rows[table].append(checked)

    def flush(self, tick: int) -> None:
        """Writes the rows up to and including `tick` as TABLE/RUN-FIRST.parquet, outcomes last. Comes before the
        checkpoint of that tick: a kill between the two is mended by the next attempt, which writes the same names."""
        name = f"{self.run}-{self.first:06d}.parquet"
        stale = self._find_stale()
        for table in reversed(TABLES):  # outcomes first: none stays whose rows have gone
            for old in stale.get(table, ()):
                if old != name or not self._rows[table]:
                    self.storage.put(f"{self.experiment}/{table}/{old}", to_parquet([], SCHEMAS[table]))
        for table, rows in self._rows.items():
            if rows:
                data = to_parquet([to_table(table, rows)], SCHEMAS[table])
                self.storage.put(f"{self.experiment}/{table}/{name}", data)
        self._stale = {}
        self._rows = {table: [] for table in TABLES}
        self.first = tick + 1

    def close(self, tick: int) -> None:
        """The end of the run, or of this attempt at it: into the slot if there is one and nothing was flushed
        before, else as `flush`. Its checkpoint, if any, comes after."""
        if self.slot is None or self.first > self._begin or any(self._find_stale().values()):
            self.flush(tick)
            return
        self.slot.extend(self._rows)
        self._rows = {table: [] for table in TABLES}
        self.first = tick + 1

    def _find_stale(self) -> dict[str, list[str]]:
        """This run's files from tick `first` on that an earlier attempt left and no checkpoint vouches for."""
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


def last_ticks(storage: Storage, experiment: str) -> dict[str, dict[str, int]]:
    """Run -> table -> last tick that slot files hold (0 in tables without ticks). Ask before a run is begun again: a
    process killed while it wrote a slot may have recorded only some of the tables of its last run. `events` is
    not among them: an event is a fact of its attempt, and no repetition makes it again."""
    found: dict[str, dict[str, int]] = {}
    for table, schema in SCHEMAS.items():
        names = [name for name in storage.list(f"{experiment}/{table}") if name.startswith("slot-")]
        if table == "events" or not names:
            continue
        paths = [storage.full(f"{experiment}/{table}/{name}") for name in names]
        ticked = ["tick"] if "tick" in schema.names else []
        rows = ds.dataset(paths, schema=schema, filesystem=storage.filesystem, format="parquet").to_table(
            columns=["run", *ticked]
        )
        ticks = rows["tick"].to_pylist() if ticked else itertools.repeat(0)
        for run, tick in zip(rows["run"].to_pylist(), ticks, strict=False):
            of_run = found.setdefault(run, {})
            of_run[table] = max(tick, of_run.get(table, 0))
    return found
