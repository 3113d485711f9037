"""What the files of an experiment's tables say of each other: lost tables, rows that stand twice, damaged files."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from example_rows import all_keys, begin, end, expected, go, whole_run

from gen.results import TABLES, Ledger, Slot, Storage
from gen.results.leftovers import OLD
from gen.results.manifest import shortfall
from gen.results.mend import drop_doubles, put_rebuilt, set_aside
from gen.results.queries import read
from gen.results.survey import survey

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "experiments-1.zip"
SHORT = ("run0", "run1", "run2")


def fill(storage: Storage) -> None:
    """Three short runs in a slot, and one with two checkpoints before its end."""
    slot = Slot(storage, "e", "s")
    for run in SHORT:
        whole_run(Ledger(storage, "e", run, "a", slot=slot), 4)
    ledger = Ledger(storage, "e", "long", "a")
    begin(ledger)
    ledger.flush(0)
    for tick in range(1, 5):
        go(ledger, tick)
        if tick % 2 == 0:
            ledger.flush(tick)
    end(ledger, 4)
    ledger.close(4)


def lose(storage: Storage, table: str) -> None:
    for name in storage.list(f"e/{table}"):
        storage.delete(f"e/{table}/{name}")


def lacking(storage: Storage) -> dict[tuple[str, str, str], int]:
    return {(fault.kind, fault.table, fault.run): fault.count for fault in survey(storage, "e").faults()}


@pytest.mark.parametrize("table", TABLES)
def test_each_lost_table_is_told_by_run_and_count(storage: Storage, table: str) -> None:
    fill(storage)
    assert lacking(storage) == {}
    assert shortfall(storage, "e") == ""
    rows = {run: len(expected(run, 4, table)) for run in SHORT}
    lose(storage, table)
    found = lacking(storage)
    assert {run: count for (_, _, run), count in found.items() if run != "long"} == {
        run: count for run, count in rows.items() if count
    }
    assert {of for _, of, _ in found} == ({table} if table != "events" else set())
    if table in ("runs", "settings", "metrics", "evals"):
        assert ("missing", table, "long") in found
        line = shortfall(storage, "e")
        assert f"of {table} (4 runs)" in line
        assert "\n" not in line


@pytest.mark.parametrize("table", ["runs", "settings", "outcomes"])
def test_what_was_made_anew_is_said_to_be_lost_no_more(storage: Storage, table: str) -> None:
    fill(storage)
    before = read(storage, "e", table)
    lose(storage, table)
    assert f"of {table} (" in shortfall(storage, "e")
    for run, rows in before.groupby("run"):
        put_rebuilt(storage, "e", table, str(run), 0, rows.to_dict("records"))
    assert shortfall(storage, "e") == ""
    assert lacking(storage) == {}


def test_the_last_write_of_a_writer_may_have_been_cut(storage: Storage) -> None:
    """No other row tells whether the outcome came after the rest; of the runs before the last one it is certain."""
    fill(storage)
    lose(storage, "outcomes")
    assert lacking(storage) == {
        ("missing", "outcomes", "run0"): 1,
        ("missing", "outcomes", "run1"): 1,
        ("unfinished", "outcomes", "run2"): 1,
        ("unfinished", "outcomes", "long"): 1,
    }


def test_a_run_begun_again_in_another_slot_is_whole(storage: Storage) -> None:
    fill(storage)
    slot = storage.list("e/outcomes")
    storage.delete(f"e/outcomes/{slot[-1]}")  # as if the slot's process had been killed before it
    assert {kind for kind, _, _ in lacking(storage)} == {"missing", "unfinished"}
    again = Slot(storage, "e", "t")
    for run in SHORT:
        ledger = Ledger(storage, "e", run, "b", slot=again, last_ticks=dict.fromkeys(TABLES[:-1], 9))
        end(ledger, 3)
        ledger.close(3)
    assert ("unfinished", "outcomes", "run2") not in lacking(storage)


def test_rows_that_stand_twice_are_taken_out(storage: Storage, place: str) -> None:
    for attempt, ticks in (("a1", (2, 4)), ("a2", (1, 3, 4))):  # neither sees the other
        ledger = Ledger(storage, "e", "run", attempt)
        begin(ledger)
        ledger._stale = {}
        for tick in range(5):
            go(ledger, tick)
            if tick in ticks:
                ledger.flush(tick)
        end(ledger, 4)
        ledger.close(4)
    found = survey(storage, "e")
    doubled = {fault.table: fault.count for fault in found.faults()}
    assert {fault.kind for fault in found.faults()} == {"doubled"}
    assert drop_doubles(storage, "e", found) == doubled
    assert lacking(storage) == {}
    assert all_keys(place, "e") == {table: expected("run", 5, table) for table in TABLES}


def test_a_doubled_run_of_a_slot_is_taken_out_and_the_file_keeps_its_size(storage: Storage, place: str) -> None:
    for name in ("s", "t"):
        slot = Slot(storage, "e", name)
        for run in SHORT:
            whole_run(Ledger(storage, "e", run, name, slot=slot), 4)
    size = len(storage.get("e/metrics/slot-s-0000.parquet") or b"")
    drop_doubles(storage, "e", survey(storage, "e"))
    assert lacking(storage) == {}
    assert len(storage.get("e/metrics/slot-s-0000.parquet") or b"") == size
    assert all_keys(place, "e")["metrics"] == set().union(*(expected(run, 4, "metrics") for run in SHORT))


@pytest.mark.parametrize("data", [b"", b"PAR1", None])
def test_a_damaged_file_is_told_and_set_aside(storage: Storage, place: str, data: bytes | None) -> None:
    fill(storage)
    path = "e/metrics/long-000003.parquet"
    whole = storage.get(path) or b""
    storage.put(path, whole[: len(whole) // 2] if data is None else data)
    found = survey(storage, "e")
    kinds = [(fault.kind, fault.table, fault.run) for fault in found.faults()]
    assert kinds == [("damaged", "metrics", ""), ("missing", "metrics", "long")]
    assert all("\n" not in str(fault) for fault in found.faults())
    assert set_aside(storage, "e", found) == ["e/_damaged/metrics-long-000003.parquet"]
    assert list(lacking(storage)) == [("missing", "metrics", "long")]
    assert all_keys(place, "e")["outcomes"]  # the others are read as before


def test_what_earlier_versions_wrote_is_whole_until_something_is_lost(tmp_path: Path) -> None:
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    storage = Storage(str(tmp_path))
    for name in storage.folders(""):
        assert survey(storage, name).faults() == []
        assert shortfall(storage, name) == ""
    for table in ("metrics", "evals"):
        for name in storage.list(f"train-vae/{table}"):
            storage.delete(f"train-vae/{table}/{name}")
        assert ("missing", table) in {(one.kind, one.table) for one in survey(storage, "train-vae").faults()}
        if table == "metrics":
            assert shortfall(storage, "train-vae").startswith("train-vae lacks what was written: all of metrics; ")


def test_leftovers_of_dead_writers_go_with_the_next_write(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    storage, folder = Storage(str(tmp_path)), tmp_path / "e" / "metrics"
    folder.mkdir(parents=True)
    from gen.results.leftovers import own_mark

    gone = folder / f".a.parquet.{dead.pid}.{own_mark()}01234567"
    mine = folder / f".b.parquet.{os.getpid()}.{own_mark()}01234567"
    other = folder / f".c.parquet.{dead.pid}.0123456789abcdef"  # a process of another host
    earlier = folder / f".d.parquet.{dead.pid}.0123456789ab"
    old = folder / f".e.parquet.{dead.pid}.0123456789ac"
    for path in (gone, mine, other, earlier, old):
        path.write_bytes(b"half")
    os.utime(old, (0, old.stat().st_mtime - OLD - 1))
    assert storage.leftovers("e") == [f"e/metrics/{gone.name}", f"e/metrics/{old.name}"]
    storage.put("e/metrics/x.parquet", b"")
    assert {path.name for path in folder.iterdir()} == {mine.name, other.name, earlier.name, "x.parquet"}
    gone.write_bytes(b"half")
    assert storage.remove_leftovers("e") == 1
    assert not gone.exists()
