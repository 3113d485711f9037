"""jobs.check tells what is lost, damaged or doubled in an experiment, and mends what can be."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gen import results
from gen.config import identity
from gen.data.dataset import Dataset
from gen.engine import fit
from gen.judge import Judge
from gen.record import names
from gen.record.record import Home
from gen.results import Lease, Slot, Storage
from gen.results.floor import Asked, floor_rows
from gen.results.schema import LATER_SECONDS
from jobs import board, check, compact
from tests.engine.test_fit import CPU, small

KEPT, SHORT = "kept", "short"  # a run of jobs.train with its last checkpoint, and one of a search without


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, digits: Dataset, judge: Judge) -> Path:
    """Two experiments of one run each."""
    place = tmp_path_factory.mktemp("trained")
    storage, config = Storage(str(place)), small("vae_mlp", **{"budget.epochs": 2})
    run = identity(config, digits.hash)
    for name, more in ((KEPT, {}), (SHORT, {"slot": Slot(storage, SHORT, "s"), "keep_last": False})):
        with Lease(storage, name) as lease:
            names.write_note(storage, name, names.note(config, digits.hash))
            home = Home(lease.storage, name, lease.attempt, run=run, **more)
            list(fit(config, digits, device=CPU, judge=judge, home=home))
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "place"))


def run(place: Path, name: str, *more: str) -> Result:
    return CliRunner().invoke(check.main, ["--storage", str(place), "--name", name, *more])


@pytest.mark.parametrize("name", [KEPT, SHORT])
def test_whole(place: Path, name: str) -> None:
    done = run(place, name)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{name}: whole; ")


@pytest.mark.parametrize("name", [KEPT, SHORT])
def test_lost_beginnings_are_rebuilt(place: Path, name: str) -> None:
    def read(table: str) -> pd.DataFrame:
        return pd.read_parquet(place / name / table, dtype_backend="pyarrow")

    before = {table: read(table) for table in ("runs", "settings")}
    for table in before:
        shutil.rmtree(place / name / table)
    done = run(place, name)
    assert done.exit_code == 1
    assert "missing    runs" in done.stdout
    assert "missing    settings" in done.stdout
    done = run(place, name, "--mend")
    assert done.exit_code == 0, done.output
    after = {table: read(table) for table in before}
    same = ["run", "attempt", "entry", "family", "data_hash", "seed", "config", "parameters", "threads", "world_size"]
    assert after["runs"][same].equals(before["runs"][same])
    assert after["settings"].equals(before["settings"])
    assert run(place, name).exit_code == 0


@pytest.mark.parametrize("name", [KEPT, SHORT])
def test_a_lost_end_is_rebuilt(place: Path, name: str) -> None:
    """Where the last state was kept, from it: submitted again, a run that ended writes no other end."""
    before = results.outcomes(str(place), name)
    shutil.rmtree(place / name / "outcomes")
    done = run(place, name, "--mend")
    assert done.exit_code == 0, done.output
    same = ["run", "tick", "status", "metric", "best", "best_epoch", "last", "checkpoint", "epochs", "steps", "images"]
    same += ["seconds", "images_per_second", "collapsed"] if name == KEPT else []
    after = results.outcomes(str(place), name)
    assert after[same].equals(before[same])
    assert after["why"][0] == "2 epochs; rebuilt by jobs.check"


def test_a_rebuilt_end_does_not_count_the_seconds_of_measuring_twice(place: Path) -> None:
    """They stand beside the run's own, which the ranking adds to them."""
    ticks = results.metrics(str(place), SHORT, name="engine/train_seconds")
    later = ticks.to_dict("records")[-1] | {"name": LATER_SECONDS, "value": 1000.0, "seconds": 1000.0}
    Slot(Storage(str(place)), SHORT, "a-leaders", kind="evaluated").extend({"metrics": [later]})
    own = results.outcomes(str(place), SHORT)["seconds"][0]
    shutil.rmtree(place / SHORT / "outcomes")
    assert run(place, SHORT, "--mend").exit_code == 0
    assert results.outcomes(str(place), SHORT)["seconds"][0] == pytest.approx(own)
    assert results.leaderboard(str(place), SHORT)["seconds"][0] == pytest.approx(own + 1000)


