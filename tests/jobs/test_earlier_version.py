"""A search that version 1 of the settings began, submitted again with the same options, and with more samples."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from gen import results
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
    ]
    done = run_job("tune", *asked, "--samples=6")
    assert done.returncode == 0, done.stderr
    assert "search-lsgan: 6 runs, 4 on record" in done.stdout
    after = results.outcomes(str(tmp_path), "search-lsgan").set_index("run")["best"]
    assert after[before.index].equals(before)
    board = results.leaderboard(str(tmp_path), "search-lsgan").set_index("run")
    assert set(before.index) < set(board.index)
    assert len(board) == 6
    settings = results.settings(str(tmp_path), "search-lsgan")
    assert settings["model.networks.critic_width"].to_list() == [8] * 6
    changed = run_job("tune", *asked, "--samples=6", "--set=model.objective.a=-2")
    assert changed.returncode == 2
    assert "model.objective.a was 0.0, now -2.0" in changed.stderr
