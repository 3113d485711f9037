"""A search whose sampler learns, on a real Ray: killed and submitted again it proposes what it would have proposed."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gen import results
from gen.on_ray.proposals import Proposal, proposals
from gen.results.storage import Storage
from jobs import tune
from tests.conftest import GIVE_UP

SMALL = ["--entry", "vqvae", "--set", "model.networks.hidden=8", "--name", "search", "--max-concurrent", 1]
QUICK = ["--size", 8, "--epochs", 2, "--set", "evaluate.full=none", "--sampler", "tpe"]


def on_record(place: Path) -> list[Proposal]:
    return proposals(Storage(str(place)), "search")


@pytest.mark.long  # tests/on_ray/test_proposals.py cuts a search anywhere, without Ray
def test_killed_and_submitted_again_it_proposes_the_same(run_job: Callable, start_job: Callable, tmp_path: Path):
    """One run at a time: also the proposals that come after the kill are those of a search that nobody killed."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    done = run_job("tune", *SMALL, *QUICK, "--samples", 13, "--storage", whole)
    assert done.returncode == 0, done.stderr
    process = start_job("tune", *SMALL, *QUICK, "--samples", 13, "--storage", cut)
    for line in process.stdout:
        if "(3 of 13)" in line and " run " in line:
            process.send_signal(signal.SIGKILL)
            break
    _, errors = process.communicate(timeout=GIVE_UP)
    before = on_record(cut)
    assert 3 <= len(before) < 13, errors
    done = run_job("tune", *SMALL, *QUICK, "--samples", 13, "--storage", cut, "--epoch-budget", 5)
    assert "the budget of 5 epochs is spent" in done.stdout, done.stderr
    done = run_job("tune", *SMALL, *QUICK, "--samples", 13, "--storage", cut)
    assert done.returncode == 0, done.stderr
    assert on_record(cut) == on_record(whole)  # the last of them are no longer drawn by chance
    assert on_record(cut)[: len(before)] == before
    assert [one.sampler for one in before[:2]] == ["queue", "tpe"]
    ends = results.outcomes(str(cut), "search")
    assert len(ends) == 13
    columns = ["run", "status", "best"]
    assert ends[columns].equals(results.outcomes(str(whole), "search")[columns])


def test_without_optuna_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "optuna", None)  # as where it is not installed
    asked = ["--entry", "vqvae", "--sampler", "tpe", "--storage", str(tmp_path / "storage")]
    result = CliRunner().invoke(tune.main, asked)
    assert result.exit_code == 2
    assert result.stderr == (
        "error: sampler=tpe needs Optuna: pip install 'genfleet[search]', or pip install 'optuna>=5,<6'\n"
    )
    assert not (tmp_path / "storage").exists()
