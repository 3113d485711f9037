"""What the tables of an experiment should hold, as their files say of each other.

The footer of each file tells how many rows its writer gave to every table in the same calls. It is written with the
rows, so it costs no file more and cannot disagree with them after a kill; and while one of the files is left, it tells
what was in those that are lost. What is in one table alone is noted beside the lease (`gen.results.written`). Files of
earlier versions tell nothing, and of them nothing is expected.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gen.results.fence import Fence
from gen.results.schema import TABLES
from gen.results.storage import Storage, one_line
from gen.results.written import noted

CALLS = "genfleet.calls"  # key in a footer: what was written together with the rows of this file, as `Note`s
REMOVED = "genfleet.removed"  # key in a footer: run -> rows that were taken out of this file, for they stood twice
ONCE = ("runs", "settings", "outcomes")
"""Tables to which a run writes once, all its rows in one file: a file of its own has whatever a slot has lost."""
REBUILT = "genfleet.rebuilt"  # key in a footer: these rows stand for rows of other files that were lost
MERGED = "genfleet.merged"  # key in a footer: the files whose rows are in this one, as `Part`s in their order
NOTES = (CALLS, REMOVED, REBUILT)
FILE = re.compile(r"(.+)-(\d{4,})\.parquet")  # RUN-FIRST, of six digits, or SLOT-NUMBER, of four
DIGITS = 6  # of the first tick in the name of a run's own file
MOST = 200  # footers of a run's own files that are read to say in a line what is missing

Note = Sequence[Any]
"""Number of a call, run, table -> rows."""

Part = tuple[str, int, dict[str, Any]]
"""Name of a file, how many of its rows there are, and the notes in its footer by their keys."""


def notes_of(call: int, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Note]:
    """What a writer notes of the rows, by table, that it writes in one call; nothing if they are all of one table."""
    found: dict[str, Counter[str]] = {}
    for table, of_table in rows.items():
        for row in of_table:
            found.setdefault(row["run"], Counter())[table] += 1
    return [[call, run, dict(counts)] for run, counts in found.items() if len(counts) > 1]


def footer(notes: Iterable[Note]) -> dict[str, str]:
    """Notes as a part of a footer."""
    found = list(notes)
    return {CALLS: json.dumps(found, separators=(",", ":"))} if found else {}


def said(metadata: Any, key: str) -> Any:
    """What the footer of a file says under a key; None if nothing. OSError if it is not what was written."""
    text = (metadata.metadata or {}).get(key.encode())
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise OSError(f"its footer's {key} is damaged: {one_line(error)}") from error


def parts_of(name: str, metadata: Any) -> list[Part]:
    """The files of which a file was merged; else the file itself. OSError if its footer is not what was written."""
    parts = said(metadata, MERGED)
    if parts is None:
        notes = {key: said(metadata, key) for key in NOTES}
        parts = [(name, metadata.num_rows, {key: value for key, value in notes.items() if value})]
    try:  # a file of an earlier version has no checksum of its footer
        if sum(count for _, count, _ in parts) != metadata.num_rows or not all(is_part(*part) for part in parts):
            raise ValueError
    except (TypeError, ValueError, AttributeError):
        raise OSError("its footer's notes are damaged") from None
    return [(of, rows, notes) for of, rows, notes in parts]


def is_part(name: str, rows: int, notes: Mapping[str, Any]) -> bool:
    """Whether these are of the types of a `Part`; TypeError, ValueError or AttributeError if they are not at all."""
    calls = [(call, run, counts) for call, run, counts in notes.get(CALLS, [])]
    texts = [name, *(run for _, run, _ in calls), *notes.get(REMOVED, {})]
    numbers = [rows, *(call for call, _, _ in calls), *notes.get(REMOVED, {}).values()]
    numbers += [count for _, _, counts in calls for count in counts.values()]
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) and number >= 0 for number in numbers)
        and all(counts.keys() <= set(TABLES) for _, _, counts in calls)
    )


def writer_of(name: str) -> str:
    """The part of a file's name that it shares with those that were written together with it: all of RUN-FIRST, and a
    slot's name without the number, for the files of each table are counted by themselves."""
    match = FILE.fullmatch(name)
    return "" if match is None else match[1] if len(match[2]) < DIGITS else name.removesuffix(".parquet")


def first_of(writer: str) -> tuple[str, int]:
    """Run and first tick of a run's own files; no run for a slot."""
    match = FILE.fullmatch(f"{writer}.parquet")
    return (match[1], int(match[2])) if match and len(match[2]) >= DIGITS else ("", 0)


def order_of(table: str) -> int:
    """The place of a table in the order of writing."""
    return TABLES.index(table)


