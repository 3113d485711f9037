"""jobs.tune: losers end early, what is done is found again, and a kill loses and doubles nothing."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

from gen import results

SMALL = ["--entry", "vqvae", "--set", "model.hidden=8", "--epochs", 4, "--name", "search"]


def test_search(run_job: Callable, tmp_path: Path):
    done = run_job("tune", *SMALL, "--samples", 8, "--reduction", 2, "--storage", tmp_path)
    assert done.returncode == 0, done.stderr
    place = str(tmp_path)
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


def test_killed_search(start_job: Callable, run_job: Callable, tmp_path: Path):
    arguments = ["tune", *SMALL, "--storage", tmp_path]
    process = start_job(*arguments, "--samples", 10)
    for line in process.stdout:
        if "(3 of 10)" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    before = results.outcomes(str(tmp_path), "search")
    assert 0 < len(before) < 10
    done = run_job(*arguments, "--samples", 11)  # samples may grow
    assert done.returncode == 0, done.stderr
    assert f"11 runs, {len(before)} on record" in done.stdout
    ends = results.outcomes(str(tmp_path), "search", all_ends=True)
    assert len(ends) == len(set(ends["run"])) == 11
    assert set(before["attempt"]) < set(ends["attempt"])
    for table, keys in {
        "metrics": ["run", "tick", "name"],
        "evals": ["run", "tick", "scope", "split", "protocol"],
    }.items():
        rows = getattr(results, table)(str(tmp_path), "search")
        assert not rows.duplicated(keys).any()
