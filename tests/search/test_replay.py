"""The replay of a search from recorded curves: synthetic ones, of which the answer is known."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen.search.budgets import Budget
from gen.search.replay import Curve, Rules, agreement, all_rungs, replay, so_far


def curve(run: str, values: Sequence[float], seconds: float = 10.0, configuration: str = "") -> Curve:
    """A run that measured `values`, an epoch and some `seconds` apart."""
    count = range(1, len(values) + 1)
    return Curve(run, configuration or run, [float(n) for n in count], values, [n * seconds for n in count])


LINE = [curve(f"r{n}", [n + 1.0, n + 0.5]) for n in range(4)]  # r0 is the best


def test_everything_to_the_end_takes_the_time_of_the_record():
    one = replay(LINE, Rules(1, 0, 2), "min", 1)
    assert (one.seconds, sum(one.epochs.values()), one.stopped, one.best) == (80.0, 8.0, 0, 0.5)
    assert one.near == [20.0, 20.0]
    two = replay(LINE[::-1], Rules(2, 0, 2), "min", 1)
    assert (two.seconds, two.near) == (40.0, [40.0, 40.0])
    assert replay(LINE, Rules(500, 0, 2), "min", 1).seconds == 20.0


def test_near_the_best_is_a_share_of_it():
    curves = [curve("a", [2.0, 1.009]), curve("b", [1.05, 1.0005]), curve("c", [1.5, 1.0])]
    assert replay(curves, Rules(1, 0, 2), "min", 1).near == [20.0, 40.0]
    larger = [Curve(one.run, one.run, one.epochs, [-value for value in one.values], one.seconds) for one in curves]
    assert replay(larger, Rules(1, 0, 2), "max", 1).near == [20.0, 40.0]


def test_halving_stops_the_losers_and_their_slots_go_to_the_next():
    found = replay(LINE, Rules(1, 1, 2), "min", 1)
    assert found.epochs == {"r0": 2.0, "r1": 1.0, "r2": 1.0, "r3": 1.0}
    assert (found.seconds, found.stopped, found.begun) == (50.0, 3, 4)
    worst_first = replay(LINE[::-1], Rules(1, 1, 2), "min", 1)
    assert (worst_first.stopped, worst_first.seconds) == (0, 80.0)  # each is the best so far
    together = replay(LINE, Rules(4, 1, 2), "min", 1)
    assert (together.seconds, together.stopped) == (20.0, 3)


def test_the_seeds_of_a_configuration_end_at_the_same_epoch():
    names = [("a0", "a", 1.0), ("a1", "a", 3.0), ("b0", "b", 1.5), ("b1", "b", 3.5)]
    curves = [curve(run, [value] * 9, 10.0, own) for run, own, value in names]
    found = replay(curves, Rules(2, 1, 3), "min", 1)
    assert found.epochs == {"a0": 9.0, "a1": 9.0, "b0": 1.0, "b1": 1.0}
    alone = replay(curves, Rules(1, 1, 3), "min", 1)  # they take turns in one slot
    assert (alone.epochs, alone.seconds, alone.stopped) == (found.epochs, 200.0, 2)


def test_the_time_may_be_up():
    found = replay(LINE, Rules(1, 0, 2, seconds=35.0), "min", 1)
    assert (found.seconds, found.epochs, found.begun) == (35.0, {"r0": 2.0, "r1": 1.0}, 2)


@pytest.mark.parametrize(
    ("rules", "ends", "told"),
    [
        (Rules(1, 0, 2, budget=Budget(epochs=3)), 30.0, "the budget of 3 epochs is spent (3)"),
        (Rules(1, 0, 2, budget=Budget(device_seconds=55), devices=2), 30.0, "the budget of 55 device-seconds is spent"),
        (Rules(1, 0, 2, budget=Budget(money=25, price=3600)), 30.0, "the budget of 25 at 3600 a device-hour is spent"),
        (Rules(1, 0, 2, 35.0, Budget(epochs=4, device_seconds=99)), 35.0, "the time is up"),
        (Rules(1, 0, 2, 30.0, Budget(epochs=3)), 30.0, "the budget of 3 epochs"),  # which is heard first
    ],
)
def test_the_first_limit_that_is_reached_ends_it_and_is_said(rules: Rules, ends: float, told: str):
    found = replay(LINE, rules, "min", 1)
    assert (found.seconds, found.epochs) == (ends, {"r0": 2.0, "r1": 1.0})
    assert found.reached.startswith(told)


def test_a_limit_counts_all_slots_and_ends_what_has_something_left():
    found = replay(LINE, Rules(2, 0, 2, budget=Budget(epochs=3)), "min", 1)
    assert (found.seconds, found.epochs, found.begun) == (20.0, {"r0": 2.0, "r1": 1.0}, 2)
    for rules in (Rules(2, 0, 2, 40.0, Budget(epochs=8)), Rules(2, 0, 2)):
        whole = replay(LINE, rules, "min", 1)
        assert (whole.seconds, sum(whole.epochs.values()), whole.reached) == (40.0, 8.0, "")


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=9),
    slots=st.integers(1, 4),
    grace=st.integers(0, 3),
    limit=st.integers(1, 30),
    value=st.sampled_from([1.0, -1.0]),
)
def test_a_limited_replay_is_the_beginning_of_the_whole_one(
    lengths: list[int], slots: int, grace: int, limit: int, value: float
):
    curves = [curve(f"r{n}", [value * n] * length, 1.0 + n % 3) for n, length in enumerate(lengths)]
    whole = replay(curves, Rules(slots, grace, 2), "min", 1)
    found = replay(curves, Rules(slots, grace, 2, budget=Budget(epochs=limit)), "min", 1)
    spent = sum(found.epochs.values())
    assert bool(found.reached) == (spent < sum(whole.epochs.values()) or found.begun < whole.begun)
    assert spent == min(limit, sum(whole.epochs.values()))
    assert all(epochs <= whole.epochs[run] for run, epochs in found.epochs.items())
    assert found.seconds <= whole.seconds
    assert found.seconds == whole.seconds or found.reached
    assert sum(whole.epochs.values()) + whole.saved + whole.unknown == len(curves) * max(lengths)


def test_a_run_ends_where_its_record_ends():
    curves = [curve("short", [1.0]), curve("long", [2.0, 0.5, 0.4])]
    found = replay(curves, Rules(1, 0, 2), "min", 1)
    assert (found.epochs, found.stopped) == ({"short": 1.0, "long": 3.0}, 0)
    assert (found.saved, found.unknown) == (0.0, 2.0)  # nobody stopped the short one, which is of three epochs too


def test_what_is_saved_is_of_all_runs_to_the_last_epoch():
    found = replay(LINE, Rules(1, 1, 2), "min", 1)
    assert (found.stopped, found.saved, found.unknown) == (3, 3.0, 0.0)
    cut = [LINE[0], *(curve(one.run, one.values[:1]) for one in LINE[1:])]  # as that search leaves it on record
    again = replay(cut, Rules(1, 1, 2), "min", 1)
    assert (again.stopped, again.saved, again.unknown, again.epochs) == (3, 3.0, 0.0, found.epochs)
    everything = replay(cut, Rules(1, 0, 2), "min", 1)
    assert (everything.stopped, everything.saved, everything.unknown) == (0, 0.0, 3.0)
    broken = [LINE[0], curve("nan", [math.nan])]  # it ended by itself
    assert replay(broken, Rules(1, 1, 2), "min", 1).stopped == 0


def test_seeds_whose_records_end_are_stopped_together_or_wait_for_nobody():
    cut = [curve(run, [value], 10.0, own) for run, own, value in (("b0", "b", 1.5), ("b1", "b", 3.5))]
    best = [curve(run, [value] * 9, 10.0, "a") for run, value in (("a0", 1.0), ("a1", 3.0))]
    found = replay([*best, *cut], Rules(1, 1, 3), "min", 1)
    assert (found.stopped, found.saved, found.unknown) == (2, 16.0, 0.0)
    first = replay([*cut, *best], Rules(1, 1, 3), "min", 1)  # who comes first goes on, and its record ends
    assert (first.stopped, first.unknown, sum(first.epochs.values())) == (0, 16.0, 20.0)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    slots=st.integers(1, 6),
    grace=st.integers(0, 3),
    data=st.data(),
)
def test_a_replay_trains_no_more_than_the_record_and_is_as_long_as_its_work(
    lengths: list[int], slots: int, grace: int, data: st.DataObject
):
    values = st.sampled_from([0.5, 1.0, 1.004, 2.0, math.nan])
    curves = [
        curve(f"r{n}", data.draw(st.lists(values, min_size=length, max_size=length)), data.draw(st.integers(1, 9)))
        for n, length in enumerate(lengths)
    ]
    found = replay(curves, Rules(slots, grace, 2), "min", 1)
    work = {one.run: one.seconds[int(found.epochs[one.run]) - 1] for one in curves}
    assert all(found.epochs[one.run] <= one.epochs[-1] for one in curves)
    assert grace or all(found.epochs[one.run] == one.epochs[-1] for one in curves)
    assert sum(work.values()) / slots <= found.seconds <= sum(work.values()) / slots + max(work.values())
    near = [math.inf if math.isnan(at) else at for at in found.near]
    assert near[0] <= near[1]


def test_agreement_of_a_rung_with_the_end():
    same = [curve(f"r{n}", [n + 1.0, n + 0.5, n + 0.1]) for n in range(5)]
    assert agreement(same, 1, "min") == (pytest.approx(1.0), 5)
    crossed = [curve(f"r{n}", [n + 10.0, 5.0 - n]) for n in range(5)]
    assert agreement(crossed, 1, "min") == (pytest.approx(-1.0), 5)
    # the middle ones change places: 1 - 6 * (1 + 1) / (4 * 15)
    swapped = [curve(f"r{n}", [n + 1.0, end]) for n, end in enumerate((0.1, 0.3, 0.2, 0.4))]
    assert agreement(swapped, 1, "min") == (pytest.approx(0.8), 4)
    broken = [*swapped[:3], curve("r3", [4.0, math.nan]), curve("nan", [math.nan, math.nan]), curve("short", [0.0])]
    value, count = agreement(broken, 1, "min")
    assert (round(value, 3), count) == (0.9, 5)  # what is never finite is the worst, and the short one is left out
    assert math.isnan(agreement(same[:2], 1, "min")[0])
    assert math.isnan(agreement([curve(f"r{n}", [1.0, n]) for n in range(4)], 1, "min")[0])


def test_agreement_is_of_the_means_of_seeds():
    pairs = [(0, 9.0, 1.0), (0, 1.0, 3.0), (1, 4.0, 2.5), (1, 4.0, 2.5), (2, 3.0, 4.0), (2, 3.0, 4.0)]
    curves = [curve(f"{own}-{n}", [early, late], 10.0, str(own)) for n, (own, early, late) in enumerate(pairs)]
    # means at the rung 5, 4, 3 and at the end (of the best so far) 1, 2.5, 3
    assert agreement(curves, 1, "min") == (pytest.approx(-1.0), 3)


def test_what_is_best_so_far():
    assert so_far([3.0, math.nan, 1.0, 2.0], "min") == [3.0, 3.0, 1.0, 1.0]
    assert math.isnan(so_far([math.inf, 1.0], "max")[0])
    nine = [curve("a", [1.0] * 9)]
    assert all_rungs(nine, [Rules(1, 1, 3), Rules(1, 2, 2), Rules(9, 0, 2)]) == [1, 2, 3, 4, 8]
