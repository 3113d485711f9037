"""Confirmation as a race: who gets the next seed, who drops out, when it is over."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gen.search.race import behind, fewest, next_runs, race
from tests.fixtures.examples import examples

NAMES, SEEDS = ("a", "b", "c", "d", "e"), tuple(range(100, 110))
LEVEL = 0.05  # the fifth seed is the first at which a test can tell


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
    while wanted := next_runs(NAMES, SEEDS, figures, mode, LEVEL, ahead=ahead)[:slots]:
        assert len(set(wanted)) == len(wanted)
        assert all(seed not in figures.get(one, {}) for one, seed in wanted)
        one, seed = wanted[order.integers(len(wanted))]
        figures.setdefault(one, {})[seed] = truth[one][seed]
    return figures


def test_those_that_are_clearly_behind_drop_out_as_soon_as_a_test_can_tell():
    figures = run_race(whole(0, spread=100.0))
    end = race(NAMES, SEEDS, figures, "min", LEVEL)
    assert (end.over, end.order, len(end.seeds)) == (True, ["a"], 5)
    assert [(drop.configuration, drop.rival, drop.of, drop.chance) for drop in end.drops] == [
        (name, "a", 5, 1 / 32) for name in "bcde"
    ]
    assert sum(map(len, figures.values())) == 25  # of fifty
    assert end.drops[0].why == "behind a over 5 seeds: a chance of 0.0312 if it were no worse, below 0.05"
    assert next_runs(NAMES, SEEDS, figures, "min", LEVEL) == []
    quick = race(NAMES, SEEDS, figures, "min", 0.13)
    assert (quick.leader, sum(quick.of.values()), 3 * sum(quick.of.values()) < len(NAMES) * len(SEEDS)) == (
        "a",
        15,
        True,
    )
    assert race(NAMES, SEEDS, run_race(whole(0, spread=100.0), "max"), "max", LEVEL).order == ["e"]


def test_equals_all_get_every_seed():
    figures = run_race({name: dict.fromkeys(SEEDS, 1.0) for name in NAMES})
    end = race(NAMES, SEEDS, figures, "min", LEVEL)
    assert (end.over, end.order, list(end.seeds), end.drops) == (True, list(NAMES), list(SEEDS), [])
    assert (set(end.of.values()), set(end.means.values())) == ({10}, {1.0})


def test_the_first_runs_are_the_first_seed_of_the_best():
    sure = [(name, seed) for seed in SEEDS[:5] for name in NAMES]  # before the fifth seed no test can tell
    assert next_runs(NAMES, SEEDS, {}, "min", LEVEL) == next_runs(NAMES, SEEDS, {}, "min", LEVEL, ahead=4) == sure
    assert next_runs(NAMES, SEEDS, {}, "min", level=0.6) == [(name, 100) for name in NAMES]
    assert next_runs(NAMES, SEEDS, {"a": {100: 1.0}}, "min", level=0.6)[:2] == [("b", 100), ("c", 100)]
    wide = next_runs(NAMES, SEEDS, {"a": {100: 1.0}}, "min", level=0.6, ahead=1)
    assert wide == [*((name, 100) for name in "bcde"), *((name, 101) for name in NAMES)]
    assert [fewest(level) for level in (0.6, 0.5, 0.05, 1 / 32, 0.01)] == [1, 2, 5, 6, 7]


def test_one_that_enters_alone_gets_every_seed():
    assert next_runs(["a"], SEEDS, {}, "min", LEVEL) == [("a", seed) for seed in SEEDS]
    figures = {"a": dict.fromkeys(SEEDS[:9], 1.0)}
    assert not race(["a"], SEEDS, figures, "min", LEVEL).over
    end = race(["a"], SEEDS, {"a": dict.fromkeys(SEEDS, 1.0)}, "min", LEVEL)
    assert (end.over, end.order, end.of) == (True, ["a"], {"a": 10})


def test_a_drop_on_record_stands_whatever_its_runs_come_to_later():
    failed = {name: dict.fromkeys(SEEDS[:5], 1.0 if name != "b" else math.nan) for name in NAMES}
    (drop,) = race(NAMES, SEEDS, failed, "min", LEVEL).drops
    repaired = failed | {"b": dict.fromkeys(SEEDS[:5], 0.0)}  # trained again, it would lead
    assert race(NAMES, SEEDS, repaired, "min", LEVEL).leader == "b"
    again = race(NAMES, SEEDS, repaired, "min", LEVEL, history=[drop])
    assert (again.drops, again.order) == ([drop], ["a", "c", "d", "e"])
    assert "b" not in dict(next_runs(NAMES, SEEDS, repaired, "min", LEVEL, history=[drop], ahead=9))


def test_a_drop_on_record_stands_though_others_would_have_dropped_out_earlier():
    """b failed with its last three seeds; trained again it leads from the first one on, by which a would drop out."""
    seeds = SEEDS[:5]
    failed = {
        "a": dict.fromkeys(seeds, 1.0),
        "b": {**dict.fromkeys(seeds[:2], 0.0), **dict.fromkeys(seeds[2:], math.nan)},
    }
    (drop,) = race("ab", SEEDS, failed, "min", 0.2).drops
    assert (drop.configuration, drop.of) == ("b", 5)
    repaired = failed | {"b": dict.fromkeys(seeds, 0.0)}
    assert race("ab", SEEDS, repaired, "min", 0.2).leader == "b"
    again = race("ab", SEEDS, repaired, "min", 0.2, history=[drop])
    assert (again.leader, again.drops, again.over) == ("a", [drop], True)


def test_a_run_that_is_ranked_no_more_counts_in_no_test_and_no_mean():
    """Of ten pairs one is missing: the test is of the nine that both have, the mean of the nine that b has."""
    truth = whole(3, spread=0.5)
    figures = {one: dict(truth[one]) for one in "ab"}
    figures["b"][102] = None
    end = race("ab", SEEDS, figures, "min", 1e-6)
    known = [seed for seed in SEEDS if seed != 102]
    assert (end.over, end.of) == (True, {"a": 10, "b": 9})
    assert end.means["b"] == pytest.approx(np.mean([truth["b"][seed] for seed in known]))
    assert end.means["a"] == pytest.approx(np.mean(list(truth["a"].values())))
    (drop,) = race("ab", SEEDS, figures, "min", 0.1).drops
    compared = [seed for seed in SEEDS[: drop.of] if seed != 102]
    assert (drop.configuration, drop.of, drop.pairs) == ("b", len(compared) + 1, len(compared))
    mine, theirs = ([truth[one][seed] for seed in compared] for one in "ba")
    assert drop.chance == pytest.approx(stats.wilcoxon(mine, theirs, alternative="greater").pvalue)
    assert drop.why.startswith(f"behind a over {len(compared)} seeds: ")


def test_runs_that_are_ranked_no_more_are_not_trained_again_and_drop_nobody():
    clear = whole(0, spread=100.0)
    figures = {one: dict(clear[one]) for one in NAMES}
    figures["c"] = dict.fromkeys(SEEDS, None)
    end = race(NAMES, SEEDS, figures, "min", LEVEL)
    assert (end.over, end.order, {drop.configuration for drop in end.drops}) == (True, ["a", "c"], {"b", "d", "e"})
    assert (end.of["c"], math.isnan(end.means["c"]), len(end.seeds)) == (0, True, 10)
    assert next_runs(NAMES, SEEDS, {"c": dict.fromkeys(SEEDS, None)}, "min", level=0.6, ahead=9) == [
        (one, seed) for seed in SEEDS for one in "abde"
    ]
    figures = {one: dict(clear[one]) for one in NAMES}
    figures["b"][100] = None  # the test after the fifth seed is of four pairs, by which none can tell
    drops = race(NAMES, SEEDS, figures, "min", LEVEL).drops
    assert {drop.configuration: (drop.of, drop.pairs) for drop in drops} == {
        **dict.fromkeys("cde", (5, 5)),
        "b": (6, 5),
    }
    assert race(NAMES, SEEDS, figures, "min", LEVEL, history=drops).drops == drops


def test_a_run_that_failed_is_farther_behind_than_all_others():
    failed = {name: dict.fromkeys(SEEDS, 1.0 if name != "b" else math.nan) for name in NAMES}
    end = race(NAMES, SEEDS, failed, "max", LEVEL)
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
    end, plain = race(NAMES, SEEDS, figures, mode, LEVEL), race(NAMES, SEEDS, truth, mode, LEVEL)
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
        assert len(figures[one]) <= min(max(end.of[one] + ahead, 5), len(SEEDS))
    halfway = race(
        NAMES, SEEDS, truth, mode, LEVEL, history=end.drops[:1]
    )  # what is on record is decided again as it was
    assert halfway == plain
