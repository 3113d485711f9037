"""jobs.board prints the leaderboard, says what it is of, and counts what it leaves out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gen import results
from gen.results import Ledger
from jobs import board
from tests.conftest import ROOT
from tests.results.example_rows import begin, end, go

SEEDS, RATES = 2, (0.1, 0.2)
LOST = "epoch 1: the critic wins: critic/loss is 0.01, bound 0.03"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment "e" of two configurations with two seeds each, and of a run that goes on; one run collapsed."""
    place = tmp_path_factory.mktemp("place")
    storage = results.Storage(str(place))
    for rate in RATES:
        for seed in range(SEEDS):
            ledger = Ledger(storage, "e", f"r{rate}-{seed}", "a1")
            begin(ledger, seed, [("model.rate", rate, str(rate)), ("seed", float(seed), str(seed))])
            go(ledger, 1)
            end(ledger, 1, 10 * rate + seed, **({"collapsed": LOST} if (rate, seed) == (0.2, 1) else {}))
            ledger.close(1)
    ledger = Ledger(storage, "e", "live", "a1")
    begin(ledger)
    ledger.flush(0)
    return place


def run(place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(board.main, ["--storage", str(place), "--name", "e", *arguments])


def test_by_run(place: Path) -> None:
    done = run(place)
    assert done.exit_code == 0, done.output
    first, names, *rows, collapsed, left = done.stdout.splitlines()
    about = "split=validation, n_real=180, n_fake=180, features=classifier, weights=raw, protocol=best-p1"
    assert first == f"e in {place}, by frechet_classifier/reconstructions (small is good), {about}"
    assert names.split()[:5] == ["rank", "run", "entry", "seed", "value"]
    assert [row.split()[1] for row in rows] == ["r0.1-0", "r0.1-1", "r0.2-0", "r0.2-1"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert LOST in rows[-1]
    assert (collapsed, left) == ("collapsed: 1 of 4 runs", "not ended yet: 1 of 5 runs")


def test_what_is_not_there_is_said_with_what_brings_it(place: Path) -> None:
    fresh = run(place, "--by", "fresh").stdout.splitlines()
    assert fresh[0] == f"e in {place}: no run with a fresh seed has ended; jobs.tune --confirm trains some"
    assert run(place, "--split", "test").stdout.splitlines()[0].endswith("; jobs.evaluate --name e measures them")


def test_by_configuration(place: Path) -> None:
    done = run(place, "--by", "config", "--metric", "frechet/reconstructions")
    assert done.exit_code == 0, done.output
    _, names, *rows, collapsed, left, alike = done.stdout.splitlines()
    columns = "rank entry mean low high n runs apart collapsed best run rate"
    assert names.split() == columns.split()
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert [float(row.split()[2]) for row in rows] == [1.5, 2.5]
    assert [row.split()[-2] for row in rows] == ["r0.1-0", "r0.2-0"]
    assert alike == "cannot be told apart from rank 1, run r0.1-0, by their intervals: r0.2-0"
    assert (collapsed, left) == ("collapsed: 1 of 4 runs", "not ended yet: 1 of 5 runs")


def test_rows_that_are_left_out_are_counted(place: Path) -> None:
    done = run(place, "--top", "1")
    assert "not printed: 3 of 4 rows; jobs.board --top 0 prints all" in done.stdout
    assert len(done.stdout.splitlines()) == len(run(place).stdout.splitlines()) - 3 + 1
    assert "not printed" not in run(place, "--top", "0").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--metric", "nonsense"], "metric 'nonsense' is not known; nearest valid: "),
        (["--metric", "fid/fakes"], "fid/fakes was measured of no run of e that ended, on validation images"),
        (["--split", "tests"], "split='tests' is not known in evals; nearest valid: test"),
        (["--features", "inception"], "features=inception: the runs have no such figure; there are: classifier"),
        (["--name", "other"], "no experiment 'other'"),
        (["--top", "-1"], "top=-1 is out of range; allowed: at least 0"),
        (["--by", "seed"], "'seed' is not one of 'run', 'config', 'fresh'"),
    ],
)
def test_refusals_are_one_line(place: Path, arguments: list[str], expected: str) -> None:
    done = run(place, *arguments)
    assert done.exit_code == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_folder_that_is_no_experiment(place: Path) -> None:
    done = CliRunner().invoke(board.main, ["--storage", str(place.parent), "--name", place.name])
    line = f"error: {place.name} in {place.parent} is no experiment: it has no tables; name the folder above it?\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", line)


def test_an_experiment_of_which_nothing_has_ended(tmp_path: Path) -> None:
    ledger = Ledger(results.Storage(str(tmp_path)), "e", "live", "a1")
    begin(ledger)
    ledger.flush(0)
    for by in ("run", "config"):
        done = run(tmp_path, "--by", by)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[1:] == ["not ended yet: 1 of 1 runs"]


TABLES_ALONE = """
import sys
from click.testing import CliRunner
from jobs import board, check, compact

asked = ["--storage", sys.argv[1], "--name", "e"]
for job in (board, check, compact):
    done = CliRunner().invoke(job.main, asked)
    assert done.exit_code == 0, done.output
print([name for name in ("torch", "ray") if name in sys.modules])
"""


def test_jobs_that_read_tables_alone_load_neither_torch_nor_ray(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path / "copy")
    command = [sys.executable, "-c", TABLES_ALONE, str(tmp_path / "copy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