def test_proposals_of_runs_that_have_not_begun_are_whole_and_stay(place: Path) -> None:
    """A search that was killed leaves them; so does the floor, which is of no run."""
    before_that, (own,) = results.new_attempt(), results.runs(str(place), SHORT).to_dict("records")
    begun = own["run"]
    row = {
        "experiment": SHORT,
        "attempt": before_that,
        "tick": 0,
        "kind": "proposal",
        "decision": "random",
        "detail": "{}",
    }
    row |= {"time": datetime.now(UTC), "epoch": None, "value": None}
    for number, slot in enumerate(Slot(Storage(str(place)), SHORT, f"a-{one}", kind="proposed") for one in "bc"):
        runs = [begun if number == 0 else f"{9:016x}", f"{number:016x}", f"{number + 2:016x}"]
        slot.extend({"events": [{**row, "run": run, "why": f"configuration of {run}"} for run in runs]})
    (floor,) = floor_rows(SHORT, Asked("h", "test", "image", "f", 9), [], {"seconds": 0.0}, "too few images")
    floor |= {"attempt": before_that, "time": datetime.now(UTC)}
    Slot(Storage(str(place)), SHORT, "a-floors", kind="evaluated").extend({"events": [floor]})

    def events() -> list[dict]:
        found = pd.read_parquet(place / SHORT / "events", dtype_backend="pyarrow")
        return found.sort_values(["kind", "run", "time"]).to_dict("records")

    before = events()
    assert run(place, SHORT).exit_code == 0
    shutil.rmtree(place / SHORT / "runs")
    done = run(place, SHORT, "--mend")
    assert done.exit_code == 0, done.output
    (after,) = results.runs(str(place), SHORT).to_dict("records")
    assert (after["run"], after["attempt"]) == (
        begun,
        own["attempt"],
    )  # not the proposal's, and no row for what never began
    merged = CliRunner().invoke(compact.main, ["--storage", str(place), "--name", SHORT])
    assert merged.exit_code == 0, merged.output
    assert run(place, SHORT).exit_code == 0
    assert events() == before
    assert len(results.events(str(place), SHORT, kind="proposal")) == 6
    assert len(results.leaderboard(str(place), SHORT)) == 1


def test_what_cannot_come_back_is_said(place: Path) -> None:
    shutil.rmtree(place / KEPT / "metrics")
    done = run(place, KEPT, "--mend")
    assert done.exit_code == 1
    assert "remains: missing    metrics" in done.stdout
    assert "the run under another --name writes them again" in done.stdout


def test_other_jobs_say_in_a_line_what_is_lost(place: Path) -> None:
    shutil.rmtree(place / SHORT / "evals")
    done = CliRunner().invoke(board.main, ["--storage", str(place), "--name", SHORT])
    assert done.exit_code == 0, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{SHORT} lacks what was written: ")
    assert line.endswith(f" of evals (1 run); python -m jobs.check --name {SHORT} says more")


def test_weights_whose_run_is_lost_are_one_line(place: Path) -> None:
    shutil.rmtree(place / KEPT / "runs")
    with pytest.raises(
        ValueError, match=r"runs of kept lacks [0-9a-f]{16}, of which there are weights; .*--mend makes"
    ):
        results.queries.data_hashes(str(place), KEPT, list(results.outcomes(str(place), KEPT)["run"]))


def test_no_such_experiment(place: Path) -> None:
    (place / "pictures").mkdir()
    (place / "pictures" / "mine.csv").write_text("1,2")
    for job in (check, compact):
        done = CliRunner().invoke(job.main, ["--storage", str(place), "--name", "pictures"])
        assert done.exit_code == 2
        assert done.stderr == (
            f"error: pictures in {place} is no experiment: it has no tables; name the folder above it?\n"
        )
    assert [path.name for path in (place / "pictures").iterdir()] == ["mine.csv"]
    shutil.rmtree(place / "pictures")
    done = run(place, "absent")
    assert done.exit_code == 2
    assert done.stderr == f"error: no experiment 'absent' in {place}; there are: {KEPT}, {SHORT}\n"
