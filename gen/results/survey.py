"""What an experiment's tables hold against what they should: rows that are missing or stand twice, damaged files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gen.results.fence import Fence
from gen.results.manifest import (
    CALLS,
    REBUILT,
    REMOVED,
    Part,
    Promises,
    counted,
    order_of,
    parts_of,
    writer_of,
)
from gen.results.parquet import FAULTS, is_whole
from gen.results.schema import MEASURED_LATER, SCHEMAS, TABLES
from gen.results.storage import Storage, one_line
from gen.results.written import noted

KEYS = {  # table -> columns by which no two rows are equal
    "runs": ["run"],
    "settings": ["run", "key"],
    "metrics": ["run", "tick", "name"],
    "evals": ["run", "tick", "epoch", "scope", "split", "metric", "subject", "column", "weights", "protocol"],
    "samples": ["run", "tick", "kind", "step"],
    "events": ["run", "attempt", "tick", "kind", "time", "why"],
    "outcomes": ["run", "tick", "status"],  # one that failed at its last epoch, and was trained again, has two
}
WHENCE = (("file", pa.string()), ("place", pa.int64()), ("writer", pa.string()))  # of a row
KINDS = ("damaged", "missing", "unfinished", "doubled")


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a table."""

    kind: str  # one of `KINDS`
    table: str
    run: str  # "": of a file that cannot be read
    count: int  # rows; 1 for a file
    why: str = ""

    def __str__(self) -> str:
        what = "file" if self.kind == "damaged" else "row"
        return (
            f"{self.kind:11}{self.table:10}{self.run + '  ' if self.run else ''}{counted(self.count, what)}{self.why}"
        )


@dataclass
class Survey:
    """What was found in the files of the tables."""

    files: int = 0
    rows: int = 0
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)  # table, file -> why it cannot be read
    keys: dict[str, pd.DataFrame] = field(default_factory=dict)  # table -> key columns and attempt, with file and place
    promises: Promises = field(default_factory=Promises)
    removed: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # writer, table, run -> rows taken out
    rebuilt: Counter[tuple[str, str]] = field(default_factory=Counter)  # table, run -> rows that stand for lost ones
    noted: dict[tuple[str, str], int] = field(default_factory=dict)  # table, slot's file -> rows noted by the lease
    own: Counter[tuple[str, str]] = field(default_factory=Counter)  # table, file as it was written -> its rows
    stored: set[str] = field(default_factory=set)  # runs that have a last state, before which they wrote rows

    def faults(self) -> list[Fault]:
        """All that is wrong, by kind, table and run."""
        found = [
            Fault("damaged", table, "", 1, f", {name}: {why}") for (table, name), why in sorted(self.damaged.items())
        ]
        lost = self.lost()
        found += self.lacking(lost)
        found += [
            Fault("missing", table, "", rows, f", of files {writer}")
            for (table, writer), rows in lost.items()
            if rows > 0
        ]
        for table in TABLES:
            doubled = self.keys[table][self.doubled(table)]["run"].value_counts(sort=False)
            found += [Fault("doubled", table, str(run), int(count)) for run, count in doubled.items()]
        return sorted(found, key=lambda fault: (KINDS.index(fault.kind), order_of(fault.table), fault.run))

    def lost(self) -> Counter[tuple[str, str]]:
        """Table, writer -> rows that the lease's holder noted and that are not there."""
        found = Counter[tuple[str, str]]()
        for (table, name), rows in self.noted.items():
            found[table, writer_of(name)] += max(rows - self.own[table, name], 0)
        return found

    def lacking(self, lost: Counter[tuple[str, str]]) -> list[Fault]:
        """Rows that other files tell of, and those without which no run is. What of the former was noted by the lease's
        holder too is certain; it is taken out of `lost`."""
        sure, cut = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        held = {table: frame.groupby(["writer", "run"]).size().to_dict() for table, frame in self.keys.items()}
        total = {table: Counter(frame["run"]) for table, frame in self.keys.items()}
        for writer in self.promises.noted:
            for run, rows in self.promises.rows(writer).items():
                for table, count in rows.items():
                    here = held[table].get((writer, run), 0)
                    short = count - here - self.removed[writer, table, run]
                    if short <= 0:
                        continue
                    known = min(short, lost[table, writer])
                    lost[table, writer] -= known
                    certain = self.promises.is_certain(writer, run, table) and writer not in self.promises.unlike
                    if certain or known == short:
                        sure[table, run] += short
                    elif total[table][run] - here < count:  # else the run wrote them later, elsewhere
                        cut[table, run] += short
        for key, count in self.rebuilt.items():
            sure[key] -= count
        for table, run in self.bare(total):
            sure[table, run] = max(sure[table, run], 1)
        for table, run, ticks in self.absent_ticks():
            sure[table, run] = max(sure[table, run], ticks)
        return [
            Fault(kind, table, run, count, told)
            for kind, counts, told in (
                ("missing", sure, ""),
                ("unfinished", cut, ": a write that was cut, or lost rows; submit the same again"),
            )
            for (table, run), count in counts.items()
            if count > 0
        ]

    def bare(self, total: dict[str, Counter[str]]) -> Iterator[tuple[str, str]]:
        """Table and run, where rows of the run came after those that it has not got."""
        runs = set(self.stored).union(*(total[table] for table in TABLES if table != "events"))
        later = set(self.stored).union(*(total[table] for table in ("metrics", "evals", "outcomes")))
        yield from (("runs", run) for run in runs if run not in total["runs"])
        yield from (("settings", run) for run in runs & later if run not in total["settings"])

    def absent_ticks(self) -> Iterator[tuple[str, str, int]]:
        """Table, run and of how many ticks it has no rows there, for runs that ended: so of earlier versions too."""
        ends, evals = self.keys["outcomes"].sort_values("tick"), self.keys["evals"]
        for table, rows in {"metrics": self.keys["metrics"], "evals": evals[evals["scope"] == "tick"]}.items():
            ticks = rows[rows["tick"] > 0].groupby("run")["tick"].nunique().to_dict()
            for run, tick, status in ends[["run", "tick", "status"]].drop_duplicates("run", keep="last").to_numpy():
                short = int(tick) - int(status == "failed") - ticks.get(run, 0)
                if short > 0:
                    yield table, str(run), short

    def doubled(self, table: str) -> pd.Series[bool]:
        """Which rows of a table stand twice: all but those of the latest attempt, of rows with equal keys."""
        frame = self.keys[table].sort_values(["attempt", "file", "place"], kind="stable")
        twice = frame.duplicated(KEYS[table], keep="last")
        if table == "metrics":
            twice &= ~frame["name"].isin(MEASURED_LATER)
        return twice.reindex(self.keys[table].index)


