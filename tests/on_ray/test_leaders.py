"""Which runs of a search are measured in full, and what is recorded of it: on real tables, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gen import results
from gen.config import RunConfig, identity, override
from gen.data.dataset import Dataset, open_dataset
from gen.distributed.workers import ALONE
from gen.engine.fit import fit
from gen.judge import Judge
from gen.on_ray.leaders import SPLITS, best_weights, leaders
from gen.on_ray.scoring import Wanted, of_attempt, on_record, score
from gen.record.record import Home
from gen.results.ledger import Slot
from gen.results.storage import Storage
from gen.zoo import ZOO, tiny

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SMALL = {"budget.epochs": 2, "evaluate.images": 60, "evaluate.full_images": 80, "evaluate.importance_samples": 2}


def searched(place: Path, dataset: Dataset, judge: Judge, **settings: Any) -> dict[str, RunConfig]:
    """Four runs by name, of which the last is stopped after an epoch."""
    base = override(tiny(ZOO["vae_mlp"]), {**SMALL, "evaluate.full": "leaders", **settings})
    runs = {}
    for seed in range(4):
        config = override(base, {"seed": seed}).resolve()
        runs[identity(config, dataset.hash)] = config
        ticks = fit(config, dataset, device=CPU, judge=judge, home=Home(Storage(str(place)), "search", "a"))
        next(ticks)
        if seed == 3:
            ticks.send("enough")
        else:
            next(ticks)
        ticks.close()
    return runs


def wanted(place: Path, runs: dict[str, RunConfig]) -> Wanted:
    storage = Storage(str(place))
    best = best_weights(storage, "search", leaders(storage, "search", runs), runs)
    return Wanted(storage, "search", best, SPLITS, 0, (), None, False)


@pytest.fixture
def digits_by_name(monkeypatch: pytest.MonkeyPatch, cache: str) -> Dataset:
    monkeypatch.setenv("GENFLEET_CACHE", cache)
    return open_dataset(ZOO["vae_mlp"].data)


@pytest.mark.parametrize("most", [1, 2, 10])
def test_leaders_are_the_best_that_finished(most: int, digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    assert leaders(Storage(str(tmp_path)), "search", {}) == []
    runs = searched(tmp_path, digits, judge, **{"evaluate.leaders": most})
    ends = results.outcomes(str(tmp_path), "search")
    finished = ends[ends["status"] == "finished"].sort_values("best")
    assert leaders(Storage(str(tmp_path)), "search", runs) == list(finished["run"])[:most]
    assert len(finished) == 3


def test_nothing_is_measured_in_full_before_and_all_of_the_leaders_once(
    digits_by_name: Dataset, judge: Judge, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    runs = searched(tmp_path, digits_by_name, judge, **{"evaluate.leaders": 2})
    assert results.evals(storage, "search", scope="best").empty
    assert results.samples(storage, "search").empty
    assert results.leaderboard(storage, "search")["rank"].isna().all()
    asked = wanted(tmp_path, runs)
    known = on_record(storage, "search")
    slot = Slot(storage, "search", "a-leaders", kind="evaluated")
    for one in asked.stored:
        slot.extend(of_attempt(score(asked, one, known, CPU, ALONE, pictures=True), "a"))
    board = results.leaderboard(storage, "search")
    assert set(board["run"][:2]) == {one.run for one in asked.stored}
    assert board["rank"].notna().sum() == 2
    assert set(results.evals(storage, "search", scope="best")["split"]) == {"validation", "test"}
    assert set(results.samples(storage, "search")["kind"]) == {"fakes", "reconstructions"}
    ends = results.outcomes(storage, "search").set_index("run")["seconds"]
    taken = results.metrics(storage, "search", name="evaluate/seconds").set_index("run")["value"]
    assert (taken > 0).all()
    for run in taken.index:  # what it took is in the run's cost
        assert board.set_index("run")["seconds"][run] == pytest.approx(ends[run] + taken[run])
    known = on_record(storage, "search")
    assert all(score(asked, one, known, CPU, ALONE) == {} for one in asked.stored)  # and never again