@dataclass
class Promises:
    """What writers noted, and which of it is certain: a writer that was killed may have noted more than it wrote."""

    noted: dict[str, dict[tuple[int, str], dict[str, int]]] = field(default_factory=dict)  # writer -> call, run -> rows
    last: dict[tuple[str, int, str], int] = field(default_factory=dict)  # the last table that holds rows of a call
    latest: dict[str, int] = field(default_factory=dict)  # run -> last first tick of its own files
    unlike: set[str] = field(default_factory=set)  # writers whose files are of two attempts: one was cut

    def add(self, writer: str, table: str, notes: Sequence[Note]) -> None:
        """Adds what the footer of a file of `table` says."""
        base, first = first_of(writer)
        if notes and base:
            self.latest[base] = max(first, self.latest.get(base, -1))
        for call, run, rows in notes:
            before = self.noted.setdefault(writer, {}).setdefault((call, run), rows)
            if before != rows:
                self.unlike.add(writer)
            key = (writer, call, run)
            self.last[key] = max(order_of(table), self.last.get(key, -1))

    def rows(self, writer: str) -> dict[str, Counter[str]]:
        """Run -> table -> rows that a writer noted."""
        found: dict[str, Counter[str]] = {}
        for (_, run), rows in self.noted[writer].items():
            found.setdefault(run, Counter()).update(rows)
        return found

    def is_certain(self, writer: str, run: str, table: str) -> bool:
        """Whether rows of a table that a writer noted were written: so were later ones, of that call or the next."""
        calls = self.noted[writer]
        own = max(call for call, of in calls if of == run)
        if self.last[writer, own, run] > order_of(table) or max(call for call, _ in calls) > own:
            return True
        base, first = first_of(writer)
        return base in self.latest and self.latest[base] > first


def shortfall(storage: Storage, experiment: str) -> str:
    """A line on tables that lack rows which their other files tell of; "" if none does. It costs a list of each table's
    files, and the footers of slots and of those files whose siblings are not the usual ones: nothing is read whole."""
    written = noted(storage, Fence(experiment, "").folder)
    files = {table: storage.list(f"{experiment}/{table}") for table in reversed(TABLES)}  # what is written last, first
    held = {table: {writer_of(name) for name in names} - {""} for table, names in files.items()}
    there = {table: set(names) for table, names in files.items()}
    promises, left = Promises(), MOST
    for table, names in files.items():
        for name in filter(is_merged, names):
            for own, _, notes in parts_in(storage, f"{experiment}/{table}/{name}", name):
                held[table].add(writer_of(own))
                there[table].add(own)
                promises.add(writer_of(own), table, notes.get(CALLS, []))
    for table, names in files.items():
        for name in names:
            writer = writer_of(name)
            if (
                not writer
                or is_merged(name)
                or writer in promises.noted
                or (is_own(name) and (is_usual(writer, held) or left <= 0))
            ):
                continue
            left -= is_own(name)
            for _, _, notes in parts_in(storage, f"{experiment}/{table}/{name}", name):
                promises.add(writer, table, notes.get(CALLS, []))
    anew = {table: {first_of(writer)[0] for writer in held[table]} for table in ONCE}  # runs with a file of their own
    lacking: dict[str, Counter[str]] = {}
    told = set[tuple[str, str]]()
    for writer in promises.noted:
        for run, rows in promises.rows(writer).items():
            for table, count in rows.items():
                if (
                    writer not in held[table]
                    and run not in anew.get(table, ())
                    and promises.is_certain(writer, run, table)
                ):
                    lacking.setdefault(table, Counter())[run] += count
                    told.add((table, writer))
    more = Counter[str]()
    for (table, name), count in written.items():
        if name not in there[table] and (table, writer_of(name)) not in told:
            more[table] += count
    gone = [table for table in without_files(held) if table not in lacking and not more[table]]
    parts = [f"all of {table}" for table in gone]
    for table in TABLES:
        if total := more[table] + sum(lacking.get(table, {}).values()):
            whose = f" ({counted(len(lacking[table]), 'run')})" if table in lacking else ""
            parts.append(f"{counted(total, 'row')} of {table}{whose}")
    if not parts:
        return ""
    return (
        f"{experiment} lacks what was written: {', '.join(parts)}; python -m jobs.check --name {experiment} says more"
    )


def without_files(held: Mapping[str, set[str]]) -> list[str]:
    """Tables without any file though later ones have some that no run writes without them, in whatever version."""
    metrics, evals, ended = (bool(held[table]) for table in ("metrics", "evals", "outcomes"))
    begun = [table for table in ("runs", "settings") if not held[table] and (metrics or evals)]
    return begun + ["metrics"] * (evals and not metrics) + ["evals"] * (metrics and ended and not evals)


def is_own(name: str) -> bool:
    """Whether a file is of one run alone."""
    match = FILE.fullmatch(name)
    return match is not None and len(match[2]) >= DIGITS


def is_usual(writer: str, held: Mapping[str, set[str]]) -> bool:
    """Whether a run's files of one moment are in the tables that belong together."""
    runs, settings, metrics, evals, *others = (writer in held[table] for table in TABLES)
    return runs == settings and metrics == evals and (metrics or not any(others))


def counted(count: int, what: str) -> str:
    """A number of things in words: "1 row", "2 rows"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def is_merged(name: str) -> bool:
    """Whether a file was made of others."""
    return "-merged-" in name


def parts_in(storage: Storage, path: str, name: str) -> list[Part]:
    """What the footer of a file says; nothing if it cannot be read."""
    try:
        with storage.filesystem.open_input_file(storage.full(path)) as file:
            return parts_of(name, pq.read_metadata(file))
    except (pa.ArrowException, OSError):
        return []
