"""jobs.tune: losers end early, what is done is found again, and a kill loses and doubles nothing."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gen import results

SMALL = ["--entry", "vqvae", "--set", "model.hidden=8", "--epochs", 4, "--name", "search"]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


def test_search(run_job: Callable, storage: Path):
    arguments = ["tune", *SMALL, "--samples", 8, "--reduction", 2, "--storage", storage]
    done = run_job(*arguments)
    assert done.returncode == 0, done.stderr
    place = str(storage)
    ends = results.outcomes(place, "search", all_ends=True)
    assert len(ends) == len(set(ends["run"])) == 8
    assert set(ends["status"]) == {"finished", "stopped"}
    assert len(results.leaderboard(place, "search")) == 8
    # every stop is a decision on record, and its run ended on that rung
    rungs = results.events(place, "search", kind="rung")
    stops = rungs[rungs["decision"] == "stop"].set_index("run")
    stopped = ends[ends["status"] == "stopped"].set_index("run")
    assert set(stops.index) == set(stopped.index)
    assert all(stops.loc[run, "epoch"] == stopped.loc[run, "epochs"] for run in stops.index)
    assert all(
        json.loads(detail)["cutoff"] < value for detail, value in zip(stops["detail"], stops["value"], strict=True)
    )
    # a search that grows trains only what is new
    more = run_job("tune", *SMALL, "--samples", 9, "--reduction", 2, "--storage", storage)
    assert more.returncode == 0, more.stderr
    assert "9 runs, 8 on record" in more.stdout
    grown = results.outcomes(place, "search", all_ends=True)
    assert len(grown) == len(set(grown["run"])) == 9
    assert set(map(tuple, ends[["run", "attempt"]].to_numpy())) < set(map(tuple, grown[["run", "attempt"]].to_numpy()))


def test_killed_search(start_job: Callable, run_job: Callable, tmp_path: Path):
    arguments = ["tune", *SMALL, "--samples", 10, "--storage", tmp_path]
    process = start_job(*arguments)
    for line in process.stdout:
        if "(3 of 10)" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    before = results.outcomes(str(tmp_path), "search")
    assert 0 < len(before) < 10
    done = run_job(*arguments)
    assert done.returncode == 0, done.stderr
    ends = results.outcomes(str(tmp_path), "search", all_ends=True)
    assert len(ends) == len(set(ends["run"])) == 10
    for table, keys in {
        "metrics": ["run", "tick", "name"],
        "evals": ["run", "tick", "scope", "split", "protocol"],
    }.items():
        rows = getattr(results, table)(str(tmp_path), "search")
        assert not rows.duplicated(keys).any()
