"""A writer killed between any two system calls of a flush."""

import subprocess
import sys
from pathlib import Path

import pytest
from example_rows import all_keys, begin, end, expected, go, keys, whole_run

from gen import results
from gen.results import TABLES, Ledger, Slot, Storage, last_ticks
from gen.results.compact import compact
from gen.results.manifest import shortfall
from gen.results.survey import survey

pytestmark = pytest.mark.slow


def places(tmp_path, work):
    """A storage for each system call before which its writer was killed; the last one's got through."""
    writer = Path(__file__).with_name("killed_writer.py")
    subprocess.run([sys.executable, str(writer), str(tmp_path), work], check=True, cwd=Path(__file__).parents[2])
    return [str(place) for place in sorted(tmp_path.iterdir())]


def check_readable(place, before, after):
    """Both readers see the same; nothing that stood is lost, nothing is there twice or in part of a file."""
    found = all_keys(place, "e")
    for table in TABLES:
        assert before[table] <= found[table] <= after[table]
        assert found[table] in (before[table], after[table])
    for table in ("metrics", "outcomes"):
        if found["runs"]:
            assert keys(results.queries.read(place, "e", table), table) == found[table]
    assert {fault.kind for fault in survey(Storage(place), "e").faults()} <= {"unfinished"}
    assert shortfall(Storage(place), "e") == ""
    if found["outcomes"] == after["outcomes"]:
        assert found == after  # an outcome vouches for all the rest
    return found


def ticks(run, count):
    return {table: expected(run, count, table) for table in TABLES}


def union(*parts):
    return {table: set().union(*(part[table] for part in parts)) for table in TABLES}


@pytest.mark.slow
def test_flush(tmp_path):
    after = ticks("run", 6)
    before = {
        table: {key for key in of_table if table in ("runs", "settings") or key[1] < 3}
        for table, of_table in after.items()
    }
    stages = set()
    for place in places(tmp_path, "flush"):
        found = check_readable(place, before, after)
        stages.add(sum(map(len, found.values())))
        again = Ledger(Storage(place), "e", "run", "a2", first=3)
        for tick in range(3, 6):
            go(again, tick)
        end(again, 5)
        again.close(5)
        assert all_keys(place, "e") == after
        assert survey(Storage(place), "e").faults() == []
    assert len(stages) == 5  # none of the four tables, ..., all of them


@pytest.mark.slow
@pytest.mark.parametrize("work", ["slot", "first"])
def test_slot(tmp_path, work):
    before = union(ticks("run0", 4), ticks("run1", 4)) if work == "slot" else {table: set() for table in TABLES}
    after = union(before, ticks("run2", 4))
    stages = set()
    for place in places(tmp_path, work):
        storage = Storage(place)
        if storage.folders("e"):
            found = check_readable(place, before, after)
            stages.add(sum(map(len, found.values())))
        done = last_ticks(storage, "e").get("run2", {})
        slot = Slot(storage, "e", "slot2")
        whole_run(Ledger(storage, "e", "run2", "a2", slot=slot, last_ticks=done), 4)
        whole_run(Ledger(storage, "e", "run3", "a2", slot=slot), 4)  # and on with the next
        assert all_keys(place, "e") == union(after, ticks("run3", 4))
        assert survey(storage, "e").faults() == []
    assert len(stages) >= 6


@pytest.mark.slow
def test_merge(tmp_path):
    """Nothing is lost and nothing is there twice, before which call it ever ends; the next one makes it whole."""
    every = union(*(ticks(run, 4) for run in ("run0", "run1", "run2")))
    counts = set()
    for place in places(tmp_path, "merge"):
        storage = Storage(place)
        assert check_readable(place, every, every) == every
        counts.add(sum(len(storage.list(f"e/{table}")) for table in TABLES))
        compact(storage, "e", "a3")
        assert check_readable(place, every, every) == every
        assert survey(storage, "e").faults() == []
        assert not storage.folders("e/_compact")
        assert sum(len(storage.list(f"e/{table}")) for table in TABLES) == 6  # one a table; there are no events
    assert len(counts) == 7  # none of the six tables with more than one file, ..., all of them


def test_a_begun_flush_may_be_longer_next_time(tmp_path):
    """The next attempt keeps other ticks of checkpoints: nothing of the first stays beside it."""
    place = str(tmp_path)
    first = Ledger(Storage(place), "e", "run", "a1")
    begin(first)
    for tick in range(4):
        go(first, tick)
    first.flush(3)
    whole_run(Ledger(Storage(place), "e", "run", "a2"), 6)
    assert all_keys(place, "e") == ticks("run", 6)
