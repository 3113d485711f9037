"""Runs that failed are trained again where that is asked for, and nothing is doubled if they fail again."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gen import results
from gen.config import identity, override
from gen.data.dataset import Dataset
from gen.on_ray.retry import ends_that_stand
from gen.results import Storage
from gen.results.survey import survey
from tests.on_ray.test_resident import Slot, configs

KEYS = {"runs": [], "settings": ["key"], "metrics": ["tick", "name"], "outcomes": ["tick"]}


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    monkeypatch.setenv("GENFLEET_CACHE", cache)


def fail(slot: Slot, run: str) -> None:
    """A run of which the tables say that it failed at its first epoch."""
    row = {"experiment": "search", "run": run, "attempt": slot.search.attempt, "tick": 1, "status": "failed"}
    row |= {"why": "no memory", "metric": "mse/reconstructions", "best": None, "best_epoch": None, "last": None}
    row |= {"checkpoint": None, "epochs": 1.0, "steps": 1, "images": 1, "seconds": 1.0, "images_per_second": None}
    results.Slot(slot.search.storage, "search", f"{slot.search.attempt}-by-hand").extend(
        {"outcomes": [row | {"parameters": 1, "ended": datetime.now(UTC)}]}
    )


@pytest.mark.long
def test_what_fails_again_is_trained_again_once(run_job: Callable, tmp_path: Path):
    """Its end is that on record, for it is the same one."""
    asked = ["--entry", "vqvae", "--size", 8, "--set", "model.networks.hidden=8", "--set", "evaluate.full=none"]
    asked += ["--epochs", 2, "--only", "--search", "model.optimizer.rate=1e30", "--storage", tmp_path, "--name", "e"]
    assert run_job("tune", *asked).returncode == 0
    again = run_job("tune", *asked, "--retry-failed")
    assert again.returncode == 0, again.stdout
    assert again.stdout.count("failed at epoch 1: nan; autoencoder/loss is not finite at step 1") == 1
    assert "broke" not in again.stdout
    assert len(results.outcomes(str(tmp_path), "e", all_ends=True)) == 1


def test_a_run_that_failed_is_trained_again(judged: Callable, tmp_path: Path, digits: Dataset):
    storage = Storage(judged(tmp_path))
    one, other, _ = configs("vqvae", **{"model.networks.hidden": 8})
    runs = [override(one, {"model.optimizer.rate": 1e30}), other]  # the first can only fail
    bad, good = (identity(config, digits.hash) for config in runs)
    by_run = {bad: runs[0], good: runs[1]}
    first = Slot(storage, "search", runs, digits.hash)
    first.finish(0)
    fail(first, good)
    first.resident.cleanup()
    assert len(ends_that_stand(storage, "search", by_run, "", retry=False)) == 2
    assert ends_that_stand(storage, "search", by_run, "", retry=True) == {}
    again_failed = ends_that_stand(storage, "search", by_run, "", retry=True, again=[bad])  # in this submission
    assert again_failed.keys() == {bad}
    plain = Slot(storage, "search", runs, digits.hash)
    plain.begin(1)
    assert plain.resident.step()["ended"] == "failed"  # on record
    again = Slot(storage, "search", runs, digits.hash)
    again.search = replace(again.search, retry=True)
    again.finish(0)
    again.finish(1)
    again.resident.cleanup()
    ends = results.outcomes(storage, "search").set_index("run")
    assert dict(ends["status"]) == {bad: "failed", good: "finished"}
    for table, keys in KEYS.items():
        frame = results.queries.read(storage, "search", table)
        assert not frame.duplicated(["run", *keys]).any(), table
    assert len(results.queries.read(storage, "search", "runs")) == 2
    stands = ends_that_stand(storage, "search", by_run, again.search.attempt, retry=True)
    assert stands[good].status == "finished"
    later = Slot(storage, "search", runs, digits.hash)  # the next submission may ask again
    later.search = replace(later.search, retry=True)
    later.begin(1)
    assert later.resident.step()["ended"] == "finished"


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_that_failed_at_its_last_epoch_has_the_end_of_its_retry(
    fails: bool, judged: Callable, tmp_path: Path, digits: Dataset
):
    """As often as it is asked for: one that fails there again has the end on record, another one its own too."""
    storage = Storage(judged(tmp_path))
    config = override(configs("vqvae", **{"model.networks.hidden": 8})[0], {"budget.epochs": 1})
    runs = [override(config, {"model.optimizer.rate": 1e30}) if fails else config]
    run = identity(runs[0], digits.hash)
    first = Slot(storage, "search", runs, digits.hash)
    if fails:
        first.finish(0)
        first.resident.cleanup()
    else:
        fail(first, run)
    for _ in range(2 if fails else 1):
        again = Slot(storage, "search", runs, digits.hash)
        again.search = replace(again.search, retry=True)
        again.finish(0)
        again.resident.cleanup()
    ends = results.queries.read(storage, "search", "outcomes").sort_values("attempt")
    assert ends["status"].to_list() == (["failed"] if fails else ["failed", "finished"])
    assert survey(storage, "search").doubled("outcomes").sum() == 0
    assert results.outcomes(storage, "search")["status"].to_list() == ["failed" if fails else "finished"]
