"""Confirmation as a race: who gets the next seed, who drops out, when it is over."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.search.race import behind, next_runs, race
from tests.fixtures.examples import examples

NAMES, SEEDS = ("a", "b", "c", "d", "e"), tuple(range(100, 110))


def whole(seed: int, spread: float, noise: float = 1.0) -> dict[str, dict[int, float]]:
    """What every run would come to; a seed is hard or easy for all."""
    draw = np.random.default_rng(seed)
    luck = draw.normal(size=len(SEEDS))
    own = {name: spread * place + noise * draw.normal(size=len(SEEDS)) for place, name in enumerate(NAMES)}
    return {name: dict(zip(SEEDS, map(float, luck + values), strict=True)) for name, values in own.items()}


def run_race(truth: dict[str, dict[int, float]], mode: str = "min", slots: int = 1, ahead: int = 0, seed: int = 0):
    """Trains what is asked for, in any order, until nothing is; gives the figures."""
    order = np.random.default_rng(seed)
    figures: dict[str, dict[int, float]] = {}
    while wanted := next_runs(NAMES, SEEDS, figures, mode, at_once=slots, ahead=ahead):
        assert len(wanted) <= slots
        assert len(set(wanted)) == len(wanted)
        assert all(seed not in figures.get(one, {}) for one, seed in wanted)
        one, seed = wanted[order.integers(len(wanted))]
        figures.setdefault(one, {})[seed] = truth[one][seed]
    return figures


def test_those_that_are_clearly_behind_drop_out_as_soon_as_a_test_can_tell():
    figures = run_race(whole(0, spread=100.0))
    end = race(NAMES, SEEDS, figures, "min")
    assert (end.over, end.order, len(end.seeds)) == (True, ["a"], 5)
    assert [(drop.configuration, drop.rival, drop.of, drop.chance) for drop in end.drops] == [
        (name, "a", 5, 1 / 32) for name in "bcde"
    ]
    assert sum(map(len, figures.values())) == 25  # of fifty
    assert end.drops[0].why == "behind a over 5 seeds: a chance of 0.0312 if it were no worse, below 0.05"
    assert next_runs(NAMES, SEEDS, figures, "min") == []
    assert race(NAMES, SEEDS, run_race(whole(0, spread=100.0), "max"), "max").order == ["e"]


def test_equals_all_get_every_seed():
    figures = run_race({name: dict.fromkeys(SEEDS, 1.0) for name in NAMES})
    end = race(NAMES, SEEDS, figures, "min")
    assert (end.over, end.order, list(end.seeds), end.drops) == (True, list(NAMES), list(SEEDS), [])
    assert (set(end.of.values()), set(end.means.values())) == ({10}, {1.0})


def test_the_first_runs_are_the_first_seed_of_the_best():
    assert next_runs(NAMES, SEEDS, {}, "min") == [("a", 100)]
    assert next_runs(NAMES, SEEDS, {}, "min", at_once=64) == [(name, 100) for name in NAMES]
    assert next_runs(NAMES, SEEDS, {"a": {100: 1.0}}, "min", at_once=2) == [("b", 100), ("c", 100)]
    wide = next_runs(NAMES, SEEDS, {"a": {100: 1.0}}, "min", at_once=6, ahead=1)
    assert wide == [*((name, 100) for name in "bcde"), ("a", 101), ("b", 101)]
    assert next_runs(["a"], SEEDS, {}, "min") == []  # a race of one is over


def test_a_run_that_failed_is_farther_behind_than_all_others():
    failed = {name: dict.fromkeys(SEEDS, 1.0 if name != "b" else math.nan) for name in NAMES}
    end = race(NAMES, SEEDS, failed, "max")
    assert [(drop.configuration, drop.of) for drop in end.drops] == [("b", 5)]
    assert math.isnan(end.means["b"])
    assert (end.of["b"], end.of["a"]) == (5, 10)
    assert behind([math.inf] * 5, [math.inf] * 5) == 1.0
    assert behind([math.inf, 0.0, 0.0], [1.0, 1.0, 1.0]) == pytest.approx(5 / 8)  # ranks 3 of 1.5, 1.5 and 3


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_a_level_that_is_no_chance_is_refused(level: float):
    with pytest.raises(ValueError, match="level="):
        race(NAMES, SEEDS, {}, "min", level)


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([0.0, 0.3, 1.0]),
    mode=st.sampled_from(["min", "max"]),
    slots=st.integers(1, 12),
    ahead=st.integers(0, 3),
)
@settings(max_examples=examples(5), deadline=None)
def test_the_order_in_which_runs_end_changes_nothing(seed: int, spread: float, mode: str, slots: int, ahead: int):
    truth = whole(seed, spread)
    figures = run_race(truth, mode, slots, ahead, seed)
    end, plain = race(NAMES, SEEDS, figures, mode), race(NAMES, SEEDS, truth, mode)
    assert end == plain  # what one slot after another gives, or all runs at once
    assert end.over
    assert {*end.order} | {drop.configuration for drop in end.drops} == {*NAMES}
    sign = 1 if mode == "min" else -1
    assert [sign * end.means[one] for one in end.order] == sorted(sign * end.means[one] for one in end.order)
    for drop in end.drops:  # nobody drops out who is ahead
        seeds = SEEDS[: drop.of]
        mean, rival = (np.mean([truth[one][past] for past in seeds]) for one in (drop.configuration, drop.rival))
        assert sign * mean >= sign * rival
        assert 2.0**-drop.of <= drop.chance < 0.05
    for one in NAMES:  # nobody is trained after a drop, but ahead of the test
        assert len(figures[one]) <= min(end.of[one] + ahead, len(SEEDS))
