"""jobs.compact, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gen.results import Lease, Storage
from gen.results.fence import holder_of
from jobs import compact
from jobs.bench.fleet import Fleet


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


@pytest.mark.parametrize("name", ["f", "E"])
def test_an_experiment_that_is_not_there(tmp_path: Path, name: str) -> None:
    Fleet("e", 1, 1, processes=1, leaders=0, attempt="a").write(Storage(str(tmp_path)))
    refused = CliRunner().invoke(compact.main, ["--storage", str(tmp_path), "--name", name])
    assert refused.exit_code == 2
    assert f"no experiment '{name}' in {tmp_path}; there are: e" in refused.output
