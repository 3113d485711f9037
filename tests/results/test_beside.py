"""Merged files beside the tables: whatever happens to either, readers see the tables' own rows, each once."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from example_rows import begin, end, go, plain, whole_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.damage import take_remarks
from gen.results import SCHEMAS, TABLES, Ledger, Slot, Storage, beside, last_ticks, leaderboard, parquet, queries
from gen.results import compact as compact_module
from gen.results.compact import compact
from gen.results.exchange import exchange
from gen.results.ledger import SLOT_BYTES
from gen.results.mend import drop_doubles, take_out
from gen.results.survey import survey
from tests.fixtures.harm import flips

FEW = ("runs", "metrics")  # tables whose rows are compared one by one


def refuse(one: Path, other: Path) -> None:
    """What the kernel says of a file system that has no such step."""
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(one))


@pytest.fixture(autouse=True)
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_module, "exchange", refuse)


class KilledError(BaseException):
    """Ends a process, but for this one."""


class Dying(Storage):
    """A storage whose process is killed before one of its writes: those that ask for the time do not count."""

    def __init__(self, place: str, left: int) -> None:
        super().__init__(place)
        self.left = left

    def count(self, path: str) -> None:
        self.left -= not path.endswith(beside.CLOCK)
        if self.left < 0:
            raise KilledError

    def put(self, path: str, data: bytes, blank: Callable[[], bytes] | None = None) -> None:
        self.count(path)
        super().put(path, data, blank)

    def delete(self, path: str) -> None:
        self.count(path)
        super().delete(path)


def fill(storage: Storage) -> None:
    """Short runs of two processes, and a long one with files of its own."""
    for name, runs in (("s", ("run0", "run1")), ("t", ("run2",))):
        slot = Slot(storage, "e", name)
        for run in runs:
            whole_run(Ledger(storage, "e", run, name, slot=slot), 3)
    train(storage, "long", "a", 0, 4, True)


def train(storage: Storage, run: str, attempt: str, first: int, ticks: int, to_the_end: bool) -> None:
    """A run with files of its own, one for every two ticks, from its first tick or a checkpoint of an earlier one."""
    ledger = Ledger(storage, "e", run, attempt, first=first)
    begin(ledger)
    for tick in range(first, ticks):
        go(ledger, tick)
        if tick % 2:
            ledger.flush(tick)
    if to_the_end:
        end(ledger, ticks - 1)
        ledger.close(ticks - 1)


def answers(storage: Storage) -> dict[str, object]:
    """What readers answer, by whole tables, by the names of files, and of one run."""
    return {
        **{table: rows(storage, table) for table in FEW},
        "later": rows(storage, "metrics", without="slot-"),
        "begun": rows(storage, "metrics", start="slot-", equal={"run": "run0"}),
    }


def check(storage: Storage) -> None:
    """Readers answer as if there were no merged files, and as plain pandas does."""
    found = answers(storage)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "stand_ins", lambda *_: {})
        assert answers(storage) == found
    for table in FEW:
        assert rows_of(plain(storage.place, "e", table), table) == found[table]


def rows(storage: Storage, table: str, **question: object) -> list[str]:
    """Rows as texts, in any order."""
    found = parquet.read_files(storage, f"e/{table}", SCHEMAS[table], **question)  # type: ignore[arg-type]
    return sorted(map(str, found.to_pylist()))


def rows_of(frame: pd.DataFrame | None, table: str) -> list[str]:
    """The same of what plain pandas reads."""
    if frame is None:
        return []
    found = pa.Table.from_pandas(frame[SCHEMAS[table].names], preserve_index=False).cast(SCHEMAS[table])
    return sorted(map(str, found.to_pylist()))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files of tables that readers open."""
    found, read = list[str](), parquet.read_file

    def record(storage: Storage, path: str, **how: object) -> pa.Table | None:
        found.append(path)
        return read(storage, path, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(parquet, "read_file", record)
    return found


def test_readers_open_merged_files_and_those_that_came_later(storage: Storage, opened: list[str]) -> None:
    fill(storage)
    before = {table: storage.stamps(f"e/{table}") for table in TABLES}
    board = leaderboard(storage, "e")
    assert compact(storage, "e", "m")["metrics"] == (4, 2)
    assert {table: storage.stamps(f"e/{table}") for table in TABLES} == before
    opened.clear()
    pd.testing.assert_frame_equal(leaderboard(storage, "e"), board)
    assert opened
    assert all(path.startswith("e/_merged/") for path in opened)
    check(storage)
    for table in FEW:
        assert rows_of(plain(storage.place, "e/_merged", table), table) == rows(storage, table)
    found = survey(storage, "e")
    assert (found.faults(), found.files) == ([], sum(map(len, before.values())))

    merged = storage.stamps("e/_merged/metrics")
    assert compact(storage, "e", "n")["metrics"] == (4, 2)
    assert storage.stamps("e/_merged/metrics") == merged  # nothing to do
    whole_run(Ledger(storage, "e", "run3", "u", slot=Slot(storage, "e", "u")), 3)
    opened.clear()
    assert "run3" in set(queries.runs(storage, "e")["run"])
    assert [path.rpartition("/")[0] for path in opened] == ["e/_merged/runs", "e/_merged/runs", "e/runs"]
    check(storage)


def test_a_file_of_the_same_size_in_the_same_moment_is_another_one(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that lists whole seconds tells it."""
    monkeypatch.setattr(compact_module, "TABLES", ["metrics"])
    storage = Storage(f"s3://key:secret@bucket/moment?endpoint_override={s3}&scheme=http")
    whole_run(Ledger(storage, "e", "run", "a", slot=Slot(storage, "e", "s")), 3)
    compact(storage, "e", "m")
    take_out(storage, "e/metrics/slot-s-0000.parquet", "metrics", np.array([0]))
    assert storage.stamps("e/metrics")["slot-s-0000.parquet"][0] == SLOT_BYTES
    assert len(rows(storage, "metrics")) == 8


class Coarse(Storage):
    """A storage whose clock stands still but while somebody waits."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.now, self.times = 1, dict[str, int]()

    def put(self, path: str, data: bytes, blank: Callable[[], bytes] | None = None) -> None:
        super().put(path, data, blank)
        self.times[path] = self.now

    def stamps(self, folder: str) -> dict[str, tuple[int, int]]:
        return {name: (size, self.times[f"{folder}/{name}"]) for name, (size, _) in super().stamps(folder).items()}

    def wait(self, seconds: float) -> None:
        self.now += 1


def test_what_is_merged_is_older_than_whatever_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_module, "TABLES", ["metrics"])
    storage = Coarse(str(tmp_path))
    monkeypatch.setattr(beside.time, "sleep", storage.wait)
    whole_run(Ledger(storage, "e", "run", "a", slot=Slot(storage, "e", "s")), 3)
    compact(storage, "e", "m")
    take_out(storage, "e/metrics/slot-s-0000.parquet", "metrics", np.array([0]))
    assert len(rows(storage, "metrics")) == 8


def test_killed_before_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time too, when earlier merged files are there, of which some stand for files still."""
    monkeypatch.setattr(compact_module, "TABLES", FEW)
    origin = Storage(str(tmp_path))
    fill(origin)
    for attempt in "mn":
        for left in itertools.count():
            place = Storage(str(tmp_path.with_name(f"{attempt}{left}")))
            shutil.copytree(tmp_path, place.place, copy_function=shutil.copy2)
            try:
                compact(Dying(place.place, left), "e", attempt)
                break
            except KilledError:
                check(place)
                compact(place, "e", "z")
                check(place)
                assert [len(place.list(f"e/_merged/{table}")) for table in FEW] == [2, 2]
        assert left >= 6
        compact(origin, "e", attempt)
        whole_run(Ledger(origin, "e", "run3", "u", slot=Slot(origin, "e", "u")), 3)


def test_killed_on_an_object_store(s3: str) -> None:
    storage = Storage(f"s3://key:secret@bucket/killed?endpoint_override={s3}&scheme=http")
    train(storage, "long", "a", 0, 2, False)
    with pytest.raises(KilledError):
        compact(Dying(storage.place, 2), "e", "m")
    assert storage.list("e/_merged/runs") == ["going-merged-m-0000.parquet"]
    check(storage)
    assert compact(storage, "e", "n")["metrics"] == (1, 1)
    check(storage)


@pytest.mark.parametrize("harmed", ["metrics/slot-merged-m-0000.parquet", "metrics.json"])
def test_what_is_damaged_is_not_read_and_that_is_said(tmp_path: Path, harmed: str) -> None:
    storage = Storage(str(tmp_path))
    fill(storage)
    compact(storage, "e", "m")
    file, before = tmp_path / "e" / "_merged" / harmed, answers(storage)
    data = file.read_bytes()
    for where, bad in flips(data, 20):
        file.write_bytes(bad)
        take_remarks()
        assert rows(storage, "metrics") == before["metrics"], where
        lines = take_remarks()
        if lines:
            (line,) = lines
            assert line.startswith(f"{file} is damaged (")
            assert line.endswith(
                "; metrics's own files are read instead; python -m jobs.compact --name e makes it anew"
            )
    file.write_bytes(data[:-40])
    assert answers(storage) == before
    assert len(take_remarks()) == 1
    compact(storage, "e", "n")
    take_remarks()
    assert answers(storage) == before
    assert take_remarks() == []
    assert "slot-merged-n-0000.parquet" in storage.list("e/_merged/metrics")


def test_a_merged_file_that_went(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    fill(storage)
    compact(storage, "e", "m")
    shutil.rmtree(tmp_path / "e" / "_merged" / "metrics")
    check(storage)
    assert take_remarks() == []
    assert compact(storage, "e", "n")["metrics"] == (4, 2)
    assert storage.list("e/_merged/metrics") == ["ended-merged-n-0000.parquet", "slot-merged-n-0000.parquet"]


def test_a_file_of_a_later_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "PATIENCE", 0.2)
    storage = Storage(str(tmp_path))
    fill(storage)
    os.utime(tmp_path / "e" / "metrics" / "slot-s-0000.parquet", (time.time() + 3600,) * 2)
    with pytest.raises(
        ValueError, match=r"by their times, metrics/slot-s-0000.parquet is no older than a file that was"
    ):
        compact(storage, "e", "m")
    check(storage)


def test_on_a_file_system_with_the_step_they_go(tmp_path: Path) -> None:
    """As of an experiment that was copied from an object store."""
    storage = Storage(str(tmp_path))
    fill(storage)
    compact(storage, "e", "m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_module, "exchange", exchange)
        assert compact(storage, "e", "n")["metrics"] == (4, 1)
    assert "_merged" not in storage.folders("e")
    check(storage)


RUNS = st.sampled_from(["long0", "long1"])
STEPS = st.one_of(
    st.tuples(st.just("slot"), st.sampled_from(["short0", "short1", "run0"])),
    st.tuples(st.just("train"), RUNS, st.integers(2, 5), st.booleans()),
    st.tuples(st.just("compact"), st.none() | st.integers(0, 7)),
    st.tuples(st.just("take out"), st.sampled_from(FEW), st.integers(0, 20)),
    st.tuples(st.just("mend")),
    st.tuples(st.just("lose"), st.sampled_from(FEW), st.booleans(), st.integers(0, 20)),
)


@given(st.lists(STEPS, min_size=2, max_size=6))
@settings(max_examples=12)
def test_any_history(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact_module, "exchange", refuse)
        patch.setattr(compact_module, "TABLES", FEW)
        patch.setattr(os, "fsync", lambda file: None)  # no power fails here
        patch.setattr(parquet, "THREADS", 1)
        storage, first = Storage(folder), dict[str, int]()
        fill(storage)
        compact(storage, "e", "first")
        for number, (what, *how) in enumerate(steps):
            do(storage, f"a{number}", first, what, *how)
            check(storage)


def do(storage: Storage, attempt: str, first: dict[str, int], what: str, *how) -> None:
    """One step of a history. `first`: run -> the tick after its checkpoint."""
    if what == "slot":
        known = last_ticks(storage, "e").get(how[0], {})
        whole_run(Ledger(storage, "e", how[0], attempt, slot=Slot(storage, "e", attempt), last_ticks=known), 3)
    elif what == "train":
        run, ticks, to_the_end = how
        train(storage, run, attempt, first.get(run, 0), max(ticks, first.get(run, 0) + 1), to_the_end)
        first[run] = 2  # whatever it wrote since is written again
        storage.put(f"e/_checkpoints/{run}/last.pt", b"")
        if to_the_end:
            storage.delete(f"e/_checkpoints/{run}/last.pt")
    elif what == "compact":
        with suppress(KilledError):
            compact(storage if how[0] is None else Dying(storage.place, how[0]), "e", attempt)
    elif what == "mend":
        drop_doubles(storage, "e", survey(storage, "e"))
    else:
        folder = f"e/_merged/{how[0]}" if what == "lose" and how[1] else f"e/{how[0]}"
        for name in storage.list(folder)[how[-1] :][:1]:
            if what == "lose":
                storage.delete(f"{folder}/{name}")
            elif len(parquet.read_bytes(storage.get(f"{folder}/{name}") or b"", name)):
                take_out(storage, f"{folder}/{name}", how[0], np.array([0]))
