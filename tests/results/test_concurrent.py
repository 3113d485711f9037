"""Readers in a loop while eight processes write."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from example_rows import all_keys, expected, keys, plain

from gen import results
from gen.results import TABLES
from tests.conftest import GIVE_UP

pytestmark = pytest.mark.slow

WATCHED = ("runs", "metrics", "evals", "outcomes")
RUNS = {"local": 32, "s3": 3}  # a process
TICKS = 5


@pytest.mark.slow
def test_readers_while_eight_processes_write(place):
    runs = RUNS["s3" if "://" in place else "local"]
    writer = Path(__file__).with_name("fleet_writer.py")
    processes = [
        subprocess.Popen(
            [sys.executable, str(writer), place, str(index), str(runs), str(TICKS)], cwd=Path(__file__).parents[2]
        )
        for index in range(8)
    ]
    seen = {table: set() for table in WATCHED}
    reads, deadline = 0, time.monotonic() + GIVE_UP
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < deadline
        ended = seen["outcomes"]
        for table in WATCHED:  # runs that had ended before this read are whole in it
            for reader in (plain, results.queries.read):
                storage = results.Storage(place)
                if "e" not in storage.folders("") or not results.queries.is_experiment(storage, "e"):
                    continue
                found = keys(reader(place, "e", table), table)
                assert seen[table] <= found  # once visible, for ever visible; and none twice
                assert all(expected(run, TICKS, table) <= found for run, _ in ended)
                seen[table] = found
                reads += 1
    assert [process.wait() for process in processes] == [0] * 8
    every = [f"run-{index}-{number}" for index in range(8) for number in range(runs)]
    for table, found in all_keys(place, "e").items():
        assert found == set().union(*(expected(run, TICKS, table) for run in every))
        assert keys(results.queries.read(place, "e", table), table) == found
    assert len(all_keys(place, "e")) == len(TABLES)
    assert reads >= 4  # far more on an idle machine
