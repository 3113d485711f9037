"""A search that version 1 of the settings began, submitted again with the same options, and with more samples."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gen import results
from gen.on_ray.preflight import check_name
from jobs import tune
from jobs.plan import plan
from tests.record.test_earlier_version import ARCHIVE, OFTEN, SEARCHES, SMALL


def test_an_old_search_is_found_and_extended(run_job: Callable, tmp_path: Path):
    zipfile.ZipFile(ARCHIVE).extractall(tmp_path)
    before = results.outcomes(str(tmp_path), "search-lsgan").set_index("run")["best"]
    asked = [
        *SEARCHES["search-lsgan"],
        *SMALL,
        *OFTEN,
        "--max-epochs=4",
        "--name=search-lsgan",
        f"--storage={tmp_path}",
        "--samples=6",
        "--set=evaluate.leaders=1",
        "--max-concurrent=1",
    ]
    done = run_job("tune", *asked)
    assert done.returncode == 0, done.stderr
    assert "search-lsgan: 6 runs, 4 on record" in done.stdout
    after = results.outcomes(str(tmp_path), "search-lsgan").set_index("run")["best"]
    assert after[before.index].equals(before)
    board = results.leaderboard(str(tmp_path), "search-lsgan").set_index("run")
    assert set(before.index) < set(board.index)
    assert len(board) == 6
    settings = results.settings(str(tmp_path), "search-lsgan")
    assert settings["model.networks.critic_width"].to_list() == [8] * 6
    changed = plan(tune.main.make_context("tune", [*asked, "--set=model.objective.a=-2"]).params)
    (data_hash,) = set(results.runs(str(tmp_path), "search-lsgan")["data_hash"])
    with pytest.raises(ValueError, match=r"model\.objective\.a was 0\.0, now -2\.0"):
        check_name(results.Storage(str(tmp_path)), "search-lsgan", changed.note(data_hash))