def survey(storage: Storage, experiment: str) -> Survey:
    """Reads every file of the tables, whole; those that are written last first, for what they tell of is there then."""
    found = Survey(noted=noted(storage, Fence(experiment, "").folder))
    for table in reversed(TABLES):
        schema = schema_of_keys(table)
        tables = list[pa.Table]()
        for name in storage.list(f"{experiment}/{table}"):
            found.files += 1
            try:
                rows, parts = contents(storage, f"{experiment}/{table}/{name}", name, schema)
            except (*FAULTS, KeyError) as error:
                found.damaged[table, name] = one_line(error)
                continue
            tables.append(rows)
            start = 0
            for own, count, notes in parts:
                writer = writer_of(own)
                found.promises.add(writer, table, notes.get(CALLS, []))
                found.own[table, own] += count + sum(notes.get(REMOVED, {}).values())
                for run, gone in notes.get(REMOVED, {}).items():
                    found.removed[writer, table, run] += gone
                if notes.get(REBUILT):
                    found.rebuilt.update((table, run) for run in rows["run"][start : start + count].to_pylist())
                start += count
        found.keys[table] = pa.concat_tables([schema.empty_table(), *tables]).to_pandas()
        found.rows += len(found.keys[table])
    folders = storage.folders(f"{experiment}/_checkpoints")
    found.stored = {run for run in folders if storage.exists(f"{experiment}/_checkpoints/{run}/last.pt")}
    return found


def schema_of_keys(table: str) -> pa.Schema:
    """The columns of a table by which its rows are told apart, and whence each row is."""
    wanted = dict.fromkeys([*KEYS[table], "attempt"])
    fields = [SCHEMAS[table].field(column).with_nullable(True) for column in wanted]
    return pa.schema([*fields, *(pa.field(*one) for one in WHENCE)])


def contents(storage: Storage, path: str, name: str, schema: pa.Schema) -> tuple[pa.Table, list[Part]]:
    """The rows of a file in the columns of `schema`, and what its footer says. An error of pyarrow's, an OSError, or a
    KeyError if it cannot be read, or is not what was written."""
    data = storage.get(path) or b""
    if not is_whole(data):
        raise OSError("its footer's checksum differs")
    file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    rows, parts = file.read(), parts_of(name, file.metadata)
    writers = [writer for own, count, _ in parts for writer in [writer_of(own)] * count]
    whence = {"file": [name] * len(rows), "place": range(len(rows)), "writer": writers}
    columns = {column: rows[column] for column in schema.names if column not in whence}
    found = pa.table({**columns, **whence}, schema=schema)
    found.validate(full=True)  # texts of files without checksums may be none
    return found, parts
