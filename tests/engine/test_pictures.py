"""The grids that a run stores while it trains: of a game's first, best and last weights, and those asked for."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from gen import results
from gen.data.dataset import Dataset
from gen.engine.fit import fit
from gen.judge import Judge
from tests.engine.test_fit import CPU, home, rows, small, trained

GAME = "gan_mlp_small"


def grids_of(place: Path) -> pandas.DataFrame:
    """The stored grids by tick; none twice."""
    samples = rows(place, "samples")
    assert not samples.duplicated(["tick", "kind"]).any()
    return samples.set_index("tick").sort_index()


def best_tick(place: Path) -> int:
    (epoch,) = results.outcomes(str(place), "experiment")["best_epoch"]
    return int(epoch)


@pytest.mark.slow
def test_of_a_game_the_first_the_best_and_the_last_grids_are_stored_of_the_same_noise(
    digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    seeds_by_best = {}
    for seed in range(6):  # the best weights are the first ones, the last ones or others
        place = tmp_path / str(seed)
        trained(small(GAME, seed=seed), digits, judge, place)
        grids, best = grids_of(place), best_tick(place)
        assert list(grids.index) == sorted({1, best, 4})
        assert grids["epoch"].to_list() == [float(tick) for tick in grids.index]
        assert grids["step"].is_monotonic_increasing
        seeds_by_best[best] = seed
    seed = seeds_by_best[max(seeds_by_best.keys() & {2, 3})]  # an inner one, which the end draws
    trained(small(GAME, seed=seed, **{"evaluate.pictures": 1}), digits, judge, tmp_path / "all")
    every, few = grids_of(tmp_path / "all"), grids_of(tmp_path / str(seed))
    assert list(every.index) == [1, 2, 3, 4]
    assert every["png"][few.index].to_dict() == few["png"].to_dict()  # whatever else was drawn, by whichever weights


@pytest.mark.parametrize(
    ("entry", "full", "stored"), [("vae_mlp", "all", "best"), (GAME, "leaders", "none"), (GAME, "none", "none")]
)
def test_nobody_draws_the_way_of_a_model_without_a_game_or_of_a_search(
    entry: str, full: str, stored: str, digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    trained(small(entry, **{"evaluate.full": full}), digits, judge, tmp_path)
    assert (tmp_path / "experiment" / "samples").exists() == (stored == "best")
    if stored == "best":
        assert set(rows(tmp_path, "samples")["tick"]) == {best_tick(tmp_path)}


def test_grids_that_are_asked_for_are_not_stored_again_at_the_end(
    digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    """Those of the best weights, which some tick has drawn; also where the run was cut after that tick."""
    config = small("vae_mlp", **{"evaluate.pictures": 1})
    ticks = fit(config, digits, device=CPU, judge=judge, home=home(tmp_path))
    next(ticks)
    next(ticks)
    ticks.close()
    trained(config, digits, judge, tmp_path)
    assert {*grids_of(tmp_path).index} == {1, 2, 3, 4}


def test_a_game_that_is_stopped_leaves_its_last_grid(digits: Dataset, judge: Judge, tmp_path: Path) -> None:
    ticks = fit(small(GAME), digits, device=CPU, judge=judge, home=home(tmp_path))
    next(ticks)
    next(ticks)
    assert ticks.send("the critic won").ended == "stopped"
    assert list(grids_of(tmp_path).index) == [1, 2]


def test_a_game_that_is_cut_and_goes_on_and_one_whose_budget_grows_store_no_grid_twice(
    digits: Dataset, judge: Judge, tmp_path: Path
) -> None:
    config = small(GAME)
    trained(config, digits, judge, tmp_path / "whole")
    for stop in (1, 2, 9):
        ticks = fit(config, digits, device=CPU, judge=judge, home=home(tmp_path / "cut"))
        for count, _ in enumerate(ticks, 1):
            if count == stop:
                ticks.close()
    whole, cut = grids_of(tmp_path / "whole"), grids_of(tmp_path / "cut")
    pandas.testing.assert_frame_equal(whole, cut)
    trained(small(GAME, **{"budget.epochs": 6}), digits, judge, tmp_path / "cut")
    grown = grids_of(tmp_path / "cut")
    assert list(grown.index) == sorted({*cut.index, best_tick(tmp_path / "cut"), 6})
    assert grown["png"][cut.index].to_dict() == cut["png"].to_dict()
