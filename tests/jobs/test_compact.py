"""jobs.compact, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gen.results import Lease, Ledger, Slot, Storage
from gen.results.fence import holder_of
from jobs import check, compact
from jobs.bench.fleet import Fleet
from tests.results.example_rows import whole_run


def test_merges_and_says_so_but_never_while_a_lease_lives(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Fleet("e", 6, 2, processes=3, leaders=0, attempt="a").write(storage)
    arguments = ["--storage", str(tmp_path), "--name", "e"]
    with Lease(storage, "e"):
        refused = CliRunner().invoke(compact.main, arguments)
        assert refused.exit_code == 2
        assert "is being written by attempt" in refused.output
        assert len(storage.list("e/runs")) == 3
    done = CliRunner().invoke(compact.main, arguments)
    assert done.exit_code == 0, done.output
    assert "metrics   3 files, now 1\n" in done.output
    assert "events    2 files, as they were\n" in done.output
    assert not holder_of(storage, "e")


def test_on_an_object_store_the_tables_stay_and_are_whole(s3: str) -> None:
    storage = Storage(f"s3://key:secret@bucket/compacted?endpoint_override={s3}&scheme=http")
    whole_run(Ledger(storage, "e", "run", "r00000001-a", slot=Slot(storage, "e", "r00000001-a")), 2)
    whole_run(Ledger(storage, "e", "long", "r00000001-a"), 2)
    arguments = ["--storage", storage.place, "--name", "e"]
    done = CliRunner().invoke(compact.main, arguments)
    assert done.exit_code == 0, done.output
    assert "metrics   2 files, as they were\n" in done.output
    assert "merged files are beside the tables, in s3://bucket/compacted/e/_merged: " in done.output
    assert len(storage.list("e/_merged/metrics")) == 2
    checked = CliRunner().invoke(check.main, arguments)
    assert checked.exit_code == 0, checked.output
    assert checked.output.endswith(" rows in 12 files\n")


@pytest.mark.parametrize("name", ["f", "E"])
def test_an_experiment_that_is_not_there(tmp_path: Path, name: str) -> None:
    Fleet("e", 1, 1, processes=1, leaders=0, attempt="a").write(Storage(str(tmp_path)))
    refused = CliRunner().invoke(compact.main, ["--storage", str(tmp_path), "--name", name])
    assert refused.exit_code == 2
    assert f"no experiment '{name}' in {tmp_path}; there are: e" in refused.output
