"""Few files in the place of many: the same rows, the same notes, and a run that goes on as before."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from example_rows import all_keys, begin, end, expected, go, whole_run

from gen.damage import DamageError
from gen.results import TABLES, Ledger, Slot, Storage, last_ticks, leaderboard, queries
from gen.results.compact import compact
from gen.results.manifest import shortfall
from gen.results.mend import drop_doubles
from gen.results.survey import survey
from jobs.bench.fleet import Fleet

SHORT = ("run0", "run1", "run2")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Short runs of two processes, one that was cut and is repeated there, and a run with files of its own."""
    found = Storage(str(tmp_path))
    for name, runs in (("s", SHORT[:2]), ("t", SHORT[2:])):
        slot = Slot(found, "e", name)
        for run in runs:
            whole_run(Ledger(found, "e", run, name, slot=slot), 4)
    long = Ledger(found, "e", "long", "a")
    begin(long)
    for tick in range(4):
        go(long, tick)
        if tick == 1:
            long.flush(tick)
    end(long, 3)
    long.close(3)
    return found


def test_the_same_rows_in_one_file_a_table(storage: Storage) -> None:
    tables = [table for table in TABLES if storage.list(f"e/{table}")]
    before = {table: queries.read(storage, "e", table) for table in tables}
    board = leaderboard(storage, "e")
    assert compact(storage, "e", "m")["metrics"] == (4, 1)
    for table in tables:
        assert len(storage.list(f"e/{table}")) == 1
        pairs = [frame.sort_values(["run", "attempt"], kind="stable", ignore_index=True) for frame in
                 (before[table], queries.read(storage, "e", table))]  # fmt: skip
        pd.testing.assert_frame_equal(*pairs)
    pd.testing.assert_frame_equal(leaderboard(storage, "e"), board)
    assert not storage.folders("e/_compact")
    assert compact(storage, "e", "n")["metrics"] == (1, 1)


@pytest.mark.parametrize("table", ["metrics", "outcomes"])
def test_what_is_lost_afterwards_is_told_as_before(storage: Storage, table: str) -> None:
    """The notes survive, by writer: which rows are certain and which may have been cut."""
    other = Storage(f"{storage.place}/copy")
    for each in TABLES:
        for name in storage.list(f"e/{each}"):
            other.put(f"e/{each}/{name}", storage.get(f"e/{each}/{name}") or b"")
    compact(storage, "e", "m")
    assert survey(storage, "e").faults() == []
    assert shortfall(storage, "e") == ""
    for each in (storage, other):
        for name in each.list(f"e/{table}"):
            each.delete(f"e/{table}/{name}")
    assert [str(one) for one in survey(storage, "e").faults()] == [str(one) for one in survey(other, "e").faults()]
    assert shortfall(storage, "e") == shortfall(other, "e")
    assert (table == "metrics") == ("of metrics" in shortfall(storage, "e"))


def test_a_run_begun_again_doubles_nothing(storage: Storage) -> None:
    """A stopped run that keeps no state begins anew where its search may train longer."""
    compact(storage, "e", "m")
    for run in ("run0", "long"):
        again = Ledger(storage, "e", run, "b", slot=Slot(storage, "e", run), last_ticks=last_ticks(storage, "e")[run])
        whole_run(again, 6)
    rows = {table: expected("run1", 4, table) | expected("run2", 4, table) for table in TABLES}
    for table, of_table in rows.items():
        for run in ("run0", "long"):
            of_table |= expected(run, 6, table) | (expected(run, 4, table) if table in ("evals", "outcomes") else set())
    assert all_keys(storage.place, "e") == rows
    assert compact(storage, "e", "n")["metrics"] == (3, 1)
    assert all_keys(storage.place, "e") == rows


def test_files_of_a_run_that_goes_on_stay(storage: Storage) -> None:
    storage.put("e/_checkpoints/long/last.pt", b"")
    compact(storage, "e", "m")
    assert storage.list("e/metrics") == ["long-000000.parquet", "long-000002.parquet", "slot-merged-m-0000.parquet"]


def test_rows_that_stand_twice_are_taken_out_of_a_merged_file(storage: Storage) -> None:
    whole_run(Ledger(storage, "e", "run1", "z", slot=Slot(storage, "e", "z")), 4)
    compact(storage, "e", "m")
    found = survey(storage, "e")
    assert {fault.kind for fault in found.faults()} == {"doubled"}
    drop_doubles(storage, "e", found)
    assert survey(storage, "e").faults() == []
    assert all_keys(storage.place, "e")["metrics"] == set().union(
        *(expected(run, 4, "metrics") for run in (*SHORT, "long"))
    )


def test_figures_measured_later_are_merged_apart(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Fleet("e", 12, 2, processes=3, leaders=3, attempt="a").write(storage)
    Fleet("e", 12, 2, processes=3, leaders=2, attempt="b").write(other := Storage(str(tmp_path / "other")))
    for table in ("evals", "metrics"):
        (name,) = (one for one in other.list(f"e/{table}") if one.startswith("evaluated-"))
        storage.put(f"e/{table}/{name}", other.get(f"e/{table}/{name}") or b"")
    board = leaderboard(storage, "e")
    compact(storage, "e", "m")
    assert storage.list("e/metrics") == ["evaluated-merged-m-0000.parquet", "slot-merged-m-0000.parquet"]
    pd.testing.assert_frame_equal(leaderboard(storage, "e"), board)


def test_nothing_changes_where_a_file_is_damaged(storage: Storage) -> None:
    (name, *_) = storage.list("e/evals")
    storage.put(f"e/evals/{name}", b"PAR1")
    with pytest.raises(DamageError, match=r"is damaged .*; python -m jobs.check --name e --mend sets it aside"):
        compact(storage, "e", "m")
    assert len(storage.list("e/evals")) > 1
