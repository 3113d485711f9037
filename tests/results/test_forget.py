"""Runs that are ranked no more, and stay on record."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from gen import results
from gen.results.best import rank_runs
from gen.results.storage import Storage
from jobs import board
from jobs.bench.fleet import Fleet


def test_a_forgotten_run_is_in_no_ranking(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    Fleet("e", 6, 2, leaders=6, attempt="a").write(storage)
    best, second = results.leaderboard(storage, "e")["run"][:2]
    arguments = ["--storage", str(tmp_path), "--name", "e"]
    for wrong in (["--forget", best], ["--why", "x"], ["--forget", "x", "--why", "x"]):
        assert CliRunner().invoke(board.main, [*arguments, *wrong]).exit_code == 2
    done = CliRunner().invoke(board.main, [*arguments, "--forget", best[:10], "--why", "its images were others"])
    assert done.exit_code == 0, done.output
    assert f"forgotten: run {best}: its images were others\n" in done.output
    assert "not ended" not in done.output
    for ranked in (
        results.leaderboard(storage, "e"),
        rank_runs(storage, "e"),
        results.leaderboard(storage, "e", by="config"),
    ):
        assert best not in set(ranked["run"])
    assert rank_runs(storage, "e")["run"].iloc[0] == second
    assert results.best_of_k(storage, "e")["n"].iloc[0] == 5
    assert results.compare(storage, "e", by="entry")["configurations"].sum() <= 5
    assert best in set(results.outcomes(storage, "e")["run"])
    (event,) = results.events(storage, "e", kind="forget").to_dict("records")
    assert (event["run"], event["why"]) == (best, "its images were others")
